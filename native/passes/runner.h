// Runs passes over a graph and its subgraphs, checks the graph after each, and keeps the record that plans show.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "passes/pass.h"

namespace ziggurat {

struct PipelineRow {
  const Pass& pass;
  std::string_view why_here;
};

// The passes in their order.
std::span<const PipelineRow> Pipeline();

enum class OptimizeLevel : uint8_t { kNone, kExact, kAll };

struct PassOptions {
  OptimizeLevel level = OptimizeLevel::kAll;
  std::vector<std::string> disabled;  // names of passes
  // Also infer all types again after every pass: for tests; costs as much as loading the graph.
  bool verify_types = false;
  // Receives the graph's text before and after every pass that changed it.
  std::function<void(std::string_view pass, std::string_view before, std::string_view after)> dump;
};

struct PassRecord {
  std::string_view name;
  Exactness exactness;
  int rewrites;
  double microseconds;
};

// Runs `pipeline` over the outermost graph `graph`. Throws kInvalidArgument for an unknown name in `disabled`,
// kInternal (naming the pass) where a pass breaks the graph.
std::vector<PassRecord> RunPasses(Graph& graph, PassContext& context, const PassOptions& options = {},
                                  std::span<const PipelineRow> pipeline = Pipeline());

}  // namespace ziggurat
