// Kernels of the ops that own state: appending to a KV cache, causal attention over it.
//
// Attention runs over fixed chunks of 512 tokens, merged in ascending order with the running maximum (the online
// softmax of Milakov and Gimelshein, 2018), so that a query's bits depend on its position and the tokens before it,
// never on how many queries share the step.
#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/ops/registry.h"
#include "device/growing_buffer.h"

namespace ziggurat::cpu {
namespace {

constexpr int64_t kChunk = 512;

GrowingBuffer& Buffer(const KernelContext& context, int input) {
  auto* buffer = context.input_objects.empty() || !context.input_objects[input]
                     ? nullptr
                     : dynamic_cast<GrowingBuffer*>(context.input_objects[input]->resource.get());
  if (!buffer) throw Error(Code::kInvalidArgument, "input ", input, " must be a growing buffer");
  return *buffer;
}

class KvAppend : public Kernel {
 public:
  std::string_view name() const override { return "kv_append.f32"; }
  void Run(KernelContext& context) const override {
    const TensorView& x = context.inputs[1];
    Buffer(context, 0).Append(x.As<float>(), x.shape[0], x.shape[1], x.shape[2]);
    *context.output_objects[0] = *context.input_objects[0];
  }
};

// One query over the keys and values of positions [0, tokens).
void Attend(const float* q, const float* keys, const float* values, int64_t tokens, int64_t width, float scale,
            float* out) {
  float most = -INFINITY, sum = 0;
  float scores[kChunk];
  std::fill_n(out, width, 0.0f);
  for (int64_t start = 0; start < tokens; start += kChunk) {
    const int64_t count = std::min(kChunk, tokens - start);
    float chunk_most = -INFINITY;
    for (int64_t t = 0; t < count; ++t) {
      float dot = 0;
      for (int64_t i = 0; i < width; ++i) dot += q[i] * keys[(start + t) * width + i];
      scores[t] = dot * scale;
      chunk_most = std::max(chunk_most, scores[t]);
    }
    const float next = std::max(most, chunk_most);
    const float keep = most == next ? 1.0f : std::exp(most - next);
    for (int64_t i = 0; i < width; ++i) out[i] *= keep;
    sum *= keep;
    for (int64_t t = 0; t < count; ++t) {
      const float weight = std::exp(scores[t] - next);
      sum += weight;
      for (int64_t i = 0; i < width; ++i) out[i] += weight * values[(start + t) * width + i];
    }
    most = next;
  }
  for (int64_t i = 0; i < width; ++i) out[i] /= sum;
}

class KvAttention : public Kernel {
 public:
  explicit KvAttention(float scale) : scale_(scale) {}
  std::string_view name() const override { return "kv_attention.f32"; }
  void Run(KernelContext& context) const override {
    const TensorView& q = context.inputs[0];
    const GrowingBuffer &keys = Buffer(context, 1), &values = Buffer(context, 2);
    const int64_t heads = q.shape[0], tokens = q.shape[1], width = q.shape[2];
    const int64_t length = keys.length();
    if (keys.width() != width || values.width() != width || values.length() != length || tokens > length ||
        keys.heads() == 0 || heads % keys.heads() != 0 || values.heads() != keys.heads())
      throw Error(Code::kInvalidArgument, "queries ", q.shape, " do not fit ", keys.heads(), " key heads of width ",
                  keys.width(), " and ", length, " tokens");
    const int64_t group = heads / keys.heads();
    context.team.ParallelFor(heads * tokens, [&](int64_t task, int) {
      const int64_t head = task / tokens, token = task % tokens;
      Attend(q.As<float>() + task * width, keys.Head(head / group), values.Head(head / group),
             length - tokens + token + 1, width, scale_, context.outputs[0].As<float>() + task * width);
    });
  }

 private:
  float scale_;
};

std::unique_ptr<Kernel> MakeAppend(KernelSite&, const KernelTable&) { return std::make_unique<KvAppend>(); }
std::unique_ptr<Kernel> MakeAttention(KernelSite& site, const KernelTable&) {
  return std::make_unique<KvAttention>(site.node().Float("scale"));
}

constexpr KernelEntry kEntries[] = {{"KvAppend", &MakeAppend, "zig"}, {"KvAttention", &MakeAttention, "zig"}};

}  // namespace

std::span<const KernelEntry> StateKernels() { return kEntries; }

}  // namespace ziggurat::cpu
