// Softmax, and normalisation over rows: layer, RMS, group, instance, batch, and over neighbouring channels (LRN).
#include <cmath>
#include <string>
#include <vector>

#include "cpu/ops/arguments.h"
#include "cpu/ops/half.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

class SoftmaxKernel final : public Kernel {
 public:
  SoftmaxKernel(const KernelTable& table, int64_t axis, bool log)
      : name_(Cat(log ? "log_softmax.f32." : "softmax.f32.", table.isa)),
        rows_(table.vector->rows),
        axis_(axis),
        log_(log) {}
  std::string_view name() const override { return name_; }
  int InPlaceInput(int) const override { return 0; }

  void Run(KernelContext& context) const override {
    const Shape& shape = context.inputs[0].shape;
    if (shape.Count() == 0) return;
    const float* x = context.inputs[0].As<const float>();
    float* y = context.outputs[0].As<float>();
    const int axis = shape.rank() == 0 ? 0 : ResolveAxis(axis_, shape.rank());
    const int64_t n = shape.rank() == 0 ? 1 : shape[axis];
    const int64_t inner = shape.rank() == 0 ? 1 : shape.Count(axis + 1, shape.rank());
    const int64_t outer = shape.Count() / (n * inner);
    if (inner == 1) {
      const auto run = log_ ? rows_.log_softmax : rows_.softmax;
      ForRows(context.team, outer, n, kCostlyGrain,
              [&](int64_t begin, int64_t end) { run(x + begin * n, y + begin * n, end - begin, n); });
      return;
    }
    const auto run = log_ ? rows_.log_softmax_columns : rows_.softmax_columns;
    ForRows(context.team, outer * inner, n, kCostlyGrain, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t column = begin % inner, columns = std::min(inner - column, end - begin);
        const int64_t offset = begin / inner * n * inner + column;
        run(x + offset, y + offset, n, inner, columns);
        begin += columns;
      }
    });
  }

 private:
  std::string name_;
  const RowKernels& rows_;
  int64_t axis_;
  bool log_;
};

// LayerNormalization and RMSNormalization over the trailing dimensions from `axis` on.
class LayerNormKernel final : public Kernel {
 public:
  LayerNormKernel(const KernelTable& table, int64_t axis, float epsilon, bool centred)
      : name_(Cat(centred ? "layer_norm.f32." : "rms_norm.f32.", table.isa)),
        run_(centred ? table.vector->rows.layer_norm : table.vector->rows.rms_norm),
        axis_(axis),
        epsilon_(epsilon) {}
  std::string_view name() const override { return name_; }
  int InPlaceInput(int output) const override { return output == 0 ? 0 : -1; }

  void Run(KernelContext& context) const override {
    const Shape& shape = context.inputs[0].shape;
    if (shape.Count() == 0) return;
    const int axis = ResolveAxis(axis_, shape.rank());
    const int64_t n = shape.Count(axis, shape.rank()), rows = shape.Count(0, axis);
    const float* scale = Parameter(context, 1, n);
    const float* bias = Parameter(context, 2, n);
    const auto output = [&](size_t i) { return context.outputs.size() > i ? context.outputs[i].As<float>() : nullptr; };
    const float* x = context.inputs[0].As<const float>();
    ForRows(context.team, rows, n, kCostlyGrain, [&](int64_t begin, int64_t end) {
      run_({x + begin * n, nullptr, nullptr, output(0) + begin * n, scale, bias,
            output(1) ? output(1) + begin : nullptr, output(2) ? output(2) + begin : nullptr, end - begin, n,
            epsilon_});
    });
  }

 private:
  // Scale and bias of a row's size; MakeLayerNorm lets no other rank pass.
  static const float* Parameter(const KernelContext& context, size_t i, int64_t n) {
    if (context.inputs.size() <= i || !context.inputs[i].data) return nullptr;
    if (context.inputs[i].Count() != n)
      throw Error(Code::kInvalidArgument, "input ", i, " of shape ", context.inputs[i].shape, " where a row has ", n,
                  " elements");
    return context.inputs[i].As<const float>();
  }

  std::string name_;
  void (*run_)(const NormArgs&);
  int64_t axis_;
  float epsilon_;
};

// InstanceNormalization (one channel a group) and GroupNormalization: x is [items, channels, ...].
class GroupNormKernel final : public Kernel {
 public:
  GroupNormKernel(const KernelTable& table, int64_t groups, float epsilon)
      : name_(Cat(groups ? "group_norm.f32." : "instance_norm.f32.", table.isa)),
        rows_(table.vector->rows),
        affine_(table.vector->elementwise.unary(UnaryOp::kAffine)),
        groups_(groups),
        epsilon_(epsilon) {}
  std::string_view name() const override { return name_; }
  int InPlaceInput(int) const override { return 0; }

