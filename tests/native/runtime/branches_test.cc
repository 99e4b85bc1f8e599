#include "runtime/branches.h"

#include <cmath>
#include <cstring>
#include <random>
#include <set>

#include "check.h"
#include "ir/parser.h"
#include "runtime/model.h"

using namespace ziggurat;

namespace {

std::shared_ptr<Engine> MakeEngine(int threads) {
  EngineOptions options;
  options.threads = threads;
  return std::make_shared<Engine>(options);
}

// Towers of small products and activations on one input, joined in the end.
std::string Towers(int towers, int depth) {
  std::string text = "graph towers(%x: float32[b,32]) {\n", ends;
  for (int t = 0; t < towers; ++t)
    for (int d = 0; d < depth; ++d)
      text += Cat("  const @w", t, "_", d, ": float32[32,32] = rand(", 1 + t * depth + d, ")\n");
  for (int t = 0; t < towers; ++t) {
    std::string last = "x";
    for (int d = 0; d < depth; ++d) {
      text += Cat("  %m", t, "_", d, " = MatMul(%", last, ", @w", t, "_", d, ")\n");
      text += Cat("  %a", t, "_", d, " = Tanh(%m", t, "_", d, ")\n");
      last = Cat("a", t, "_", d);
    }
    ends += Cat(t ? ", %" : "%", last);
  }
  return Cat(text, "  %y = Concat(", ends, ") {axis = 1}\n  return %y as y\n}\n");
}

// A random graph: each value is made of one or two earlier ones, old or new.
std::string RandomGraph(std::mt19937& random, int nodes) {
  std::string text = "graph random(%v0: float32[b,16]) {\n";
  for (int i = 1; i <= nodes; ++i) {
    const auto earlier = [&] { return random() % 3 ? i - 1 - random() % std::min(i, 4) : random() % i; };
    const unsigned kind = random() % 4;
    if (kind < 2)
      text += Cat("  %v", i, " = ", kind ? "Tanh" : "Relu", "(%v", earlier(), ")\n");
    else
      text += Cat("  %v", i, " = ", kind == 2 ? "Add" : "Max", "(%v", earlier(), ", %v", earlier(), ")\n");
  }
  return Cat(text, "  return %v", nodes, " as y, %v", nodes / 2, " as z\n}\n");
}

struct Result {
  std::vector<std::vector<float>> outputs;
  bool operator==(const Result&) const = default;
};

Result RunOn(const Model& model, int64_t batch, int64_t width, RunLimits limits = {},
             std::vector<StepProfile>* profile = nullptr) {
  std::vector<float> x(static_cast<size_t>(batch * width));
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  RunRequest request;
  request.inputs = {{reinterpret_cast<std::byte*>(x.data()), DType::kFloat32, Shape{batch, width}}};
  request.limits = limits;
  request.profile = profile;
  Result result;
  for (const Output& output : model.Run(request))
    result.outputs.emplace_back(output.view.As<float>(), output.view.As<float>() + output.view.Count());
  return result;
}

std::unique_ptr<Model> Load(const std::string& text, int threads, bool side_by_side = true, bool optimize = true) {
  ModelOptions options;
  options.optimize = optimize;
  if (!side_by_side) options.disabled_passes = {"side_by_side"};
  return std::make_unique<Model>(MakeEngine(threads), ParseGraph(text), options);
}

std::vector<Branches> Found(const Model& model, int64_t batch, int workers) {
  LayoutCache layouts(model.plan(), workers);
  std::vector<int64_t> symbols(model.plan().graph->symbols().size(), batch);
  return layouts.Get(symbols)->branches;
}

}  // namespace

