// Attention over whole matrices of keys and values: zig.FusedAttention, and the standard's Attention where it has no
// cache. A task is some queries of one head.
#include <array>
#include <cmath>

#include "cpu/attention_table.h"
#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/half.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"
#include "device/apart.h"

namespace ziggurat::cpu {
namespace {

// Queries of a task at most: each task packs the head's keys and values, some 1 % of its work at this number.
constexpr int64_t kTaskQueries = 512;

int64_t Lines(int64_t floats) { return RoundUp(floats, 16); }

// A tensor [batch, heads, sequence, size], however it lies in memory; distances in floats.
struct HeadsOf {
  const float* data = nullptr;
  int64_t batch = 0, heads = 0, sequence = 0, size = 0;
  int64_t batch_step = 0, head_step = 0, row = 0;

  // Of a tensor of rank 3 `count` heads. `sequence_first`: it is [sequence, batch, heads * size]. `pitch`: from one row
  // of the tensor to the next; 0 where they lie one after the other.
  HeadsOf(const TensorView& x, int64_t count, bool sequence_first, int64_t pitch = 0)
      : data(x.As<const float>()), batch(x.shape[sequence_first ? 1 : 0]) {
    const int64_t columns = x.shape[x.shape.rank() - 1];
    row = pitch ? pitch : columns;
    if (x.shape.rank() == 4) {
      heads = x.shape[1], sequence = x.shape[2], size = columns;
      head_step = sequence * row, batch_step = heads * head_step;
    } else {
      heads = count, sequence = x.shape[sequence_first ? 0 : 1];
      if (heads < 1 || columns % heads) throw Error(Code::kInvalidArgument, columns, " columns in ", heads, " heads");
      head_step = size = columns / heads, batch_step = sequence * row;
      if (sequence_first) batch_step = row, row *= batch;
    }
  }
};

// The distance of neighbours along each axis of the scores [batch, heads, queries, keys]; 0 where the bias repeats.
struct BiasOf {
  const float* data = nullptr;
  int64_t step[4] = {0, 0, 0, 0};

  BiasOf(const TensorView* bias, const Shape& scores) {
    if (!bias || !bias->data) return;
    data = bias->As<const float>();
    if (bias->shape.rank() > 4) throw Error(Code::kInvalidArgument, "a bias of rank ", bias->shape.rank());
    int64_t distance = 1;
    for (int axis = 3, own = bias->shape.rank() - 1; own >= 0; --axis, --own) {
      if (bias->shape[own] != 1 && bias->shape[own] != scores[axis])
        throw Error(Code::kInvalidArgument, "a bias of shape ", bias->shape, " for scores of shape ", scores);
      if (bias->shape[own] != 1) step[axis] = distance;
      distance *= bias->shape[own];
    }
  }
};

struct DenseSpec {
  int64_t query_heads = 0, key_heads = 0;  // of inputs of rank 3
  std::optional<float> scale;              // nullopt: 1 / sqrt(size)
  bool nan_is_zero = false, masked_is_zero = false;
  bool merged = false;          // the output is [batch, sequence, heads * size]
  bool sequence_first = false;  // inputs and output are [sequence, batch, heads * size]
};

class DenseAttentionKernel final : public Kernel, public ReadsApart {
 public:
  DenseAttentionKernel(const KernelTable& table, const DenseSpec& spec)
      : name_(Cat("attention.f32.", table.isa)), kernels_(AttentionOf(table)), spec_(spec) {}

  std::string_view name() const override { return name_; }
  bool TakesApart(int input) const override { return input < 3; }

  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView>, int workers) const override {
    return static_cast<size_t>(workers * WorkerFloats(inputs)) * sizeof(float);
  }

  double Flops(std::span<const TensorView> inputs, std::span<const TensorView>) const override {
    const auto [q, k, v] = Heads(inputs);
    return 2.0 * static_cast<double>(q.batch * q.heads * q.sequence) * static_cast<double>(k.sequence) *
           static_cast<double>(q.size + v.size);
  }

  void Run(KernelContext& context) const override {
    const auto [q, k, v] = Heads(context.inputs, {InputPitch(0, 0), InputPitch(1, 0), InputPitch(2, 0)});
    Check(q, k, v);
    if (context.outputs[0].Count() == 0) return;
    const BiasOf bias(context.inputs.size() > 3 ? &context.inputs[3] : nullptr,
                      Shape{q.batch, q.heads, q.sequence, k.sequence});
    const int64_t worker_step = WorkerFloats(context.inputs);
    // From one query's result to the next, one head's to the next, one row of the batch's to the next.
    const int64_t width = q.heads * v.size;
    int64_t out_row = v.size, out_head = q.sequence * v.size, out_item = q.sequence * width;
    if (spec_.merged) out_row = width, out_head = v.size;
    if (spec_.sequence_first) out_row = q.batch * width, out_item = width;
    const int64_t heads = q.batch * q.heads, parts = Parts(q.sequence, heads, context.team.size());
    float* out = context.outputs[0].As<float>();
    const auto one = [&](int64_t task, int worker) {
      const int64_t item = task / parts / q.heads, head = task / parts % q.heads, part = task % parts;
      const int64_t first = PartStart(q.sequence, parts, part), own = head / (q.heads / k.heads);
      DenseAttention a;
      a.queries = PartStart(q.sequence, parts, part + 1) - first, a.keys = k.sequence;
      a.size = q.size, a.value_size = v.size;
      a.q = q.data + item * q.batch_step + head * q.head_step + first * q.row, a.q_row = q.row;
      a.k = k.data + item * k.batch_step + own * k.head_step, a.k_row = k.row;
      a.v = v.data + item * v.batch_step + own * v.head_step, a.v_row = v.row;
      a.scale = spec_.scale ? *spec_.scale : static_cast<float>(1 / std::sqrt(static_cast<double>(q.size)));
      if (bias.data) a.bias = bias.data + item * bias.step[0] + head * bias.step[1] + first * bias.step[2];
      a.bias_row = bias.step[2], a.bias_column = bias.step[3];
      a.nan_is_zero = spec_.nan_is_zero, a.masked_is_zero = spec_.masked_is_zero;
      a.out_row = out_row;
      a.out = out + item * out_item + head * out_head + first * out_row;
      a.scratch = reinterpret_cast<float*>(context.scratch) + worker * worker_step;
      kernels_.dense(a);
    };
    if (heads * parts == 1 || Flops(context.inputs, context.outputs) < kFlopsPerTask)
      for (int64_t task = 0; task < heads * parts; ++task) one(task, 0);
    else
      context.team.ParallelFor(heads * parts, one);
  }

