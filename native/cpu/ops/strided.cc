#include "cpu/ops/strided.h"

#include <cstring>

#include "base/error.h"
#include "cpu/ops/broadcast.h"
#include "cpu/ops/ranges.h"

namespace ziggurat::cpu {
namespace {

struct Bytes16 {
  uint64_t low, high;
};

// Neighbouring axes that are walked as one become one; axes of size 1 go.
Broadcast Merged(const StridedSource& source) {
  Broadcast b;
  b.operands = 1;
  for (int axis = 0; axis < source.dims.rank(); ++axis) {
    const int64_t size = source.dims[axis], stride = source.strides[axis];
    if (size == 1) continue;
    if (b.rank > 0 && b.strides[0][b.rank - 1] == stride * size) {
      b.dims[b.rank - 1] *= size;
      b.strides[0][b.rank - 1] = stride;
    } else {
      b.dims[b.rank] = size;
      b.strides[0][b.rank++] = stride;
    }
  }
  if (b.rank == 0) b.rank = 1, b.dims[0] = 1, b.strides[0][0] = 1;
  return b;
}

template <typename T>
void CopyRange(const Broadcast& b, const T* x, T* y, int64_t begin, int64_t end) {
  const int64_t step = b.strides[0][b.rank - 1];
  ForRuns(b, begin, end, [&](const std::array<int64_t, kMaxOperands>& offsets, int64_t at, int64_t n) {
    const T* from = x + offsets[0];
    T* to = y + at;
    if (step == 1) {
      std::memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
    } else if (step == 0) {
      const T value = *from;
      for (int64_t i = 0; i < n; ++i) to[i] = value;
    } else {
      for (int64_t i = 0; i < n; ++i) to[i] = from[i * step];
    }
  });
}

template <typename T>
void CopyAs(const Team& team, const StridedSource& source, std::byte* y) {
  const Broadcast b = Merged(source);
  const T* from = reinterpret_cast<const T*>(source.data);
  T* to = reinterpret_cast<T*>(y);
  ForElements(team, source.dims.Count(), kCopyGrain / static_cast<int64_t>(sizeof(T)),
              [&](int64_t begin, int64_t end) { CopyRange(b, from, to, begin, end); });
}

}  // namespace

void CopyStrided(const Team& team, const StridedSource& source, std::byte* y) {
  if (source.dims.Count() == 0) return;
  switch (source.element_bytes) {
    case 1:
      return CopyAs<uint8_t>(team, source, y);
    case 2:
      return CopyAs<uint16_t>(team, source, y);
    case 4:
      return CopyAs<uint32_t>(team, source, y);
    case 8:
      return CopyAs<uint64_t>(team, source, y);
    case 16:
      return CopyAs<Bytes16>(team, source, y);
    default:
      throw Error(Code::kInternal, "no copy of ", source.element_bytes, "-byte elements");
  }
}

}  // namespace ziggurat::cpu
