// NumPy broadcasting reduced to runs: neighbouring dimensions that all operands walk alike are merged, and what is
// left is an innermost run in which each operand either steps by one or stays.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/view.h"

namespace ziggurat::cpu {

constexpr int kMaxOperands = 3;

struct Broadcast {
  int operands = 0;
  int rank = 0;                                                       // of the merged output, at least 1
  std::array<int64_t, kMaxRank> dims{};                               // outermost first
  std::array<std::array<int64_t, kMaxRank>, kMaxOperands> strides{};  // in elements; 0 repeats

  Broadcast() = default;
  // `shapes` broadcast to `output` (which inference has checked).
  Broadcast(std::span<const Shape* const> shapes, const Shape& output);

  int64_t inner() const { return dims[rank - 1]; }
  bool Steps(int operand) const { return strides[operand][rank - 1] != 0; }
};

// Walks output elements [begin, end) run by run: calls fn(offsets, output_offset, n), offsets[i] that of operand i's
// first element, all in elements. Every run lies within one innermost row.
template <typename Fn>
void ForRuns(const Broadcast& b, int64_t begin, int64_t end, const Fn& fn) {
  std::array<int64_t, kMaxRank> index{};
  std::array<int64_t, kMaxOperands> row{};  // offsets of the current row's start
  int64_t rest = begin;
  for (int axis = b.rank - 1; axis >= 0; --axis) {
    index[axis] = rest % b.dims[axis];
    rest /= b.dims[axis];
    if (axis < b.rank - 1)
      for (int i = 0; i < b.operands; ++i) row[i] += index[axis] * b.strides[i][axis];
  }
  int64_t inside = index[b.rank - 1];
  for (int64_t at = begin; at < end;) {
    const int64_t n = std::min(b.inner() - inside, end - at);
    std::array<int64_t, kMaxOperands> offsets = row;
    for (int i = 0; i < b.operands; ++i) offsets[i] += inside * b.strides[i][b.rank - 1];
    fn(offsets, at, n);
    at += n, inside = 0;
    for (int axis = b.rank - 2; axis >= 0; --axis) {
      for (int i = 0; i < b.operands; ++i) row[i] += b.strides[i][axis];
      if (++index[axis] < b.dims[axis]) break;
      for (int i = 0; i < b.operands; ++i) row[i] -= b.dims[axis] * b.strides[i][axis];
      index[axis] = 0;
    }
  }
}

// A run as kernels take it: each operand's first element, and whether it steps or stays.
struct Run {
  std::array<const std::byte*, kMaxOperands> data{};
  std::array<bool, kMaxOperands> steps{};
  int64_t at = 0;  // first output element
  int64_t n = 0;
};

constexpr int64_t kTileElements = 512;
constexpr int64_t kWidestElement = 8;

// Copies output elements [begin, begin + n) of one operand, as broadcast, to `tile`.
void GatherTile(const Broadcast& b, int operand, const std::byte* data, int64_t element_bytes, int64_t begin, int64_t n,
                std::byte* tile);

// Calls fn(const Run&) for runs that cover output elements [begin, end). Rows too short to be worth a call each are
// laid out densely in tiles first.
template <typename Fn>
void ForOperandRuns(const Broadcast& b, const std::array<const std::byte*, kMaxOperands>& data,
                    const std::array<int64_t, kMaxOperands>& element_bytes, int64_t begin, int64_t end, const Fn& fn) {
  constexpr int64_t kShortRow = 24;
  Run run;
  bool any_steps = false;
  for (int i = 0; i < b.operands; ++i) run.steps[i] = b.Steps(i), any_steps |= b.Steps(i);
  if (any_steps && (b.rank == 1 || b.inner() >= kShortRow)) {
    ForRuns(b, begin, end, [&](const std::array<int64_t, kMaxOperands>& offsets, int64_t at, int64_t n) {
      for (int i = 0; i < b.operands; ++i) run.data[i] = data[i] + offsets[i] * element_bytes[i];
      run.at = at, run.n = n;
      fn(run);
    });
    return;
  }
  alignas(64) std::byte tiles[kMaxOperands][kTileElements * kWidestElement];
  for (int64_t at = begin; at < end; at += kTileElements) {
    run.at = at, run.n = std::min(kTileElements, end - at);
    for (int i = 0; i < b.operands; ++i) {
      GatherTile(b, i, data[i], element_bytes[i], at, run.n, tiles[i]);
      run.data[i] = tiles[i], run.steps[i] = true;
    }
    fn(run);
  }
}

}  // namespace ziggurat::cpu