 private:
  struct Factors {
    HeadsOf q, k, v;
  };
  Factors Heads(std::span<const TensorView> inputs, std::array<int64_t, 3> pitches = {}) const {
    return {{inputs[0], spec_.query_heads, spec_.sequence_first, pitches[0]},
            {inputs[1], spec_.key_heads, spec_.sequence_first, pitches[1]},
            {inputs[2], spec_.key_heads, spec_.sequence_first, pitches[2]}};
  }

  // What inference does not see where dimensions were symbols.
  void Check(const HeadsOf& q, const HeadsOf& k, const HeadsOf& v) const {
    if (q.batch != k.batch || k.batch != v.batch || q.size != k.size || k.sequence != v.sequence || k.heads < 1 ||
        k.heads != v.heads || q.heads % k.heads)
      throw Error(Code::kInvalidArgument, "queries, keys and values do not fit together");
  }

  int64_t WorkerFloats(std::span<const TensorView> inputs) const {
    const auto [q, k, v] = Heads(inputs);
    return Lines(kernels_.dense_scratch(std::min(q.sequence, kTaskQueries), k.sequence, q.size, v.size));
  }

  // Parts of a head's queries. Two tasks a worker even out a worker that the OS delays; fewer queries than kLeastRows
  // would be outweighed by packing.
  static int64_t Parts(int64_t queries, int64_t heads, int workers) {
    const int64_t least = (queries + kTaskQueries - 1) / kTaskQueries, wanted = workers > 1 ? 2 * workers : 1;
    const int64_t most = std::max<int64_t>(least, queries / kLeastRows);
    return std::max<int64_t>(1, std::clamp((wanted + heads - 1) / std::max<int64_t>(heads, 1), least, most));
  }

  std::string name_;
  const AttentionKernels& kernels_;
  DenseSpec spec_;
};

// True if the value broadcasts to the scores [batch, heads, queries, keys] without being known to the last element.
bool IsBias(const Value* bias, DType dtype, int least_rank) {
  return !bias || (bias->type.dtype == dtype && bias->type.HasRank() && bias->type.Rank() >= least_rank &&
                   bias->type.Rank() <= 4);
}

bool RanksAre(const Node& node, int least) {
  for (int i : {0, 1, 2})
    if (!node.Input(i)->type.HasRank() || node.Input(i)->type.Rank() < least) return false;
  return true;
}

std::unique_ptr<Kernel> MakeFused(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  if (!RanksAre(node, 3)) return nullptr;
  DenseSpec spec;
  spec.query_heads = spec.key_heads = node.Int("num_heads");
  spec.scale = node.Float("scale", 1);
  spec.nan_is_zero = node.Int("nan_is_zero") != 0;
  spec.merged = node.Int("merge_heads") != 0;
  spec.sequence_first = node.Int("sequence_first") != 0;
  return ForFloats(site, table, [&] { return std::make_unique<DenseAttentionKernel>(table, spec); });
}

// Without a cache, a causal or sliding window, a cap, other outputs: those go to the expansion.
std::unique_ptr<Kernel> MakeStandard(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const DType dtype = node.Input(0)->type.dtype;
  if (dtype != DType::kFloat32 || node.Input(2)->type.dtype != dtype || !RanksAre(node, 3)) return nullptr;
  for (int i : {4, 5, 6})
    if (node.Input(i)) return nullptr;
  for (int i : {1, 2, 3})
    if (node.Output(i)) return nullptr;
  if (node.Int("is_causal") || node.Int("left_window_size", -1) >= 0 || node.Int("right_window_size", -1) >= 0 ||
      node.Float("softcap") > 0 || node.Has("softmax_precision"))
    return nullptr;
  // A mask of other extents than the scores' is stretched by the expansion.
  const Value *mask = node.Input(3), *keys = node.Input(1);
  if (!IsBias(mask, dtype, 1)) return nullptr;
  const int rank = keys->type.Rank();
  if (mask && !(mask->type.shape->back() == (*keys->type.shape)[rank == 4 ? 2 : 1])) return nullptr;
  DenseSpec spec;
  spec.query_heads = node.Int("q_num_heads"), spec.key_heads = node.Int("kv_num_heads");
  if (node.Has("scale")) spec.scale = node.Float("scale");
  spec.masked_is_zero = true;
  spec.merged = node.Input(0)->type.Rank() == 3;
  return std::make_unique<DenseAttentionKernel>(table, spec);
}

constexpr KernelEntry kEntries[] = {{"FusedAttention", &MakeFused, "zig"}, {"Attention", &MakeStandard}};

}  // namespace

std::span<const KernelEntry> DenseAttentionKernels() { return kEntries; }

}  // namespace ziggurat::cpu
