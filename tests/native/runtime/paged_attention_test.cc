// zig.KvWrite and zig.PagedAttention against attention in float64, on every instruction set of this machine: all types
// of cache, groups and widths that fill no register, windows, soft caps, several chunks; and that cutting a context
// into steps, sharing a step and using more threads changes no bit.
#include <cmath>
#include <cstring>
#include <random>

#include "check.h"
#include "device/kv_pool.h"
#include "runtime/model.h"
#include "tensor/half.h"

using namespace ziggurat;

namespace {

struct Config {
  int64_t heads, kv_heads, head_dim, window = 0;
  float softcap = 0;
  DType dtype = DType::kFloat32;
};

std::shared_ptr<Graph> BuildGraph(const Config& config) {
  auto graph = std::make_shared<Graph>("attention");
  const Dim tokens = graph->NamedSymbol("tokens", 0, 0);
  auto floats = [&](const char* name, int64_t width) {
    return graph->AddInput(name, Type::Tensor(DType::kFloat32, std::vector<Dim>{tokens, Dim(width)}));
  };
  auto ints = [&](const char* name, std::vector<Dim> shape) {
    return graph->AddInput(name, Type::Tensor(DType::kInt64, std::move(shape)));
  };
  Value* q = floats("q", config.heads * config.head_dim);
  Value *k = floats("k", config.kv_heads * config.head_dim), *v = floats("v", config.kv_heads * config.head_dim);
  Value *positions = ints("positions", {tokens}), *slots = ints("slots", {tokens});
  Value* starts = ints("starts", {graph->NamedSymbol("bounds", 5, 0)});
  Value* blocks = ints("blocks", {graph->NamedSymbol("sequences", 6, 0), graph->NamedSymbol("blocks", 6, 1)});
  Value* kv = graph->AddInput("kv", Type::Resource());
  kv = graph->Add(GetOp("KvWrite", "zig"), {kv, k, v, slots}, {{"layer", int64_t{1}}});
  graph->AddOutput(graph->Add(GetOp("PagedAttention", "zig"), {q, kv, positions, starts, blocks},
                              {{"layer", int64_t{1}},
                               {"heads", config.heads},
                               {"kv_heads", config.kv_heads},
                               {"scale", 1.0f / std::sqrt(static_cast<float>(config.head_dim))},
                               {"softcap", config.softcap},
                               {"window", config.window}}),
                   "y");
  return graph;
}

// Random queries, keys and values of one sequence.
struct Data {
  std::vector<float> q, k, v;
  int64_t tokens;
  Data(const Config& config, int64_t tokens, unsigned seed) : tokens(tokens) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 1.5f);
    auto fill = [&](std::vector<float>& x, int64_t heads) {
      x.resize(static_cast<size_t>(tokens * heads * config.head_dim));
      for (float& value : x) value = normal(random);
    };
    fill(q, config.heads), fill(k, config.kv_heads), fill(v, config.kv_heads);
  }
};

// What the cache holds of a row.
std::vector<double> Stored(DType dtype, const float* row, int64_t width) {
  std::vector<double> out(row, row + width);
  float most = 0;
  for (int64_t i = 0; i < width; ++i) most = std::max(most, std::fabs(row[i]));
  const float scale = most / 127.0f;
  for (int64_t i = 0; i < width; ++i) {
    if (dtype == DType::kFloat16) out[i] = Float16ToFloat(FloatToFloat16(row[i]));
    if (dtype == DType::kBFloat16) out[i] = BFloat16ToFloat(FloatToBFloat16(row[i]));
    if (dtype == DType::kInt8) out[i] = scale > 0 ? double{scale} * std::nearbyint(row[i] / scale) : 0.0;
  }
  return out;
}

std::vector<double> Exact(const Config& config, const Data& data) {
  const int64_t width = config.head_dim, group = config.heads / config.kv_heads;
  std::vector<std::vector<double>> keys, values;
  for (int64_t i = 0; i < data.tokens * config.kv_heads; ++i) {
    keys.push_back(Stored(config.dtype, &data.k[i * width], width));
    values.push_back(Stored(config.dtype, &data.v[i * width], width));
  }
  std::vector<double> out(data.q.size(), 0.0);
  for (int64_t t = 0; t < data.tokens; ++t)
    for (int64_t head = 0; head < config.heads; ++head) {
      const float* q = &data.q[(t * config.heads + head) * width];
      const int64_t first = config.window ? std::max<int64_t>(0, t - config.window + 1) : 0;
      std::vector<double> scores;
      double most = -INFINITY, sum = 0;
      for (int64_t p = first; p <= t; ++p) {
        double dot = 0;
        for (int64_t i = 0; i < width; ++i) dot += q[i] * keys[p * config.kv_heads + head / group][i];
        dot /= std::sqrt(static_cast<double>(width));
        if (config.softcap > 0) dot = config.softcap * std::tanh(dot / config.softcap);
        scores.push_back(dot), most = std::max(most, dot);
      }
      for (double& score : scores) sum += score = std::exp(score - most);
      for (int64_t p = first; p <= t; ++p)
        for (int64_t i = 0; i < width; ++i)
          out[(t * config.heads + head) * width + i] +=
              scores[p - first] / sum * values[p * config.kv_heads + head / group][i];
    }
  return out;
}

