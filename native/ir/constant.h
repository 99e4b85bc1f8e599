// A constant tensor: bytes in memory, or a range of a file that is read when first looked at.
//
// Weights stay ranges until a kernel packs them; Drop() then gives the bytes back. Thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tensor/encoding.h"
#include "tensor/view.h"

namespace ziggurat {

class Constant {
 public:
  // Copies `data`, which must have exactly the tensor's size; throws kInvalidModel otherwise.
  static std::shared_ptr<Constant> Copy(DType dtype, const Shape& shape, const void* data, size_t bytes);
  // Zero-filled; writable through View().data until shared.
  static std::shared_ptr<Constant> Zeros(DType dtype, const Shape& shape);
  static std::shared_ptr<Constant> Strings(const Shape& shape, std::vector<std::string> values);
  static std::shared_ptr<Constant> FileRange(DType dtype, const Shape& shape, std::string path, int64_t offset,
                                             int64_t length);
  // The same of a block-encoded tensor: `shape` is that of its elements, which are float32 once dequantised. The bytes
  // must be exactly those the encoding takes (GgmlBytes); throws kInvalidModel otherwise.
  static std::shared_ptr<Constant> Encoded(const Encoding& encoding, const Shape& shape, const void* data,
                                           size_t bytes);
  static std::shared_ptr<Constant> EncodedFileRange(const Encoding& encoding, const Shape& shape, std::string path,
                                                    int64_t offset, int64_t length);
  template <typename T>
  static std::shared_ptr<Constant> Scalar(DType dtype, T value) {
    return Copy(dtype, Shape{}, &value, sizeof(T));
  }
  static std::shared_ptr<Constant> Int64s(const std::vector<int64_t>& values);  // rank 1

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  const Encoding& encoding() const { return encoding_; }
  size_t Bytes() const;  // as stored, loaded or not
  // The elements; reads the file on first use. The pointer is 64-byte aligned and valid until Drop(). Of an encoded
  // tensor these are its bytes, uint8 [..., bytes a row], so that whoever expects elements finds no floats.
  TensorView View() const;
  // Forgets bytes that can be read again. No effect on constants held only in memory.
  void Drop() const;
  // Forgets the bytes for good: nobody will look at them again. View() of what cannot be read again throws kInternal.
  void Forget() const;
  // Whether the bytes lie in a file, to be read when they are looked at.
  bool InFile() const { return !path_.empty(); }
  // Equal origins hold equal bytes: the file's range, or the object itself.
  std::string Origin() const;
  // Elements as int64, for integer and bool tensors.
  std::vector<int64_t> ToInt64s() const;

 private:
  Constant(DType dtype, const Shape& shape, const Encoding& encoding = {})
      : dtype_(dtype), shape_(shape), encoding_(encoding) {}
  void Fill(const void* data, size_t bytes);
  void SetRange(std::string path, int64_t offset, int64_t length);
  std::string Described() const;  // "float32[2,32]", "Q4_0[2,32]"

  DType dtype_;
  Shape shape_;
  Encoding encoding_;
  mutable std::vector<std::string> strings_;
  std::string path_;  // empty: only in memory
  int64_t offset_ = 0;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<std::byte> bytes_;
};

}  // namespace ziggurat
