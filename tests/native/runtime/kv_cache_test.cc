// A two-layer Llama-shaped graph whose KV caches are resources: the same tokens give the same bits however they are
// cut into steps.
#include <cmath>
#include <cstring>
#include <random>

#include "check.h"
#include "device/growing_buffer.h"
#include "runtime/model.h"

using namespace ziggurat;

namespace {

constexpr int64_t kVocabulary = 50, kDim = 32, kHeads = 4, kKvHeads = 2, kWidth = 8, kHidden = 64, kMaxTokens = 700;
constexpr int kLayers = 2;

// Builds the graph; every helper appends one node.
class Llama {
 public:
  std::shared_ptr<Graph> Build() {
    Graph& g = *graph_;
    const Dim tokens = g.NamedSymbol("tokens", 0, 0);
    Value* ids = g.AddInput("ids", Type::Tensor(DType::kInt64, std::vector<Dim>{tokens}));
    positions_ = g.AddInput("positions", Type::Tensor(DType::kInt64, std::vector<Dim>{Dim(1), tokens}));
    std::vector<Value*> caches;
    for (int i = 0; i < 2 * kLayers; ++i) caches.push_back(g.AddInput(Cat("cache", i), Type::Resource()));
    Value* x = Op("Gather", {Weight({kVocabulary, kDim}, 1.0f), ids});
    for (int layer = 0; layer < kLayers; ++layer) {
      x = Op("Add", {x, Attention(Norm(x), caches[2 * layer], caches[2 * layer + 1])});
      x = Op("Add", {x, FeedForward(Norm(x))});
    }
    g.AddOutput(Op("MatMul", {Norm(x), Weight({kDim, kVocabulary}, 0.2f)}), "logits");
    return graph_;
  }

 private:
  Value* Op(std::string_view name, std::vector<Value*> inputs, Attributes attributes = {},
            std::string_view domain = "") {
    return graph_->Add(GetOp(name, domain), std::move(inputs), std::move(attributes));
  }
  Value* Weight(const Shape& shape, float scale) {
    auto constant = Constant::Zeros(DType::kFloat32, shape);
    std::normal_distribution<float> normal(0, scale);
    for (int64_t i = 0; i < shape.Count(); ++i) constant->View().As<float>()[i] = normal(random_);
    return graph_->AddConstant(constant);
  }
  Value* Ints(std::vector<int64_t> values) { return graph_->AddConstant(Constant::Int64s(values)); }
  Value* Norm(Value* x) { return Op("RMSNormalization", {x, Weight({kDim}, 1.0f)}); }

  // [tokens, heads * width] to [heads, tokens, width], rotated.
  Value* Heads(Value* x, int64_t heads, bool rotate) {
    x = Op("Reshape", {x, Ints({1, -1, heads, kWidth})});
    x = Op("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    if (rotate) x = Op("RotaryEmbedding", {x, Angles(true), Angles(false), positions_});
    return Op("Squeeze", {x, Ints({0})});
  }
  Value* Angles(bool cosine) {
    auto table = Constant::Zeros(DType::kFloat32, {kMaxTokens, kWidth / 2});
    for (int64_t p = 0; p < kMaxTokens; ++p)
      for (int64_t i = 0; i < kWidth / 2; ++i) {
        const double angle = static_cast<double>(p) * std::pow(10000.0, -2.0 * i / kWidth);
        table->View().As<float>()[p * kWidth / 2 + i] = static_cast<float>(cosine ? std::cos(angle) : std::sin(angle));
      }
    return graph_->AddConstant(table);
  }
  Value* Attention(Value* x, Value* keys, Value* values) {
    Value* q = Heads(Op("MatMul", {x, Weight({kDim, kHeads * kWidth}, 0.2f)}), kHeads, true);
    Value* k = Heads(Op("MatMul", {x, Weight({kDim, kKvHeads * kWidth}, 0.2f)}), kKvHeads, true);
    Value* v = Heads(Op("MatMul", {x, Weight({kDim, kKvHeads * kWidth}, 0.2f)}), kKvHeads, false);
    keys = Op("KvAppend", {keys, k}, {}, "zig");
    values = Op("KvAppend", {values, v}, {}, "zig");
    Value* mixed = Op("KvAttention", {q, keys, values}, {{"scale", 0.35355339f}}, "zig");
    mixed = Op("Transpose", {mixed}, {{"perm", std::vector<int64_t>{1, 0, 2}}});
    mixed = Op("Reshape", {mixed, Ints({-1, kHeads * kWidth})});
    return Op("MatMul", {mixed, Weight({kHeads * kWidth, kDim}, 0.2f)});
  }
  Value* FeedForward(Value* x) {
    Value* gate = Op("MatMul", {x, Weight({kDim, kHidden}, 0.2f)});
    Value* up = Op("MatMul", {x, Weight({kDim, kHidden}, 0.2f)});
    Value* hidden = Op("Mul", {Op("Mul", {gate, Op("Sigmoid", {gate})}), up});
    return Op("MatMul", {hidden, Weight({kHidden, kDim}, 0.2f)});
  }

  std::shared_ptr<Graph> graph_ = std::make_shared<Graph>("llama");
  Value* positions_ = nullptr;
  std::mt19937 random_{7};
};

class Decoder {
 public:
  explicit Decoder(int threads)
      : model_(std::make_shared<Engine>(EngineOptions{threads, 0, std::nullopt}), Llama().Build(), {}) {
    for (int i = 0; i < 2 * kLayers; ++i) caches_.push_back(std::make_shared<GrowingBuffer>());
  }

