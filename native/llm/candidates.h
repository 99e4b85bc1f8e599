// The likely tokens of a row of logits, without sorting it.
//
// One pass takes the largest value of every kScanBlock logits. The k-th largest of those maxima bounds the k-th largest
// logit from below, so only blocks that reach it are looked at again: for k = 50 of 150,000 logits, some 50 of 1,172.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/kernel_table.h"
#include "llm/sequence.h"

namespace ziggurat::llm {

struct Candidate {
  float logit;
  TokenId token;
  // More likely first; of equal ones, the lower id.
  friend bool operator<(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  }
};

// Not thread-safe; one a worker, its memory is reused from row to row.
class RowScan {
 public:
  static constexpr int64_t kScanBlock = 128;

  explicit RowScan(const cpu::KernelTable& kernels);

  // Looks at a row, which must stay as it is until the next Scan.
  void Scan(std::span<const float> row);
  // The largest logit; NaN if any is NaN.
  float max() const { return max_; }
  // The lowest of the most likely ids. max() must not be NaN.
  TokenId ArgMax() const;
  // The k most likely, in order; less where fewer are above -inf.
  void Top(int64_t k, std::vector<Candidate>& out);
  // Those of at least `threshold` (and above -inf), by id.
  void AtLeast(float threshold, std::vector<Candidate>& out) const;

  // Sums of e^((logit - max()) * scale) by block of kScanBlock, each by the kernels' fixed tree; returns their sum.
  double WeighBlocks(float scale, std::vector<float>& sums);
  // weights[i] = e^((logits[i] - max()) * scale).
  void Weigh(std::span<const Candidate> candidates, float scale, std::vector<float>& weights) const;
  // The token at which the running sum of weights, by id, passes `target`, given WeighBlocks's sums.
  TokenId Locate(double target, float scale, std::span<const float> sums);
  // A token of those that together have at least `mass` of the weights and none of which is less likely than one left
  // out: where the running sum over them passes `uniform` of their sum. Without sorting the row, for any number of
  // them: weights are added up by class of logits, and only the class at the edge is sorted.
  TokenId DrawHeaviest(double mass, float scale, double uniform);
  // log(sum(e^logit)) of the row.
  float LogSumExp() const { return rows_.log_sum_exp(row_.data(), static_cast<int64_t>(row_.size())); }

 private:
  // Classes of logits by how far they lie below the maximum, kClassesAUnit to a factor of e; the last takes the rest,
  // of which 150,000 tokens weigh less than 2e-9.
  static constexpr int kClassesAUnit = 128, kClasses = 32 * kClassesAUnit;

  static int ClassOf(float distance) {
    return distance < kClasses / kClassesAUnit ? static_cast<int>(distance * kClassesAUnit) : kClasses - 1;
  }
  std::span<const float> Block(size_t block) const;
  void WeighClasses(float scale);
  void ListClass(int wanted, float scale, std::vector<Candidate>& out, std::vector<float>& weights) const;
  void WeighBlock(std::span<const float> block, float scale, float* weights) const;

  const cpu::RowKernels& rows_;
  cpu::UnaryFn exp_;
  std::span<const float> row_;
  std::vector<float> maxima_, order_;
  std::vector<double> classes_;
  std::vector<Candidate> edge_, members_;
  std::vector<float> edge_weights_, member_weights_;
  float max_ = 0;
};

}  // namespace ziggurat::llm
