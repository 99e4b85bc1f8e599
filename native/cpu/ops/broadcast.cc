#include "cpu/ops/broadcast.h"

#include <algorithm>

#include "base/error.h"

namespace ziggurat::cpu {

Broadcast::Broadcast(std::span<const Shape* const> shapes, const Shape& output) {
  operands = static_cast<int>(shapes.size());
  ZIGGURAT_CHECK(operands <= kMaxOperands);
  std::array<std::array<int64_t, kMaxRank>, kMaxOperands> full{};
  for (int i = 0; i < operands; ++i) {
    const Shape& shape = *shapes[i];
    const int lead = output.rank() - shape.rank();
    ZIGGURAT_CHECK(lead >= 0);
    int64_t step = 1;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      ZIGGURAT_CHECK(shape[axis] == 1 || shape[axis] == output[lead + axis]);
      full[i][lead + axis] = shape[axis] == 1 ? 0 : step;
      step *= shape[axis];
    }
  }
  // Outermost first: an axis joins the one before it if every operand's step there spans exactly this axis.
  for (int axis = 0; axis < output.rank(); ++axis) {
    if (output[axis] == 1) continue;
    bool joins = rank > 0;
    for (int i = 0; i < operands && joins; ++i)
      joins =
          strides[i][rank - 1] == full[i][axis] * output[axis] && (full[i][axis] != 0) == (strides[i][rank - 1] != 0);
    if (joins) {
      dims[rank - 1] *= output[axis];
    } else {
      dims[rank++] = output[axis];
    }
    for (int i = 0; i < operands; ++i) strides[i][rank - 1] = full[i][axis];
  }
  if (rank == 0) {
    rank = 1, dims[0] = 1;
    for (int i = 0; i < operands; ++i) strides[i][0] = 1;
  }
}

namespace {

template <typename T>
void Gather(const Broadcast& b, int operand, const T* data, int64_t begin, int64_t n, T* tile) {
  const int64_t step = b.strides[operand][b.rank - 1];
  ForRuns(b, begin, begin + n, [&](const std::array<int64_t, kMaxOperands>& offsets, int64_t at, int64_t count) {
    const T* from = data + offsets[operand];
    T* to = tile + (at - begin);
    if (step == 1) {
      std::copy_n(from, count, to);
    } else {
      std::fill_n(to, count, *from);
    }
  });
}

}  // namespace

void GatherTile(const Broadcast& b, int operand, const std::byte* data, int64_t element_bytes, int64_t begin, int64_t n,
                std::byte* tile) {
  switch (element_bytes) {
    case 1:
      return Gather(b, operand, reinterpret_cast<const uint8_t*>(data), begin, n, reinterpret_cast<uint8_t*>(tile));
    case 2:
      return Gather(b, operand, reinterpret_cast<const uint16_t*>(data), begin, n, reinterpret_cast<uint16_t*>(tile));
    case 4:
      return Gather(b, operand, reinterpret_cast<const uint32_t*>(data), begin, n, reinterpret_cast<uint32_t*>(tile));
    case 8:
      return Gather(b, operand, reinterpret_cast<const uint64_t*>(data), begin, n, reinterpret_cast<uint64_t*>(tile));
    default:
      throw Error(Code::kInternal, "no tile of ", element_bytes, "-byte elements");
  }
}

}  // namespace ziggurat::cpu
