// Pooling over one or two spatial axes, and over all of them. Indices, other ranks and other types are left to the
// plain kernels.
#include <string>
#include <vector>

#include "cpu/ops/half.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"
#include "device/apart.h"
#include "ops/window.h"

namespace ziggurat::cpu {
namespace {

// One spatial axis with the input's size known.
struct PoolAxis {
  int64_t in, out, kernel, stride, dilation, begin, end;
};

PoolAxis AxisOf(const Windows& windows, size_t i, int64_t in, int64_t out) {
  PoolAxis axis{in, out, windows.kernel[i], windows.strides[i], windows.dilations[i], windows.begin[i], windows.end[i]};
  if (windows.Same()) {
    const int64_t total = std::max<int64_t>(0, (out - 1) * axis.stride + windows.Extent(i) - in);
    axis.begin = windows.auto_pad == "SAME_UPPER" ? total / 2 : total - total / 2;
    axis.end = total - axis.begin;
  }
  return axis;
}

// Elements of each window along one axis; with padding counted, what lies behind the end padding still is not.
std::vector<float> Counts(const PoolAxis& axis, bool include_pad) {
  std::vector<float> counts;
  const int64_t low = include_pad ? -axis.begin : 0, high = include_pad ? axis.in + axis.end : axis.in;
  for (int64_t o = 0; o < axis.out; ++o) {
    int64_t count = 0;
    for (int64_t k = 0; k < axis.kernel; ++k) {
      const int64_t at = o * axis.stride - axis.begin + k * axis.dilation;
      count += at >= low && at < high;
    }
    counts.push_back(static_cast<float>(count));
  }
  return counts;
}

class PoolKernel final : public Kernel, public WritesApart, public ReadsApart {
 public:
  PoolKernel(const KernelTable& table, Windows windows, bool average, bool include_pad, bool last)
      : name_(Cat(average ? "average_pool" : "max_pool", last ? "_last.f32." : ".f32.", table.isa)),
        kernels_(table.vector->windows),
        windows_(std::move(windows)),
        average_(average),
        include_pad_(include_pad),
        last_(last) {}
  std::string_view name() const override { return name_; }
  bool GivesApart() const override { return last_; }
  bool TakesApart(int) const override { return last_; }

  void Run(KernelContext& context) const override {
    const Shape &in = context.inputs[0].shape, &out = context.outputs[0].shape;
    if (out.Count() == 0) return;
    const bool flat = windows_.kernel.size() == 1;
    const int first = last_ ? 1 : 2, second = flat ? first : first + 1;
    const PoolAxis rows = flat ? PoolAxis{1, 1, 1, 1, 1, 0, 0} : AxisOf(windows_, 0, in[first], out[first]);
    const PoolAxis columns = AxisOf(windows_, flat ? 0 : 1, in[second], out[second]);
    PoolArgs args{};
    args.height = rows.in, args.width = columns.in, args.out_height = rows.out, args.out_width = columns.out;
    args.kernel_height = rows.kernel, args.kernel_width = columns.kernel;
    args.stride_height = rows.stride, args.stride_width = columns.stride;
    args.dilation_height = rows.dilation, args.dilation_width = columns.dilation;
    args.pad_top = rows.begin, args.pad_left = columns.begin;
    std::vector<float> row_counts, column_counts;
    if (average_) {
      row_counts = Counts(rows, include_pad_), column_counts = Counts(columns, include_pad_);
      args.row_counts = row_counts.data(), args.column_counts = column_counts.data();
    }
    // A unit is a plane of one channel, or an image of all.
    if (last_) args.channels = in[in.rank() - 1];
    args.x_pixel = last_ ? InputPitch(0, args.channels) : 1, args.y_pixel = last_ ? RowPitch(args.channels) : 1;
    Walk(context, args, last_ ? in[0] : in[0] * in[1]);
  }

 private:
  void RunRows(const PoolArgs& args) const {
    if (last_) return (average_ ? kernels_.average_pool_last : kernels_.max_pool_last)(args);
    (average_ ? kernels_.average_pool : kernels_.max_pool)(args);
  }