class Runner {
 public:
  Runner(const Config& config, const std::string& isa, int threads)
      : config_(config),
        model_(std::make_shared<Engine>(EngineOptions{threads, 0, isa}), BuildGraph(config), {}),
        pool_(std::make_shared<KvPool>(model_.engine()->memory(), model_.engine()->budget(),
                                       KvShape{2, config.kv_heads, config.head_dim, kBlocks, config.dtype})) {}

  // The outputs of `parts` of sequences, in one step: tokens [begin, end) of each. Sequence i owns every fourth block.
  struct Part {
    int64_t sequence;
    const Data* data;
    int64_t begin, end;
  };
  std::vector<float> Step(const std::vector<Part>& parts) {
    std::vector<float> q, k, v;
    std::vector<int64_t> positions, slots, starts = {0}, table;
    for (const Part& part : parts) {
      auto append = [&](std::vector<float>& to, const std::vector<float>& from, int64_t heads) {
        const int64_t width = heads * config_.head_dim;
        to.insert(to.end(), from.begin() + part.begin * width, from.begin() + part.end * width);
      };
      append(q, part.data->q, config_.heads), append(k, part.data->k, config_.kv_heads);
      append(v, part.data->v, config_.kv_heads);
      for (int64_t p = part.begin; p < part.end; ++p)
        positions.push_back(p), slots.push_back(Block(part.sequence, p / 32) * 32 + p % 32);
      starts.push_back(static_cast<int64_t>(positions.size()));
      for (int64_t b = 0; b < kBlocks / 4; ++b) table.push_back(Block(part.sequence, b));
    }
    const int64_t t = static_cast<int64_t>(positions.size()), sequences = static_cast<int64_t>(parts.size());
    RunRequest request;
    for (auto& [values, heads] : {std::pair{&q, config_.heads}, {&k, config_.kv_heads}, {&v, config_.kv_heads}})
      request.inputs.push_back({values->data(), DType::kFloat32, {t, heads * config_.head_dim}});
    request.inputs.push_back({positions.data(), DType::kInt64, {t}});
    request.inputs.push_back({slots.data(), DType::kInt64, {t}});
    request.inputs.push_back({starts.data(), DType::kInt64, {sequences + 1}});
    request.inputs.push_back({table.data(), DType::kInt64, {sequences, kBlocks / 4}});
    request.inputs.push_back({});
    request.input_objects.resize(8);
    request.input_objects[7].resource = pool_;
    const auto outputs = model_.Run(request);
    const float* y = outputs[0].view.As<float>();
    return {y, y + outputs[0].view.Count()};
  }
  std::vector<float> InSteps(const Data& data, int64_t tokens) {
    std::vector<float> all;
    for (int64_t begin = 0; begin < data.tokens; begin += tokens) {
      const auto part = Step({{0, &data, begin, std::min(data.tokens, begin + tokens)}});
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }

 private:
  static constexpr int64_t kBlocks = 160;
  static int64_t Block(int64_t sequence, int64_t index) { return (kBlocks / 4 - 1 - index) * 4 + sequence; }

  Config config_;
  Model model_;
  std::shared_ptr<KvPool> pool_;
};

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<std::string> Isas() {
  std::vector<std::string> names;
  for (std::string_view isa : cpu::UsableIsas()) names.emplace_back(isa);
  return names;
}

constexpr Config kConfigs[] = {
    {4, 2, 8},
    {7, 1, 40},  // a group and a width that fill no register
    {3, 3, 64, 0, 0, DType::kFloat16},
    {5, 1, 20, 0, 0, DType::kInt8},
    {6, 2, 128, 0, 0, DType::kInt8},
    {4, 1, 80, 100, 0, DType::kBFloat16},
    {2, 1, 256, 33, 20.0f, DType::kFloat16},
    {40, 1, 16, 1, 0, DType::kFloat32},  // a group larger than a task, a window of one
};

}  // namespace

