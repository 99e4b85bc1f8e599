#include "device/sequence.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

namespace ziggurat {

SequenceElement NewElement(DType dtype, const Shape& shape) {
  SequenceElement element;
  element.tensor = TensorView{nullptr, dtype, shape};
  const size_t count = static_cast<size_t>(shape.Count());
  try {
    if (dtype == DType::kString) {
      std::shared_ptr<std::string[]> strings(new std::string[std::max<size_t>(count, 1)]);
      element.tensor.data = strings.get();
      element.storage = std::shared_ptr<void>(strings, strings.get());
      return element;
    }
    constexpr std::align_val_t kAlignment{64};
    const size_t bytes = std::max<size_t>(element.tensor.Bytes(), 1);
    void* data = ::operator new(bytes, kAlignment);
    element.storage = std::shared_ptr<void>(data, [](void* p) { ::operator delete(p, kAlignment); });
    std::memset(data, 0, bytes);
    element.tensor.data = data;
    return element;
  } catch (const std::bad_alloc&) {
    throw Error(Code::kOutOfMemory, "no memory for a sequence element of type ", Name(dtype), " and shape ", shape);
  }
}

SequenceElement CopyElement(const TensorView& tensor) {
  SequenceElement element = NewElement(tensor.dtype, tensor.shape);
  const size_t count = static_cast<size_t>(tensor.Count());
  if (tensor.dtype == DType::kString) {
    std::copy_n(tensor.As<const std::string>(), count, element.tensor.As<std::string>());
  } else if (count) {
    std::memcpy(element.tensor.data, tensor.data, tensor.Bytes());
  }
  return element;
}

}  // namespace ziggurat
