// Rules of inference that many ops share. Each is what an OpDef's `infer` or `contents` points to.
#pragma once

#include <vector>

#include "ops/infer.h"

namespace ziggurat {

// Output 0 has input 0's type.
void SameAsFirst(InferContext& c);
// Output 0 has the first input's element type and all inputs' broadcast shape.
void BroadcastInputs(InferContext& c);
// The same with bool elements.
void BroadcastToBool(InferContext& c);
// Output 0 is a bool tensor of input 0's shape.
void FirstToBool(InferContext& c);
// The elements of output 0 are input 0's, in the same order (contents of reshaping ops).
void SameContents(InferContext& c);

// The broadcast shape of inputs [first, last); nullopt where a rank is unknown.
std::optional<std::vector<Dim>> BroadcastOf(const InferContext& c, int first, int last);
// The element type an attribute names by its ONNX number; fails on numbers that are no type, or none of `allowed`.
DType DTypeAttribute(const InferContext& c, std::string_view name, DType fallback, DTypeSet allowed = kAnyType);
// Whether elements of this type are followed as expressions.
inline bool IsShapeType(DType dtype) { return dtype == DType::kInt64 || dtype == DType::kInt32; }
// How many elements a type's value has, where its shape is static and small enough to follow; otherwise nullopt.
std::optional<int64_t> SmallCount(const Type& type);
// Fails unless attribute `name` is one of `allowed`; returns it.
std::string Choice(const InferContext& c, std::string_view name, std::initializer_list<std::string_view> allowed);

}  // namespace ziggurat