  void Run(KernelContext& context) const override {
    const Shape& shape = context.inputs[0].shape;
    if (shape.rank() < 2) throw Error(Code::kInvalidArgument, "rank ", shape.rank(), " where at least 2 is needed");
    if (shape.Count() == 0) return;
    const int64_t channels = shape[1], inner = shape.Count(2, shape.rank()), groups = groups_ ? groups_ : channels;
    if (channels % groups != 0)
      throw Error(Code::kInvalidArgument, channels, " channels do not divide into ", groups, " groups");
    for (size_t i : {1, 2})
      if (context.inputs[i].Count() != channels)
        throw Error(Code::kInvalidArgument, "input ", i, " of shape ", context.inputs[i].shape, " for ", channels,
                    " channels");
    const int64_t each = channels / groups, n = each * inner;
    const float *x = context.inputs[0].As<const float>(), *scale = context.inputs[1].As<const float>();
    const float* bias = context.inputs[2].As<const float>();
    float* y = context.outputs[0].As<float>();
    ForRows(context.team, shape[0] * groups, n, kCheapGrain, [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g) {
        const Moments moments = rows_.moments(x + g * n, n);
        const float inv = 1.0f / std::sqrt(moments.variance + epsilon_);
        for (int64_t k = 0; k < each; ++k) {
          const int64_t channel = g % groups * each + k;
          const float factor = scale[channel] * inv;
          affine_(x + g * n + k * inner, y + g * n + k * inner, inner, {factor, bias[channel] - moments.mean * factor});
        }
      }
    });
  }

 private:
  std::string name_;
  const RowKernels& rows_;
  UnaryFn affine_;
  int64_t groups_;  // 0: as many as channels
  float epsilon_;
};

// Inference only: every channel is scaled and shifted by numbers known before.
class BatchNormKernel final : public Kernel {
 public:
  BatchNormKernel(const KernelTable& table, float epsilon)
      : name_(Cat("batch_norm.f32.", table.isa)), elementwise_(table.vector->elementwise), epsilon_(epsilon) {}
  std::string_view name() const override { return name_; }
  int InPlaceInput(int) const override { return 0; }

  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView>, int) const override {
    return static_cast<size_t>(inputs[1].Count()) * 2 * sizeof(float);
  }

  void Run(KernelContext& context) const override {
    const Shape& shape = context.inputs[0].shape;
    if (shape.Count() == 0) return;
    const int64_t channels = shape.rank() > 1 ? shape[1] : 1;
    const int64_t inner = shape.rank() > 1 ? shape.Count(2, shape.rank()) : 1;
    const float* p[4];  // scale, bias, mean, variance
    for (int i = 0; i < 4; ++i) {
      if (context.inputs[i + 1].Count() != channels)
        throw Error(Code::kInvalidArgument, "input ", i + 1, " of shape ", context.inputs[i + 1].shape, " for ",
                    channels, " channels");
      p[i] = context.inputs[i + 1].As<const float>();
    }
    float* factor = reinterpret_cast<float*>(context.scratch);
    float* shift = factor + channels;
    for (int64_t c = 0; c < channels; ++c) {
      factor[c] = p[0][c] / std::sqrt(p[3][c] + epsilon_);
      shift[c] = p[1][c] - p[2][c] * factor[c];
    }
    const float* x = context.inputs[0].As<const float>();
    float* y = context.outputs[0].As<float>();
    if (inner == 1) return Rows(context, x, y, factor, shift, shape[0], channels);
    const UnaryFn affine = elementwise_.unary(UnaryOp::kAffine);
    ForRows(context.team, shape[0] * channels, inner, kCheapGrain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        affine(x + r * inner, y + r * inner, inner, {factor[r % channels], shift[r % channels]});
    });
  }

 private:
  void Rows(KernelContext& context, const float* x, float* y, const float* factor, const float* shift, int64_t rows,
            int64_t channels) const {
    const BinaryFn multiply = elementwise_.binary(BinaryOp::kMul, DType::kFloat32);
    const BinaryFn add = elementwise_.binary(BinaryOp::kAdd, DType::kFloat32);
    ForRows(context.team, rows, channels, kCheapGrain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        multiply(x + r * channels, factor, y + r * channels, channels, Form::kBoth);
        add(y + r * channels, shift, y + r * channels, channels, Form::kBoth);
      }
    });
  }

  std::string name_;
  const ElementwiseKernels& elementwise_;
  float epsilon_;
};

class LrnKernel final : public Kernel {
 public:
  LrnKernel(const KernelTable& table, const LrnArgs& args, bool last)
      : name_(Cat(last ? "lrn_last.f32." : "lrn.f32.", table.isa)),
        rows_(table.vector->rows),
        args_(args),
        last_(last) {}
  std::string_view name() const override { return name_; }