TEST(small_towers_run_side_by_side) {
  const auto model = Load(Towers(8, 3), 2);
  const auto found = Found(*model, 64, 2);
  CHECK(found.size() == 1 && found[0].lists.size() == 8, model->plan().ToString());
  std::set<int> steps;
  for (const auto& list : found[0].lists) {
    CHECK(std::is_sorted(list.begin(), list.end()));
    steps.insert(list.begin(), list.end());
  }
  CHECK(static_cast<int>(steps.size()) == found[0].last - found[0].first);
  CHECK(*steps.begin() == found[0].first && *steps.rbegin() == found[0].last - 1);
  CHECK(Found(*model, 1, 1).empty());        // nobody to run beside
  CHECK(Found(*model, 100'000, 2).empty());  // each step is enough for all workers
}

TEST(a_chain_has_no_branches) {
  const auto model = Load(Towers(1, 12), 2);
  CHECK(Found(*model, 1, 2).empty());
}

TEST(branches_side_by_side_give_the_same_bits) {
  for (const auto& [towers, depth] : {std::pair{8, 3}, std::pair{3, 7}, std::pair{17, 2}}) {
    const std::string text = Towers(towers, depth);
    for (int64_t batch : {1, 33, 64, 150, 0}) {
      const Result expected = RunOn(*Load(text, 1), batch, 32);
      for (int threads : {2, 3}) {
        const auto model = Load(text, threads);
        CHECK(RunOn(*Load(text, threads, false), batch, 32) == expected);
        for (int round = 0; round < 20; ++round) CHECK(RunOn(*model, batch, 32) == expected, threads, " threads");
      }
    }
  }
}

TEST(random_graphs_give_the_same_bits_with_their_branches_side_by_side) {
  std::mt19937 random(23);
  int with_branches = 0;
  for (int round = 0; round < 60; ++round) {
    const std::string text = RandomGraph(random, 20 + random() % 60);
    const Result expected = RunOn(*Load(text, 1, true, false), 1500, 16);
    for (int threads : {2, 3}) {
      // Without passes there are more steps to mix up.
      const auto model = Load(text, threads, true, false);
      with_branches += !Found(*model, 1500, threads).empty();
      for (int again = 0; again < 5; ++again) CHECK(RunOn(*model, 1500, 16) == expected, text);
    }
  }
  CHECK(with_branches > 20, with_branches);
}

TEST(limits_are_polled_and_profiles_complete_where_branches_run_side_by_side) {
  const auto model = Load(Towers(8, 3), 2);
  const Result expected = RunOn(*model, 64, 32);
  std::atomic<bool> cancelled{true};
  CHECK_ERROR(Code::kCancelled, RunOn(*model, 64, 32, {&cancelled, std::nullopt}));
  const auto past = std::chrono::steady_clock::now() - std::chrono::seconds(1);
  CHECK_ERROR(Code::kDeadlineExceeded, RunOn(*model, 64, 32, {nullptr, past}));
  std::vector<StepProfile> profile;
  CHECK(RunOn(*model, 64, 32, {}, &profile) == expected);
  CHECK(profile.size() == model->plan().steps.size());
  CHECK(RunOn(*model, 64, 32) == expected);
}

TEST(an_error_in_a_branch_names_its_step_and_leaves_the_model_whole) {
  // Rows beyond the table are found while running.
  std::string text = Towers(8, 3);
  text.replace(text.find("  %y = "), 0,
               "  const @table: float32[4,32] = rand(99)\n  %scaled = Mul(%x, @big)\n"
               "  %index = Cast(%scaled) {to = 7}\n  %row = Gather(@table, %index) {axis = 0}\n");
  text.replace(text.find("  const"), 0, "  const @big: float32[] = [1000000]\n");
  text.replace(text.find(" as y"), 5, " as y, %row as row");
  const auto model = Load(text, 2);
  for (int round = 0; round < 20; ++round) {
    try {
      RunOn(*model, 64, 32);
      CHECK(false, "an index is out of range");
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find("Gather") != std::string::npos, error.what());
    }
  }
  // Zeros are fine.
  std::vector<float> zeros(64 * 32, 0);
  RunRequest request;
  request.inputs = {{reinterpret_cast<std::byte*>(zeros.data()), DType::kFloat32, Shape{64, 32}}};
  CHECK(model->Run(request).size() == 2);
}
