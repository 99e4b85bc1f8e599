// A two-layer Llama-shaped graph over a paged KV cache: the same tokens give the same bits however they are cut into
// steps, whatever blocks they lie in and whoever shares the step.
#include <cmath>
#include <cstring>
#include <random>

#include "check.h"
#include "device/kv_pool.h"
#include "runtime/model.h"
#include "tensor/half.h"

using namespace ziggurat;

namespace {

constexpr int64_t kVocabulary = 50, kDim = 32, kHeads = 4, kKvHeads = 2, kWidth = 8, kHidden = 64;
constexpr int kLayers = 2;
constexpr int64_t kBlocks = 64, kBlockTokens = KvPool::kBlockTokens;

enum class Weights { kFloat32, kEncoded };

// Builds the graph; every helper appends one node.
class Llama {
 public:
  explicit Llama(Weights weights) : weights_(weights) {}

  std::shared_ptr<Graph> Build() {
    Graph& g = *graph_;
    const Dim tokens = g.NamedSymbol("tokens", 0, 0);
    Value* ids = g.AddInput("tokens", Type::Tensor(DType::kInt64, std::vector<Dim>{tokens}));
    positions_ = g.AddInput("positions", Type::Tensor(DType::kInt64, std::vector<Dim>{tokens}));
    slots_ = g.AddInput("slots", Type::Tensor(DType::kInt64, std::vector<Dim>{tokens}));
    starts_ = g.AddInput("starts", Type::Tensor(DType::kInt64, std::vector<Dim>{g.NamedSymbol("bounds", 3, 0)}));
    blocks_ = g.AddInput("blocks", Type::Tensor(DType::kInt64, std::vector<Dim>{g.NamedSymbol("sequences", 4, 0),
                                                                                g.NamedSymbol("blocks", 4, 1)}));
    Value* rows = g.AddInput("rows", Type::Tensor(DType::kInt64, std::vector<Dim>{g.NamedSymbol("rows", 5, 0)}));
    kv_ = g.AddInput("kv", Type::Resource());
    Rotations();
    Value* x = Op("Embed", {Weight(kVocabulary, kDim, 1.0f), ids}, {}, "zig");
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      x = Op("Add", {x, Attention(Norm(x), layer)});
      x = Op("Add", {x, FeedForward(Norm(x))});
    }
    x = Norm(Op("Gather", {x, rows}));
    g.AddOutput(Linear(x, kVocabulary, kDim), "logits");
    g.AddOutput(kv_, "kv");
    return graph_;
  }

 private:
  Value* Op(std::string_view name, std::vector<Value*> inputs, Attributes attributes = {},
            std::string_view domain = "") {
    return graph_->Add(GetOp(name, domain), std::move(inputs), std::move(attributes));
  }
  Value* Constants(const Shape& shape, float scale) {
    auto constant = Constant::Zeros(DType::kFloat32, shape);
    std::normal_distribution<float> normal(0, scale);
    for (int64_t i = 0; i < shape.Count(); ++i) constant->View().As<float>()[i] = normal(random_);
    return graph_->AddConstant(constant);
  }
  // [n, k], plain or as Q8_0 blocks.
  Value* Weight(int64_t n, int64_t k, float scale) {
    if (weights_ == Weights::kFloat32) return Constants({n, k}, scale);
    std::vector<uint8_t> bytes(static_cast<size_t>(n * k / 32 * 34));
    std::uniform_int_distribution<int> quants(-127, 127);
    const uint16_t step = FloatToFloat16(scale / 64);
    for (size_t block = 0; block < bytes.size(); block += 34) {
      std::memcpy(&bytes[block], &step, 2);
      for (int i = 0; i < 32; ++i) bytes[block + 2 + i] = static_cast<uint8_t>(quants(random_));
    }
    return graph_->AddConstant(Constant::Encoded(GgmlEncoding(8), {n, k}, bytes.data(), bytes.size()));
  }
  Value* Linear(Value* x, int64_t n, int64_t k) { return Op("Linear", {x, Weight(n, k, 0.2f)}, {}, "zig"); }
  Value* Ints(std::vector<int64_t> values) { return graph_->AddConstant(Constant::Int64s(values)); }
  Value* Norm(Value* x) { return Op("RMSNormalization", {x, Constants({kDim}, 1.0f)}); }