  void Walk(KernelContext& context, const PoolArgs& shared, int64_t units) const {
    const float* x = context.inputs[0].As<const float>();
    float* y = context.outputs[0].As<float>();
    const int64_t taps = last_ ? shared.kernel_height * shared.kernel_width * shared.channels / 8 + 1
                               : shared.kernel_height + shared.kernel_width;
    ForRows(context.team, units * shared.out_height, shared.out_width * taps, kCheapGrain,
            [&](int64_t begin, int64_t end) {
              PoolArgs args = shared;
              std::vector<float> scratch(last_ ? 0 : static_cast<size_t>(PoolScratch(args)));
              args.scratch = scratch.data();
              while (begin < end) {
                const int64_t unit = begin / args.out_height;
                args.x = x + unit * args.height * args.width * args.x_pixel;
                args.y = y + unit * args.out_height * args.out_width * args.y_pixel;
                args.row_begin = begin % args.out_height;
                args.row_end = std::min(args.out_height, args.row_begin + end - begin);
                RunRows(args);
                begin += args.row_end - args.row_begin;
              }
            });
  }

  std::string name_;
  const WindowKernels& kernels_;
  Windows windows_;
  bool average_, include_pad_, last_;
};

class GlobalPoolKernel final : public Kernel {
 public:
  GlobalPoolKernel(const KernelTable& table, bool average)
      : name_(Cat(average ? "global_average_pool.f32." : "global_max_pool.f32.", table.isa)),
        rows_(table.vector->rows),
        average_(average) {}
  std::string_view name() const override { return name_; }

  void Run(KernelContext& context) const override {
    const Shape& shape = context.inputs[0].shape;
    const int64_t planes = context.outputs[0].Count(), n = shape.Count(2, shape.rank());
    const float* x = context.inputs[0].As<const float>();
    float* y = context.outputs[0].As<float>();
    ForRows(context.team, planes, n, kCheapGrain, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const float joined = rows_.reduce(average_ ? ReduceOp::kSum : ReduceOp::kMax, x + p * n, n);
        y[p] = average_ ? joined / static_cast<float>(n) : joined;
      }
    });
  }

 private:
  std::string name_;
  const RowKernels& rows_;
  bool average_;
};

std::unique_ptr<Kernel> MakePool(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const Type& type = node.Input(0)->type;
  if (node.Output(1) || !type.HasRank() || (type.Rank() != 3 && type.Rank() != 4)) return nullptr;
  const Windows windows = ReadWindows(InferContext(node), type.Rank() - 2);
  // Scratch grows with the padded row; what is beyond any real model is left to the kernels without scratch.
  constexpr int64_t kLargest = 1 << 16;
  for (size_t i = 0; i < windows.kernel.size(); ++i)
    if (windows.Extent(i) > kLargest || windows.begin[i] > kLargest || windows.strides[i] > kLargest) return nullptr;
  const bool last = node.op->name == "ChannelsLastPool";
  const bool average = last ? node.String("kind") == "average" : node.op->name == "AveragePool";
  return ForFloats(site, table, [&] {
    return std::make_unique<PoolKernel>(table, windows, average, node.Int("count_include_pad") != 0, last);
  });
}

std::unique_ptr<Kernel> MakeGlobalPool(KernelSite& site, const KernelTable& table) {
  const Type& type = site.node().Input(0)->type;
  if (!type.HasRank() || type.Rank() < 3) return nullptr;
  return ForFloats(site, table, [&] {
    return std::make_unique<GlobalPoolKernel>(table, site.node().op->name == "GlobalAveragePool");
  });
}

constexpr KernelEntry kEntries[] = {
    {"MaxPool", MakePool},
    {"AveragePool", MakePool},
    {"ChannelsLastPool", MakePool, "zig"},
    {"GlobalAveragePool", MakeGlobalPool},
    {"GlobalMaxPool", MakeGlobalPool},
};

}  // namespace

std::span<const KernelEntry> PoolKernels() { return kEntries; }

}  // namespace ziggurat::cpu
