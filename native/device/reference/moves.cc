#include "device/reference/moves.h"

#include <complex>
#include <string>

namespace ziggurat::plain {
namespace {

// Calls f with a pointer type whose elements are as wide as the dtype's.
template <typename F>
void WithWidth(const TensorView& a, const TensorView& b, F&& f) {
  // Only what comes in a sequence or an optional can be other than the model says.
  if (a.dtype != b.dtype && ByteSize(a.dtype) != ByteSize(b.dtype))
    throw Error(Code::kInvalidArgument, "elements of ", Name(a.dtype), " where the model has ", Name(b.dtype));
  if (b.dtype == DType::kString) return f(static_cast<std::string*>(nullptr));
  switch (ByteSize(b.dtype)) {
    case 1:
      return f(static_cast<uint8_t*>(nullptr));
    case 2:
      return f(static_cast<uint16_t*>(nullptr));
    case 4:
      return f(static_cast<uint32_t*>(nullptr));
    case 8:
      return f(static_cast<uint64_t*>(nullptr));
    case 16:
      return f(static_cast<std::complex<double>*>(nullptr));
    default:
      throw Error(Code::kUnsupported, "elements of type ", Name(b.dtype), " cannot be moved");
  }
}

}  // namespace

void Gather(const TensorView& from, const int64_t* offsets, int64_t count, const TensorView& to, int64_t first) {
  if (count == 0) return;
  WithWidth(from, to, [&](auto* typed) {
    const auto* source = static_cast<decltype(typed)>(from.data);
    auto* target = static_cast<decltype(typed)>(to.data) + first;
    for (int64_t i = 0; i < count; ++i) target[i] = source[offsets[i]];
  });
}

void Scatter(const TensorView& from, int64_t first, int64_t count, const TensorView& to, const int64_t* offsets) {
  if (count == 0) return;
  WithWidth(from, to, [&](auto* typed) {
    const auto* source = static_cast<decltype(typed)>(from.data) + first;
    auto* target = static_cast<decltype(typed)>(to.data);
    for (int64_t i = 0; i < count; ++i) target[offsets[i]] = source[i];
  });
}

void CopyRun(const TensorView& from, int64_t from_first, const TensorView& to, int64_t to_first, int64_t count) {
  if (count == 0) return;
  WithWidth(from, to, [&](auto* typed) {
    const auto* source = static_cast<decltype(typed)>(from.data) + from_first;
    auto* target = static_cast<decltype(typed)>(to.data) + to_first;
    if (source != target) std::copy(source, source + count, target);
  });
}

void Fill(const TensorView& from, int64_t index, const TensorView& to, int64_t first, int64_t count) {
  if (count == 0) return;
  WithWidth(from.data ? from : to, to, [&](auto* typed) {
    using T = std::remove_pointer_t<decltype(typed)>;
    const T value = from.data ? static_cast<const T*>(from.data)[index] : T{};
    std::fill_n(static_cast<T*>(to.data) + first, count, value);
  });
}

void CopyStrided(const TensorView& from, const Strides& strides, int64_t base, const TensorView& to) {
  int64_t offsets[kRun];
  Walk walk(to.shape, strides, base);
  ForRuns(to.Count(), [&](int64_t first, int64_t count) {
    walk.Next(count, offsets);
    Gather(from, offsets, count, to, first);
  });
}

void CopyMapped(const TensorView& from, const AxisMaps& maps, const TensorView& to, const TensorView& fill) {
  const int rank = to.shape.rank();
  ZIGGURAT_CHECK(static_cast<int>(maps.size()) == rank && from.shape.rank() == rank);
  for (int axis = 0; axis < rank; ++axis) {
    ZIGGURAT_CHECK(static_cast<int64_t>(maps[axis].size()) == to.shape[axis]);
    for (int64_t index : maps[axis]) ZIGGURAT_CHECK(index >= -1 && index < from.shape[axis]);
  }
  if (rank == 0) return CopyRun(from, 0, to, 0, 1);
  const Strides strides = ContiguousStrides(from.shape);
  const std::vector<int64_t>& last = maps[rank - 1];
  Shape outer = to.shape;
  outer[rank - 1] = 1;
  Walk walk(outer, Strides{});
  std::vector<int64_t> offsets(last.size());
  const int64_t row = to.shape[rank - 1], rows = row ? to.Count() / row : 0;
  for (int64_t r = 0; r < rows; ++r, walk.Advance()) {
    int64_t base = 0;
    bool inside = true;
    for (int axis = 0; axis + 1 < rank; ++axis) {
      const int64_t index = maps[axis][walk.index()[axis]];
      inside = inside && index >= 0;
      base += index * strides[axis];
    }
    for (int64_t i = 0; i < row;) {  // stretches inside and outside
      int64_t end = i;
      const bool copy = inside && last[i] >= 0;
      for (; end < row && (inside && last[end] >= 0) == copy; ++end) offsets[end] = base + last[end];
      if (copy)
        Gather(from, offsets.data() + i, end - i, to, r * row + i);
      else
        Fill(fill, 0, to, r * row + i, end - i);
      i = end;
    }
  }
}

}  // namespace ziggurat::plain
