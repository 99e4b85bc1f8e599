#include "llm/candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ziggurat::llm {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();
// The kernels' e^x is 0 below it.
constexpr float kExpFloor = -105.0f;

}  // namespace

RowScan::RowScan(const cpu::KernelTable& kernels)
    : rows_(kernels.vector->rows), exp_(kernels.vector->elementwise.unary(cpu::UnaryOp::kExp)) {}

std::span<const float> RowScan::Block(size_t block) const {
  const size_t start = block * kScanBlock;
  return row_.subspan(start, std::min<size_t>(kScanBlock, row_.size() - start));
}

void RowScan::Scan(std::span<const float> row) {
  row_ = row;
  maxima_.resize((row.size() + kScanBlock - 1) / kScanBlock);
  max_ = kNothing;
  bool nan = false;
  for (size_t b = 0; b < maxima_.size(); ++b) {
    const std::span<const float> block = Block(b);
    const float m = rows_.reduce(cpu::ReduceOp::kMax, block.data(), static_cast<int64_t>(block.size()));
    maxima_[b] = m;
    nan |= m != m;
    max_ = m > max_ ? m : max_;
  }
  if (nan) max_ = std::numeric_limits<float>::quiet_NaN();
}

TokenId RowScan::ArgMax() const {
  const size_t block = std::find(maxima_.begin(), maxima_.end(), max_) - maxima_.begin();
  const std::span<const float> values = Block(block);
  const auto place = std::find(values.begin(), values.end(), max_);
  return static_cast<TokenId>(block * kScanBlock + (place - values.begin()));
}

void RowScan::AtLeast(float threshold, std::vector<Candidate>& out) const {
  out.clear();
  for (size_t b = 0; b < maxima_.size(); ++b) {
    if (!(maxima_[b] >= threshold)) continue;
    const std::span<const float> block = Block(b);
    for (size_t i = 0; i < block.size(); ++i)
      if (block[i] >= threshold && block[i] != kNothing)
        out.push_back({block[i], static_cast<TokenId>(b * kScanBlock + i)});
  }
}

void RowScan::Top(int64_t k, std::vector<Candidate>& out) {
  out.clear();
  if (k <= 0) return;
  float threshold = kNothing;
  if (k <= static_cast<int64_t>(maxima_.size())) {
    order_ = maxima_;
    std::nth_element(order_.begin(), order_.begin() + (k - 1), order_.end(), std::greater<>());
    threshold = order_[k - 1];
  }
  AtLeast(threshold, out);
  if (static_cast<int64_t>(out.size()) > k) {
    std::nth_element(out.begin(), out.begin() + k, out.end());
    out.resize(k);
  }
  std::sort(out.begin(), out.end());
}

void RowScan::WeighBlock(std::span<const float> block, float scale, float* weights) const {
  const float* x = block.data();
  const float max = max_;
  if (block.size() == kScanBlock)  // a constant count, for the compiler's vectors
    for (size_t i = 0; i < kScanBlock; ++i) weights[i] = (x[i] - max) * scale;
  else
    for (size_t i = 0; i < block.size(); ++i) weights[i] = (x[i] - max) * scale;
  exp_(weights, weights, static_cast<int64_t>(block.size()), {});
}

double RowScan::WeighBlocks(float scale, std::vector<float>& sums) {
  alignas(64) float weights[kScanBlock];
  sums.resize(maxima_.size());
  double total = 0;
  for (size_t b = 0; b < sums.size(); ++b) {
    sums[b] = 0;
    if ((maxima_[b] - max_) * scale < kExpFloor) continue;
    const std::span<const float> block = Block(b);
    WeighBlock(block, scale, weights);
    sums[b] = rows_.reduce(cpu::ReduceOp::kSum, weights, static_cast<int64_t>(block.size()));
    total += sums[b];
  }
  return total;
}

void RowScan::Weigh(std::span<const Candidate> candidates, float scale, std::vector<float>& weights) const {
  weights.resize(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) weights[i] = (candidates[i].logit - max_) * scale;
  exp_(weights.data(), weights.data(), static_cast<int64_t>(weights.size()), {});
}

TokenId RowScan::Locate(double target, float scale, std::span<const float> sums) {
  alignas(64) float weights[kScanBlock];
  double before = 0;
  size_t block = 0, last = 0;
  for (; block < sums.size(); ++block) {
    if (sums[block] > 0) last = block;
    if (before + sums[block] > target) break;
    before += sums[block];
  }
  if (block == sums.size()) block = last;  // the sum's own rounding put the target at its end
  const std::span<const float> values = Block(block);
  WeighBlock(values, scale, weights);
  TokenId token = kNoToken;
  for (size_t i = 0; i < values.size(); ++i) {
    if (weights[i] <= 0) continue;
    token = static_cast<TokenId>(block * kScanBlock + i);
    before += weights[i];
    if (before > target) break;
  }
  return token;
}

void RowScan::WeighClasses(float scale) {
  alignas(64) float weights[kScanBlock];
  classes_.assign(kClasses, 0);
  for (size_t b = 0; b < maxima_.size(); ++b) {
    if ((maxima_[b] - max_) * scale < kExpFloor) continue;
    const std::span<const float> block = Block(b);
    WeighBlock(block, scale, weights);
    for (size_t i = 0; i < block.size(); ++i) classes_[ClassOf((max_ - block[i]) * scale)] += weights[i];
  }
}

// The tokens of a class, by id, and their weights.
void RowScan::ListClass(int wanted, float scale, std::vector<Candidate>& out, std::vector<float>& weights) const {
  out.clear();
  for (size_t b = 0; b < maxima_.size(); ++b) {
    if (ClassOf((max_ - maxima_[b]) * scale) > wanted) continue;
    const std::span<const float> block = Block(b);
    for (size_t i = 0; i < block.size(); ++i)
      if (block[i] != kNothing && ClassOf((max_ - block[i]) * scale) == wanted)
        out.push_back({block[i], static_cast<TokenId>(b * kScanBlock + i)});
  }
  Weigh(out, scale, weights);
}

TokenId RowScan::DrawHeaviest(double mass, float scale, double uniform) {
  WeighClasses(scale);
  double whole = 0;  // of the classes before the edge's
  int edge = 0;
  while (edge + 1 < kClasses && whole + classes_[edge] < mass) whole += classes_[edge++];
  ListClass(edge, scale, edge_, edge_weights_);
  std::sort(edge_.begin(), edge_.end());
  Weigh(edge_, scale, edge_weights_);
  size_t kept = 0;
  double total = whole;
  while (kept < edge_.size() && (total == 0 || total < mass)) total += edge_weights_[kept++];
  const double target = uniform * total;
  // In the classes before the edge, or in what is kept of it.
  int chosen = 0;
  double before = 0;
  while (chosen < edge && before + classes_[chosen] <= target) before += classes_[chosen++];
  if (chosen < edge) ListClass(chosen, scale, members_, member_weights_);
  const auto& members = chosen < edge ? members_ : edge_;
  const auto& weights = chosen < edge ? member_weights_ : edge_weights_;
  const size_t count = chosen < edge ? members_.size() : kept;
  for (size_t i = 0; i < count; ++i)
    if ((before += weights[i]) > target) return members[i].token;
  // The sums' own rounding put the target at the end; there is always a likeliest token.
  return count > 0 ? members[count - 1].token : ArgMax();
}

}  // namespace ziggurat::llm
