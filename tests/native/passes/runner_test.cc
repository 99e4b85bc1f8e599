#include "passes/runner.h"

#include "check.h"
#include "ir/parser.h"
#include "ir/printer.h"
#include "passes/evaluator.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

constexpr char kText[] = "graph g(%x: float32[4]) {\n  %a = Identity(%x)\n  %b = Relu(%a)\n  return %b\n}";

int BreakUsers(Graph& graph, PassContext&) {
  for (auto& value : graph.values())
    if (value->name == "b") ++value->graph_output_uses;
  return 1;
}

constexpr Pass kBroken = {
    .name = "broken", .exactness = Exactness::kExact, .bound = "", .proof = "none", .run = BreakUsers};

}  // namespace

TEST(the_record_names_passes_and_counts_rewrites) {
  const auto graph = ParseGraph(kText);
  PassContext context;
  int identities = 0;
  for (const PassRecord& record : RunPasses(*graph, context)) {
    if (record.name == "eliminate_identity") identities += record.rewrites;
    CHECK(record.microseconds >= 0);
  }
  CHECK(identities == 1);
  CHECK(graph->nodes().size() == 1);
}

TEST(a_disabled_pass_does_not_run) {
  const auto graph = ParseGraph(kText);
  PassContext context;
  PassOptions options;
  options.disabled = {"eliminate_identity"};
  for (const PassRecord& record : RunPasses(*graph, context, options)) CHECK(record.name != "eliminate_identity");
  CHECK(graph->nodes().size() == 2);
}

TEST(an_unknown_pass_names_the_nearest) {
  const auto graph = ParseGraph(kText);
  PassContext context;
  PassOptions options;
  options.disabled = {"eliminate_identities"};
  std::string found;
  try {
    RunPasses(*graph, context, options);
  } catch (const Error& error) {
    CHECK(error.code() == Code::kInvalidArgument);
    found = error.what();
  }
  CHECK(found.find("the nearest is 'eliminate_identity'") != std::string::npos, found);
}

TEST(a_pass_that_breaks_the_graph_is_named) {
  const auto graph = ParseGraph(kText);
  PassContext context;
  const PipelineRow rows[] = {{kBroken, ""}};
  std::string found;
  try {
    RunPasses(*graph, context, {}, rows);
  } catch (const Error& error) {
    found = error.what();
  }
  CHECK(found.find("after pass broken: tensor 'b'") != std::string::npos, found);
}

TEST(the_exact_level_leaves_approximate_passes_out) {
  const auto graph = ParseGraph(kText);
  PassContext context;
  PassOptions options;
  options.level = OptimizeLevel::kExact;
  for (const PassRecord& record : RunPasses(*graph, context, options)) CHECK(record.exactness == Exactness::kExact);
  options.level = OptimizeLevel::kNone;
  CHECK(RunPasses(*graph, context, options).empty());
}

TEST(a_dump_shows_the_graph_before_and_after) {
  const auto graph = ParseGraph(kText);
  PassContext context;
  PassOptions options;
  int dumps = 0;
  options.dump = [&](std::string_view pass, std::string_view before, std::string_view after) {
    ++dumps;
    CHECK(pass == "eliminate_identity");
    CHECK(before.find("Identity") != std::string_view::npos && after.find("Identity") == std::string_view::npos);
  };
  RunPasses(*graph, context, options);
  CHECK(dumps == 1);
}

TEST(every_row_of_the_pipeline_says_why_it_is_there) {
  for (const PipelineRow& row : Pipeline()) {
    CHECK(!row.why_here.empty() && !row.pass.proof.empty());
    CHECK((row.pass.exactness == Exactness::kExact) == row.pass.bound.empty(), row.pass.name);
  }
}

TEST(folding_stops_at_its_budget) {
  const char* text =
      "graph g() { const @a: float32[64] = fill(1.0)\n const @b: float32[64] = fill(2.0)\n %y = Add(@a, @b)\n"
      "  %z = Add(@b, @b)\n return %y, %z, @a, @b }";
  const auto graph = ParseGraph(text);
  PassContext context;
  context.evaluate = test::EvaluateForTests;
  context.max_folded_growth = 300;  // one result takes 256 bytes
  RunPasses(*graph, context);
  CHECK(graph->nodes().size() == 1);
}

TEST(folding_leaves_what_fails_and_ends_where_memory_is_short) {
  const char* text = "graph g() { const @a: float32[8] = fill(1.0)\n %y = Add(@a, @a)\n return %y }";
  PassContext context;
  context.evaluate = [](const Node&, const auto&) -> std::vector<std::shared_ptr<Constant>> {
    throw Error(Code::kUnsupported, "no kernel");
  };
  const auto graph = ParseGraph(text);
  RunPasses(*graph, context);
  CHECK(graph->nodes().size() == 1);
  context.evaluate = [](const Node&, const auto&) -> std::vector<std::shared_ptr<Constant>> {
    throw Error(Code::kOutOfMemory, "no room");
  };
  CHECK_ERROR(Code::kOutOfMemory, RunPasses(*graph, context));
}

}  // namespace ziggurat
