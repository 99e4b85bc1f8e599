// What a pass is: a rewrite of a graph that keeps its meaning, and says how exactly.
//
// Passes see capabilities, never devices or models, and never one another: their order is pipeline.cc's.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ops/op_def.h"

namespace ziggurat {

// Computes a node whose inputs are all known (null: absent) with the kernels that running it would use, one constant
// an output (null: absent). Throws where the node fails.
using Evaluator = std::function<std::vector<std::shared_ptr<Constant>>(
    const Node& node, const std::vector<std::shared_ptr<Constant>>& inputs)>;

struct PassContext {
  Evaluator evaluate;  // empty: nothing is folded
  // Whether the op has a kernel of its own for this element type, so that fusing into it pays; empty: yes.
  std::function<bool(const OpDef& op, DType dtype)> supports;
  // Bytes that folding may add to the model over what it takes away.
  int64_t max_folded_growth = int64_t{1} << 30;

  bool Supports(const OpDef& op, DType dtype) const { return !supports || supports(op, dtype); }
};

enum class Exactness : uint8_t {
  kExact,        // the same bits
  kApproximate,  // within Pass::bound
};

struct Pass {
  std::string_view name;
  Exactness exactness;
  std::string_view bound;  // of an approximate pass: how far a result may move
  std::string_view proof;  // why the rewrite keeps the meaning
  // Rewrites one graph, not its subgraphs (the runner visits those), and returns how many rewrites it made. Nodes
  // whose outputs lose their last use are swept by the runner.
  int (*run)(Graph& graph, PassContext& context);
  bool repeat = false;  // run again until nothing changes (at most kMaxRounds times)
};

inline constexpr int kMaxRounds = 32;

}  // namespace ziggurat
