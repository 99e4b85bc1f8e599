// Splitting flat ranges over a team. What a piece computes must not depend on where the cuts fall.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/thread_pool.h"

namespace ziggurat::cpu {

// Elements worth a task of their own: a fork-join costs about a microsecond, in which one core streams some 4 K cheap
// elements; tasks below ten times that would show it.
constexpr int64_t kCheapGrain = 32768;
// The same for functions of some 20 instructions an element (exp, erf, division).
constexpr int64_t kCostlyGrain = 8192;

// Calls fn(begin, end) for pieces that cover [0, n), each a multiple of `step` (but the last) and about `grain` or
// more long. At most four pieces a worker: enough to even out a late worker.
template <typename Fn>
void ForRanges(const Team& team, int64_t n, int64_t grain, int64_t step, const Fn& fn) {
  if (n <= 0) return;
  const int64_t wanted = std::min<int64_t>(n / std::max<int64_t>(grain, 1), int64_t{4} * team.size());
  if (wanted <= 1 || team.size() == 1) return fn(int64_t{0}, n);
  int64_t piece = (n + wanted - 1) / wanted;
  piece = (piece + step - 1) / step * step;
  const int64_t tasks = (n + piece - 1) / piece;
  team.ParallelFor(tasks, [&](int64_t task, int) { fn(task * piece, std::min(n, (task + 1) * piece)); });
}

template <typename Fn>
void ForElements(const Team& team, int64_t n, int64_t grain, const Fn& fn) {
  ForRanges(team, n, grain, 64, fn);
}

// Rows of `cost` elements' worth each.
template <typename Fn>
void ForRows(const Team& team, int64_t rows, int64_t cost, int64_t grain, const Fn& fn) {
  ForRanges(team, rows, std::max<int64_t>(1, grain / std::max<int64_t>(cost, 1)), 1, fn);
}

}  // namespace ziggurat::cpu
