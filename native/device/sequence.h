// Values that are not tensors: sequences and optionals. Immutable once a kernel has given them out, so copies share
// their elements; an op that changes a sequence makes a new one. An optional is a sequence of none or one element.
#pragma once

#include <memory>
#include <vector>

#include "tensor/view.h"

namespace ziggurat {

struct SequenceValue;

// A tensor with its storage, or (in an optional of a sequence) a sequence.
struct SequenceElement {
  std::shared_ptr<void> storage;  // keeps tensor.data alive; null only for nested sequences
  TensorView tensor;
  std::shared_ptr<SequenceValue> sequence;
};

struct SequenceValue {
  std::vector<SequenceElement> elements;
};

// Host memory for a tensor: 64-byte aligned, zeroed; strings are constructed. Throws kOutOfMemory.
SequenceElement NewElement(DType dtype, const Shape& shape);
// A copy of a tensor's elements.
SequenceElement CopyElement(const TensorView& tensor);

}  // namespace ziggurat