  // Logits of the next `ids`, appended to the caches.
  std::vector<float> Step(const std::vector<int64_t>& ids, const RunLimits& limits = {}) {
    const int64_t tokens = static_cast<int64_t>(ids.size());
    std::vector<int64_t> positions;
    for (int64_t i = 0; i < tokens; ++i) positions.push_back(caches_[0]->length() + i);
    RunRequest request;
    request.inputs.resize(2 + caches_.size());
    request.input_objects.resize(2 + caches_.size());
    request.inputs[0] = {const_cast<int64_t*>(ids.data()), DType::kInt64, {tokens}};
    request.inputs[1] = {positions.data(), DType::kInt64, {1, tokens}};
    for (size_t i = 0; i < caches_.size(); ++i) request.input_objects[2 + i].resource = caches_[i];
    request.limits = limits;
    const std::vector<Output> outputs = model_.Run(request);
    const float* logits = outputs[0].view.As<float>();
    return {logits, logits + outputs[0].view.Count()};
  }
  int64_t length() const { return caches_[0]->length(); }

 private:
  Model model_;
  std::vector<std::shared_ptr<GrowingBuffer>> caches_;
};

std::vector<int64_t> Prompt(int64_t tokens) {
  std::vector<int64_t> ids;
  std::mt19937 random(3);
  for (int64_t i = 0; i < tokens; ++i) ids.push_back(random() % kVocabulary);
  return ids;
}

std::vector<float> InChunks(int threads, const std::vector<int64_t>& ids, size_t chunk) {
  Decoder decoder(threads);
  std::vector<float> all;
  for (size_t start = 0; start < ids.size(); start += chunk) {
    const auto part = decoder.Step({ids.begin() + start, ids.begin() + std::min(ids.size(), start + chunk)});
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST(kv_decoding_gives_the_same_bits_in_chunks_of_1_and_7_and_whole) {
  const auto ids = Prompt(21);
  const auto whole = InChunks(2, ids, 21);
  CHECK(std::isfinite(whole.back()) && whole.front() != whole.back());
  CHECK(SameBits(whole, InChunks(2, ids, 1)));
  CHECK(SameBits(whole, InChunks(2, ids, 7)));
  CHECK(SameBits(whole, InChunks(1, ids, 7)));
}

TEST(kv_decoding_gives_the_same_bits_across_attention_chunks) {
  const auto ids = Prompt(530);  // past the first chunk of 512 tokens
  CHECK(SameBits(InChunks(2, ids, 530), InChunks(2, ids, 53)));
}

TEST(a_run_that_fails_leaves_its_caches_as_they_were) {
  const auto ids = Prompt(10);
  Decoder decoder(1);
  const auto first = decoder.Step(ids);
  std::atomic<bool> cancelled{true};
  CHECK_ERROR(Code::kCancelled, decoder.Step(ids, {&cancelled, std::nullopt}));
  CHECK_ERROR(Code::kInvalidArgument, decoder.Step({kVocabulary + 5}));  // out of range, found while running
  CHECK(decoder.length() == 10);
  Decoder other(1);
  other.Step(ids);
  CHECK(SameBits(decoder.Step({1}), other.Step({1})));
}
