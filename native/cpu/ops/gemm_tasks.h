// How the work of one matrix product is cut into tasks. No cut changes a bit of the result.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ziggurat::cpu {

struct GemmGrid {
  int64_t row_parts = 1;     // of m
  int64_t column_parts = 1;  // of the panels of n
  int64_t tasks() const { return row_parts * column_parts; }
};

// The first element of part `i` of `parts` even parts of `n`.
inline int64_t PartStart(int64_t n, int64_t parts, int64_t i) { return n / parts * i + std::min(i, n % parts); }

// A fork-join costs about a microsecond, in which a core does some 10^5 operations: a tenth of that a task at most.
constexpr double kFlopsPerTask = 1e6;
// Rows that stay in a core's second-level cache (kernels/matrix_gemm.cc), and the least that are worth reading all of
// B for once more: below, B's panels are split instead, which copies the rows of A again for each part.
constexpr int64_t kMostRows = 140;
constexpr int64_t kLeastRows = 56;

inline GemmGrid CutGemm(int64_t m, int64_t n, int64_t k, int workers, int mr, int nr) {
  GemmGrid grid;
  if (m == 0 || n == 0) return grid;
  const int64_t panels = (n + nr - 1) / nr, tiles = (m + mr - 1) / mr;
  const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const int64_t worth = std::max<int64_t>(1, static_cast<int64_t>(flops / kFlopsPerTask));
  // Two tasks a worker even out a worker that the OS delays.
  const int64_t wanted = workers <= 1 ? 1 : std::min<int64_t>(worth, 2 * workers);
  if (wanted <= 1) return grid;
  grid.row_parts = std::min(wanted, std::max<int64_t>(1, m / kLeastRows));
  if (m > kMostRows * wanted) grid.row_parts = ((m + kMostRows - 1) / kMostRows + wanted - 1) / wanted * wanted;
  grid.column_parts = std::min(panels, (wanted + grid.row_parts - 1) / grid.row_parts);
  if (grid.tasks() < wanted) grid.row_parts = std::min(tiles, (wanted + grid.column_parts - 1) / grid.column_parts);
  return grid;
}

}  // namespace ziggurat::cpu
