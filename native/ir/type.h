// The static type of a value: what kind of thing it is and, for a tensor, its element type, shape and encoding.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ir/dim.h"
#include "tensor/dtype.h"
#include "tensor/encoding.h"
#include "tensor/shape.h"

namespace ziggurat {

enum class Kind : uint8_t { kTensor, kSequence, kOptional, kMap, kSparse, kResource };

struct Type {
  Kind kind = Kind::kTensor;
  DType dtype = DType::kUndefined;  // of the tensor; kUndefined where nothing is known yet
  Encoding encoding;
  std::optional<std::vector<Dim>> shape;  // nullopt: rank unknown
  std::shared_ptr<const Type> element;    // of a sequence or optional

  static Type Tensor(DType dtype, std::optional<std::vector<Dim>> shape) {
    Type type;
    type.dtype = dtype;
    type.shape = std::move(shape);
    return type;
  }
  static Type Tensor(DType dtype, const Shape& shape) {
    return Tensor(dtype, std::vector<Dim>(shape.begin(), shape.end()));
  }
  static Type Sequence(Type element) { return Wrap(Kind::kSequence, std::move(element)); }
  static Type Optional(Type element) { return Wrap(Kind::kOptional, std::move(element)); }
  static Type Resource() {
    Type type;
    type.kind = Kind::kResource;
    return type;
  }

  bool IsTensor() const { return kind == Kind::kTensor; }
  bool HasRank() const { return shape.has_value(); }
  int Rank() const { return static_cast<int>(shape->size()); }  // HasRank() only
  bool IsStatic() const {
    if (!shape) return false;
    for (const Dim& dim : *shape)
      if (!dim.IsConst()) return false;
    return true;
  }
  Shape StaticShape() const {  // IsStatic() only
    Shape out;
    for (const Dim& dim : *shape) out.push_back(dim.Const());
    return out;
  }
  friend bool operator==(const Type& a, const Type& b) {
    if (a.kind != b.kind || a.dtype != b.dtype || !(a.encoding == b.encoding) || a.shape != b.shape) return false;
    return (!a.element && !b.element) || (a.element && b.element && *a.element == *b.element);
  }

 private:
  static Type Wrap(Kind kind, Type element) {
    Type type;
    type.kind = kind;
    type.element = std::make_shared<const Type>(std::move(element));
    return type;
  }
};

}  // namespace ziggurat