  // Cosines and sines [1, tokens, width / 2] of this step's positions.
  void Rotations() {
    auto frequencies = Constant::Zeros(DType::kFloat32, {1, kWidth / 2});
    for (int64_t i = 0; i < kWidth / 2; ++i)
      frequencies->View().As<float>()[i] = static_cast<float>(std::pow(10000.0, -2.0 * i / kWidth));
    Value* positions = Op("Cast", {positions_}, {{"to", int64_t{1}}});
    positions = Op("Reshape", {positions, Ints({1, -1, 1})});
    Value* angles = Op("Mul", {positions, graph_->AddConstant(frequencies)});
    cos_ = Op("Cos", {angles}), sin_ = Op("Sin", {angles});
  }
  Value* Rotated(Value* x, int64_t heads) {
    x = Op("Reshape", {x, Ints({1, -1, heads * kWidth})});
    x = Op("RotaryEmbedding", {x, cos_, sin_}, {{"num_heads", heads}});
    return Op("Reshape", {x, Ints({-1, heads * kWidth})});
  }
  Value* Attention(Value* x, int64_t layer) {
    Value* q = Rotated(Linear(x, kHeads * kWidth, kDim), kHeads);
    Value* k = Rotated(Linear(x, kKvHeads * kWidth, kDim), kKvHeads);
    Value* v = Linear(x, kKvHeads * kWidth, kDim);
    kv_ = Op("KvWrite", {kv_, k, v, slots_}, {{"layer", layer}}, "zig");
    Value* mixed = Op("PagedAttention", {q, kv_, positions_, starts_, blocks_},
                      {{"layer", layer}, {"heads", kHeads}, {"kv_heads", kKvHeads}, {"scale", 0.35355339f}}, "zig");
    return Linear(mixed, kDim, kHeads * kWidth);
  }
  Value* FeedForward(Value* x) {
    Value *gate = Linear(x, kHidden, kDim), *up = Linear(x, kHidden, kDim);
    return Linear(Op("Mul", {Op("Swish", {gate}), up}), kDim, kHidden);
  }

  Weights weights_;
  std::shared_ptr<Graph> graph_ = std::make_shared<Graph>("llama");
  Value *positions_ = nullptr, *slots_ = nullptr, *starts_ = nullptr, *blocks_ = nullptr, *kv_ = nullptr;
  Value *cos_ = nullptr, *sin_ = nullptr;
  std::mt19937 random_{7};
};

using Ids = std::vector<int64_t>;

struct Sequence {
  std::vector<int64_t> blocks;
  int64_t length = 0;
};

class Decoder {
 public:
  explicit Decoder(int threads, DType dtype = DType::kFloat32, Weights weights = Weights::kFloat32)
      : model_(std::make_shared<Engine>(EngineOptions{threads, 0, std::nullopt}), Llama(weights).Build(), {}),
        pool_(std::make_shared<KvPool>(model_.engine()->memory(), model_.engine()->budget(),
                                       KvShape{kLayers, kKvHeads, kWidth, kBlocks, dtype})) {
    for (int64_t block = 0; block < kBlocks; ++block) free_.push_back(block);
    std::shuffle(free_.begin(), free_.end(), std::mt19937(5));
  }

  // Logits of the next tokens of each sequence, all rows, in order.
  std::vector<float> Step(const std::vector<std::pair<Sequence*, Ids>>& parts, const RunLimits& limits = {}) {
    Ids ids, positions, slots, starts = {0}, rows;
    size_t most = 1;
    for (const auto& [sequence, tokens] : parts) {
      for (int64_t id : tokens) {
        const int64_t position = sequence->length + static_cast<int64_t>(positions.size()) - starts.back();
        if (position / kBlockTokens == static_cast<int64_t>(sequence->blocks.size()))
          sequence->blocks.push_back(free_.back()), free_.pop_back();
        rows.push_back(static_cast<int64_t>(ids.size()));
        ids.push_back(id);
        positions.push_back(position);
        slots.push_back(sequence->blocks[position / kBlockTokens] * kBlockTokens + position % kBlockTokens);
      }
      starts.push_back(static_cast<int64_t>(ids.size()));
      most = std::max(most, sequence->blocks.size());
    }
    Ids table;
    for (const auto& [sequence, tokens] : parts)
      for (size_t b = 0; b < most; ++b) table.push_back(b < sequence->blocks.size() ? sequence->blocks[b] : -1);
    RunRequest request;
    for (Ids* input : {&ids, &positions, &slots, &starts})
      request.inputs.push_back({input->data(), DType::kInt64, {static_cast<int64_t>(input->size())}});
    request.inputs.push_back(
        {table.data(), DType::kInt64, {static_cast<int64_t>(parts.size()), static_cast<int64_t>(most)}});
    request.inputs.push_back({rows.data(), DType::kInt64, {static_cast<int64_t>(rows.size())}});
    request.inputs.push_back({});
    request.input_objects.resize(7);
    request.input_objects[6].resource = pool_;
    request.limits = limits;
    const std::vector<Output> outputs = model_.Run(request);
    CHECK(outputs[1].object.resource == pool_);
    for (const auto& [sequence, tokens] : parts) sequence->length += static_cast<int64_t>(tokens.size());
    const float* logits = outputs[0].view.As<float>();
    return {logits, logits + outputs[0].view.Count()};
  }
  KvPool& pool() { return *pool_; }

