#include "passes/runner.h"

#include <algorithm>
#include <chrono>

#include "ir/printer.h"
#include "ir/verifier.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

// Insertions, deletions and replacements that make one name the other.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

void CheckNames(const std::vector<std::string>& names, std::span<const PipelineRow> pipeline) {
  constexpr size_t kLongestName = 64;  // of a caller's text; ours are shorter
  for (const std::string& name : names) {
    std::string_view nearest;
    size_t best = ~size_t{0};
    for (const PipelineRow& row : pipeline) {
      const size_t distance = EditDistance(std::string_view(name).substr(0, kLongestName), row.pass.name);
      if (distance < best) best = distance, nearest = row.pass.name;
    }
    if (name != nearest)
      throw Error(Code::kInvalidArgument, "there is no pass named '", name, "'; the nearest is '", nearest, "'");
  }
}

int RunOnce(const Pass& pass, Graph& graph, PassContext& context) {
  int rewrites = 0;
  // Innermost first: a pass on an outer graph may then rely on its subgraphs. New subgraphs wait for the next round.
  for (Graph* each : GraphsInnermostFirst(graph)) rewrites += pass.run(*each, context);
  // Also what a pass built and then found no use for.
  for (Graph* each : GraphsInnermostFirst(graph)) SweepDead(*each);
  return rewrites;
}

int RunPass(const Pass& pass, Graph& graph, PassContext& context) {
  int total = 0;
  for (int round = 0; round < (pass.repeat ? kMaxRounds : 1); ++round) {
    const int rewrites = RunOnce(pass, graph, context);
    total += rewrites;
    if (!rewrites) break;
  }
  return total;
}

}  // namespace

std::vector<PassRecord> RunPasses(Graph& graph, PassContext& context, const PassOptions& options,
                                  std::span<const PipelineRow> pipeline) {
  CheckNames(options.disabled, pipeline);
  std::vector<PassRecord> records;
  for (const PipelineRow& row : pipeline) {
    const Pass& pass = row.pass;
    if (options.level == OptimizeLevel::kNone) break;
    if (options.level == OptimizeLevel::kExact && pass.exactness != Exactness::kExact) continue;
    if (std::find(options.disabled.begin(), options.disabled.end(), pass.name) != options.disabled.end()) continue;
    const std::string before = options.dump ? PrintGraph(graph) : "";
    const auto start = std::chrono::steady_clock::now();
    const int rewrites = RunPass(pass, graph, context);
    const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - start;
    records.push_back({pass.name, pass.exactness, rewrites, taken.count()});
    if (!rewrites) continue;
    try {
      Verify(graph, {Code::kInternal, options.verify_types});
    } catch (const Error& error) {
      throw Error(Code::kInternal, "after pass ", pass.name, ": ", error.what());
    }
    if (options.dump) options.dump(pass.name, before, PrintGraph(graph));
  }
  return records;
}

}  // namespace ziggurat