TEST(paged_attention_is_attention_in_every_cache_and_isa) {
  for (const Config& config : kConfigs) {
    const Data data(config, 75, 11);
    const auto exact = Exact(config, data);
    for (const std::string& isa : Isas()) {
      const auto y = Runner(config, isa, 2).InSteps(data, 75);
      for (size_t i = 0; i < y.size(); ++i)
        CHECK(std::fabs(y[i] - exact[i]) <= 1e-5, isa, " ", Name(config.dtype), " width ", config.head_dim, " at ", i,
              ": ", y[i], " for ", exact[i]);
    }
  }
}

TEST(paged_attention_gives_the_same_bits_however_the_context_is_cut) {
  for (const Config& config : kConfigs) {
    const Data data(config, 75, 12), other(config, 40, 13);
    for (const std::string& isa : Isas()) {
      Runner two(config, isa, 2), one(config, isa, 1);
      const auto whole = two.InSteps(data, 75);
      for (int64_t tokens : {1, 7, 33}) CHECK(SameBits(whole, two.InSteps(data, tokens)), isa, " steps of ", tokens);
      CHECK(SameBits(whole, one.InSteps(data, 19)), isa);
      one.Step({{2, &other, 0, 30}});
      const auto shared = one.Step({{2, &other, 30, 40}, {1, &other, 0, 0}, {3, &data, 0, 75}});
      CHECK(std::memcmp(whole.data(), shared.data() + 10 * config.heads * config.head_dim, whole.size() * 4) == 0, isa);
    }
  }
}

TEST(paged_attention_merges_chunks_of_long_contexts) {
  const Config configs[] = {{2, 1, 16}, {2, 1, 16, 600, 0, DType::kFloat16}, {2, 1, 16, 0, 0, DType::kInt8}};
  for (const Config& config : configs) {
    const Data data(config, 1100, 21);
    const auto exact = Exact(config, data);
    for (const std::string& isa : Isas()) {
      Runner two(config, isa, 2), one(config, isa, 1);
      const auto y = two.InSteps(data, 1099);  // the last token alone: its chunks are tasks of their own
      for (size_t i = 0; i < y.size(); ++i) CHECK(std::fabs(y[i] - exact[i]) <= 1e-5, isa, " at ", i);
      CHECK(SameBits(y, one.InSteps(data, 275)), isa);
    }
  }
}

TEST(values_that_are_not_finite_stay_with_those_who_see_them) {
  const Config config{2, 1, 8};
  Data data(config, 20, 31);
  const auto clean = Runner(config, "sse42", 1).InSteps(data, 20);
  data.v[12 * 8 + 3] = INFINITY;
  data.k[15 * 8] = NAN;
  for (const std::string& isa : Isas()) {
    const auto y = Runner(config, isa, 1).InSteps(data, 20);
    const auto before = Runner(config, isa, 1).InSteps(Data(config, 20, 31), 20);
    CHECK(std::memcmp(y.data(), before.data(), 12 * 16 * 4) == 0, isa);
    CHECK(std::isinf(y[12 * 16 + 3]) && std::isnan(y[15 * 16]), isa);
  }
  CHECK(std::isfinite(clean.back()));
}

TEST(tokens_of_no_sequence_and_slots_below_zero_are_left_alone) {
  // Written by hand: one token in a sequence, one in none.
  const Config config{1, 1, 4};
  Model model(std::make_shared<Engine>(EngineOptions{1, 0, std::nullopt}), BuildGraph(config), {});
  auto pool = std::make_shared<KvPool>(model.engine()->memory(), model.engine()->budget(),
                                       KvShape{2, 1, 4, 2, DType::kFloat32});
  float q[8] = {1, 1, 1, 1, 9, 9, 9, 9}, k[8] = {1, 2, 3, 4, 5, 6, 7, 8}, v[8] = {4, 3, 2, 1, 8, 7, 6, 5};
  int64_t positions[2] = {0, 0}, slots[2] = {32, -1}, starts[2] = {0, 1}, table[1] = {1};
  RunRequest request;
  for (float* x : {q, k, v}) request.inputs.push_back({x, DType::kFloat32, {2, 4}});
  request.inputs.push_back({positions, DType::kInt64, {2}});
  request.inputs.push_back({slots, DType::kInt64, {2}});
  request.inputs.push_back({starts, DType::kInt64, {2}});
  request.inputs.push_back({table, DType::kInt64, {1, 1}});
  request.inputs.push_back({});
  request.input_objects.resize(8);
  request.input_objects[7].resource = pool;
  const auto outputs = model.Run(request);
  const float* y = outputs[0].view.As<float>();
  for (int i = 0; i < 4; ++i) CHECK(y[i] == v[i] && y[4 + i] == 0.0f);
  slots[0] = 64;
  CHECK_ERROR(Code::kInvalidArgument, model.Run(request));
  slots[0] = 32, positions[0] = 32;
  CHECK_ERROR(Code::kInvalidArgument, model.Run(request));
}