 private:
  Model model_;
  std::shared_ptr<KvPool> pool_;
  std::vector<int64_t> free_;
};

Ids Prompt(int64_t tokens, unsigned seed = 3) {
  Ids ids;
  std::mt19937 random(seed);
  for (int64_t i = 0; i < tokens; ++i) ids.push_back(random() % kVocabulary);
  return ids;
}

std::vector<float> InChunks(Decoder& decoder, const Ids& ids, size_t chunk) {
  Sequence sequence;
  std::vector<float> all;
  for (size_t start = 0; start < ids.size(); start += chunk) {
    const Ids part(ids.begin() + start, ids.begin() + std::min(ids.size(), start + chunk));
    const auto logits = decoder.Step({{&sequence, part}});
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST(kv_decoding_gives_the_same_bits_in_chunks_of_1_and_7_and_whole) {
  const auto ids = Prompt(41);  // past a block of 32
  for (DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kInt8})
    for (Weights weights : {Weights::kFloat32, Weights::kEncoded}) {
      Decoder two(2, dtype, weights), one(1, dtype, weights);
      const auto whole = InChunks(two, ids, ids.size());
      CHECK(std::isfinite(whole.back()) && whole.front() != whole.back());
      CHECK(SameBits(whole, InChunks(two, ids, 1)), Name(dtype));
      CHECK(SameBits(whole, InChunks(two, ids, 7)), Name(dtype));
      CHECK(SameBits(whole, InChunks(one, ids, 7)), Name(dtype));
    }
}

TEST(kv_decoding_gives_the_same_bits_across_attention_chunks) {
  const auto ids = Prompt(530);  // past the first chunk of 512 tokens
  Decoder decoder(2);
  CHECK(SameBits(InChunks(decoder, ids, 530), InChunks(decoder, ids, 53)));
}

TEST(kv_decoding_does_not_depend_on_who_shares_the_step) {
  const auto a = Prompt(40, 1), b = Prompt(9, 2);
  Decoder decoder(2);
  const auto alone_a = InChunks(decoder, a, a.size()), alone_b = InChunks(decoder, b, b.size());
  Sequence first, second, nobody;
  const auto together = decoder.Step({{&first, a}, {&nobody, {}}, {&second, b}});
  CHECK(std::memcmp(together.data(), alone_a.data(), alone_a.size() * sizeof(float)) == 0);
  CHECK(std::memcmp(together.data() + alone_a.size(), alone_b.data(), alone_b.size() * sizeof(float)) == 0);
}

TEST(a_forked_sequence_goes_on_in_a_copied_block) {
  const auto ids = Prompt(20);
  Decoder decoder(1);
  Sequence first;
  decoder.Step({{&first, ids}});
  Sequence fork{{kBlocks - 1}, first.length};
  if (first.blocks[0] == kBlocks - 1) fork.blocks[0] = 0;
  decoder.pool().CopyBlock(first.blocks[0], fork.blocks[0]);
  const auto wanted = decoder.Step({{&first, {5}}});
  CHECK(SameBits(wanted, decoder.Step({{&fork, {5}}})));
  CHECK_ERROR(Code::kInvalidArgument, decoder.pool().CopyBlock(0, kBlocks));
}

TEST(a_run_that_fails_leaves_its_cache_as_its_owner_knows_it) {
  const auto ids = Prompt(10);
  Decoder decoder(1);
  Sequence sequence, same;
  decoder.Step({{&sequence, ids}});
  std::atomic<bool> cancelled{true};
  CHECK_ERROR(Code::kCancelled, decoder.Step({{&sequence, ids}}, {&cancelled, std::nullopt}));
  CHECK_ERROR(Code::kInvalidArgument, decoder.Step({{&sequence, {1, kVocabulary + 5}}}));  // found while running
  CHECK(sequence.length == 10);
  decoder.Step({{&same, ids}});
  CHECK(SameBits(decoder.Step({{&sequence, {1}}}), decoder.Step({{&same, {1}}})));
}

TEST(steps_that_point_out_of_the_cache_are_refused) {
  Decoder decoder(1);
  Sequence unknown{{kBlocks}, 0}, negative{{-1}, 0};
  CHECK_ERROR(Code::kInvalidArgument, decoder.Step({{&unknown, {1}}}));
  CHECK_ERROR(Code::kInvalidArgument, decoder.Step({{&negative, {1}}}));
  Engine engine({1, 0, std::nullopt});
  CHECK_ERROR(Code::kInvalidArgument, KvPool(engine.memory(), engine.budget(), {1, 1, 8, 1, DType::kInt64}));
  CHECK_ERROR(Code::kInvalidArgument, KvPool(engine.memory(), engine.budget(), {1, 0, 8, 1, DType::kFloat16}));
  CHECK_ERROR(Code::kOutOfMemory,
              KvPool(engine.memory(), engine.budget(), {64, 64, 256, int64_t{1} << 30, DType::kFloat16}));
}