  void Run(KernelContext& context) const override {
    const Shape& shape = context.inputs[0].shape;
    if (shape.rank() < 2) throw Error(Code::kInvalidArgument, "rank ", shape.rank(), " where at least 2 is needed");
    if (shape.Count() == 0) return;
    if (last_) return RunLast(context, shape);
    const int64_t channels = shape[1], inner = shape.Count(2, shape.rank());
    ForRanges(context.team, shape[0] * inner, std::max<int64_t>(16, kCostlyGrain / channels), 16,
              [&](int64_t begin, int64_t end) {
                while (begin < end) {
                  LrnArgs args = args_;
                  const int64_t item = begin / inner, column = begin % inner;
                  args.x = context.inputs[0].As<const float>() + item * channels * inner;
                  args.y = context.outputs[0].As<float>() + item * channels * inner;
                  args.channels = channels, args.columns = inner;
                  args.column_begin = column, args.column_end = std::min(inner, column + end - begin);
                  rows_.lrn(args);
                  begin += args.column_end - column;
                }
              });
  }

 private:
  void RunLast(KernelContext& context, const Shape& shape) const {
    LrnArgs args = args_;
    args.x = context.inputs[0].As<const float>(), args.y = context.outputs[0].As<float>();
    args.channels = shape[shape.rank() - 1];
    ForRows(context.team, shape.Count() / args.channels, args.channels, kCostlyGrain, [&](int64_t begin, int64_t end) {
      std::vector<float> padded(static_cast<size_t>(LrnLastScratch(args)));
      rows_.lrn_last(args, begin, end, padded.data());
    });
  }

  std::string name_;
  const RowKernels& rows_;
  LrnArgs args_;
  bool last_;
};

std::unique_ptr<Kernel> MakeSoftmax(KernelSite& site, const KernelTable& table) {
  return ForFloats(site, table, [&] {
    return std::make_unique<SoftmaxKernel>(table, site.node().Int("axis", -1), site.node().op->name == "LogSoftmax");
  });
}

std::unique_ptr<Kernel> MakeLayerNorm(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  // Scale and bias may be broadcast in other ways than along whole rows; those go to the expansion.
  const Type& x = node.Input(0)->type;
  if (!x.HasRank()) return nullptr;
  const int64_t axis = node.Int("axis", -1), rank = x.Rank(), first = axis < 0 ? axis + rank : axis;
  for (int i : {1, 2}) {
    const Value* parameter = node.Input(i);
    if (!parameter) continue;
    if (!parameter->type.HasRank() || parameter->type.dtype != x.dtype) return nullptr;
    if (parameter->type.Rank() != rank - first) return nullptr;
    for (int64_t k = first; k < rank; ++k)
      if (!((*parameter->type.shape)[k - first] == (*x.shape)[k])) return nullptr;
  }
  return ForFloats(site, table, [&] {
    return std::make_unique<LayerNormKernel>(table, axis, node.Float("epsilon", 1e-5f),
                                             node.op->name == "LayerNormalization");
  });
}

std::unique_ptr<Kernel> MakeGroupNorm(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const int64_t groups = node.op->name == "GroupNormalization" ? node.Int("num_groups") : 0;
  if (groups < 0 || (groups == 0 && node.op->name == "GroupNormalization")) return nullptr;
  return ForFloats(site, table,
                   [&] { return std::make_unique<GroupNormKernel>(table, groups, node.Float("epsilon", 1e-5f)); });
}

std::unique_ptr<Kernel> MakeBatchNorm(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  if (node.Int("training_mode") || node.Output(1)) return nullptr;
  for (int i = 1; i < 5; ++i)
    if (node.Input(i)->type.dtype != node.Input(0)->type.dtype) return nullptr;
  return ForFloats(site, table, [&] { return std::make_unique<BatchNormKernel>(table, node.Float("epsilon", 1e-5f)); });
}

std::unique_ptr<Kernel> MakeLrn(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  LrnArgs args{};
  args.size = node.Int("size");
  args.alpha = node.Float("alpha", 1e-4f);
  args.beta = node.Float("beta", 0.75f);
  args.bias = node.Float("bias", 1);
  // A base that may be zero or negative needs pow's own corner cases.
  if (args.size < 1 || args.bias <= 0 || args.alpha < 0) return nullptr;
  const bool last = node.op->name == "ChannelsLastLRN";
  constexpr int64_t kLargestPadded = 1 << 16;  // of its scratch; beyond any real model
  if (last && args.size > kLargestPadded) return nullptr;
  return ForFloats(site, table, [&] { return std::make_unique<LrnKernel>(table, args, last); });
}

constexpr KernelEntry kEntries[] = {
    {"Softmax", MakeSoftmax},
    {"LogSoftmax", MakeSoftmax},
    {"LayerNormalization", MakeLayerNorm},
    {"RMSNormalization", MakeLayerNorm},
    {"GroupNormalization", MakeGroupNorm},
    {"InstanceNormalization", MakeGroupNorm},
    {"BatchNormalization", MakeBatchNorm},
    {"LRN", MakeLrn},
    {"ChannelsLastLRN", MakeLrn, "zig"},
};

}  // namespace

std::span<const KernelEntry> NormalizeKernels() { return kEntries; }

}  // namespace ziggurat::cpu
