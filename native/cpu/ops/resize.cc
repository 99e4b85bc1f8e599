// Resize of float32 (and halves): every mode but cropping, as one pass of weighted taps per axis that changes.
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "cpu/ops/arguments.h"
#include "cpu/ops/half.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

enum class Mode : uint8_t { kNearest, kLinear, kCubic };

struct Options {
  Mode mode;
  std::string coordinates, nearest;
  double cubic_a;
  bool antialias, exclude_outside;
};

// The taps of one axis; `index` and `weight` as ResampleTaps has them.
struct AxisTaps {
  int axis;
  int64_t in, out, taps;
  std::vector<int32_t> index;
  std::vector<float> weight;
  bool doubles = false;  // the pattern that double_rows knows
  int32_t double_offset[4] = {};
  float double_weight[4] = {};

  ResampleTaps View() const { return {index.data(), weight.data(), taps, out}; }
};

// Where output position `at` lies on an input axis of `in` elements.
double SourceOf(const Options& options, int64_t in, int64_t out, double scale, double at) {
  const std::string& mode = options.coordinates;
  const auto size = static_cast<double>(in);
  const double scaled = scale * size;
  if (mode == "asymmetric") return at / scale;
  if (mode == "align_corners") return scaled == 1 ? 0 : at * (size - 1) / (scaled - 1);
  if (mode == "pytorch_half_pixel" && scaled == 1) return -0.5;
  if (mode == "tf_half_pixel_for_nn") return (at + 0.5) / scale;
  const double half_pixel = (at + 0.5) / scale - 0.5;
  if (mode == "half_pixel_symmetric") return size / 2 * (1 - static_cast<double>(out) / scaled) + half_pixel;
  return half_pixel;
}

double NearestTo(double source, const std::string& mode) {
  const double below = std::floor(source), rest = source - below;
  if (rest == 0 || mode == "floor" || mode == "simple") return below;
  if (mode == "ceil") return below + 1;
  if (mode == "round_prefer_ceil") return rest < 0.5 ? below : below + 1;
  return rest <= 0.5 ? below : below + 1;
}

// The interpolation kernel at distance `x`: a triangle, or the cubic convolution with parameter a.
double WeightAt(double x, const Options& options) {
  x = std::fabs(x);
  if (options.mode == Mode::kLinear) return std::max(0.0, 1 - x);
  const double a = options.cubic_a;
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

void SetTaps(const Options& options, AxisTaps& t, int64_t j, double source, double shrink, int64_t reach) {
  const double below = std::floor(source), last = static_cast<double>(t.in - 1);
  const auto put = [&](int64_t tap, double index, double weight) {
    t.index[static_cast<size_t>(tap * t.out + j)] = static_cast<int32_t>(std::fmin(std::fmax(index, 0), last));
    t.weight[static_cast<size_t>(tap * t.out + j)] = static_cast<float>(weight);
  };
  if (options.mode == Mode::kNearest) return put(0, NearestTo(source, options.nearest), 1);
  std::vector<double> weights;
  double sum = 0;
  for (int64_t tap = 0; tap < t.taps; ++tap) {
    const double index = below + static_cast<double>(tap - reach + 1);
    const bool outside = options.exclude_outside && (index < 0 || index > last);
    weights.push_back(outside ? 0 : WeightAt(shrink * (index - source), options));
    sum += weights.back();
  }
  const bool normalised = (options.exclude_outside || options.antialias) && sum != 0;
  for (int64_t tap = 0; tap < t.taps; ++tap)
    put(tap, below + static_cast<double>(tap - reach + 1), weights[static_cast<size_t>(tap)] / (normalised ? sum : 1));
}

// Whether the taps repeat with every second output, up to clamping at the edges.
void FindDoubling(AxisTaps& t) {
  if (t.taps != 2 || t.out != 2 * t.in || t.in < 4) return;
  const int64_t middle = t.in / 2;
  for (int k = 0; k < 4; ++k) {
    const auto at = static_cast<size_t>((k % 2) * t.out + 2 * middle + k / 2);
    t.double_offset[k] = t.index[at] - static_cast<int32_t>(middle);
    t.double_weight[k] = t.weight[at];
    if (t.double_offset[k] < -2 || t.double_offset[k] > 2) return;
  }
  for (int64_t j = 0; j < t.out; ++j)
    for (int tap = 0; tap < 2; ++tap) {
      const int k = static_cast<int>(j % 2) * 2 + tap;
      const auto at = static_cast<size_t>(tap * t.out + j);
      const int64_t index = std::min(std::max<int64_t>(j / 2 + t.double_offset[k], 0), t.in - 1);
      if (t.index[at] != index || t.weight[at] != t.double_weight[k]) return;
    }
  t.doubles = true;
}

AxisTaps MakeTaps(const Options& options, int axis, int64_t in, int64_t out, double scale) {
  AxisTaps t{axis, in, out, 1, {}, {}};
  const double shrink = options.antialias ? std::min(scale, 1.0) : 1.0;
  const double radius = std::ceil((options.mode == Mode::kCubic ? 2 : 1) / shrink);
  if (!(radius <= 65536)) throw Error(Code::kUnsupported, "antialiasing with a scale of ", scale);
  const auto reach = static_cast<int64_t>(radius);
  if (options.mode != Mode::kNearest) t.taps = 2 * reach;
  t.index.resize(static_cast<size_t>(t.taps * out));
  t.weight.resize(static_cast<size_t>(t.taps * out));
  for (int64_t j = 0; j < out; ++j)
    SetTaps(options, t, j, SourceOf(options, in, out, scale, static_cast<double>(j)), shrink, reach);
  FindDoubling(t);
  return t;
}

class ResizeKernel final : public Kernel {
 public:
  ResizeKernel(const KernelTable& table, Options options, std::vector<int64_t> axes, std::string policy)
      : name_(Cat("resize.f32.", table.isa)),
        kernels_(table.vector->windows),
        options_(std::move(options)),
        axes_(std::move(axes)),
        policy_(std::move(policy)) {}
  std::string_view name() const override { return name_; }

  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &y = context.outputs[0];
    if (y.Count() == 0) return;
    const std::vector<AxisTaps> passes = Passes(context);
    if (passes.empty()) {
      std::memcpy(y.data, x.data, x.Bytes());
      return;
    }
    const int first = passes.front().axis;
    const int64_t items = x.shape.Count(0, first);
    const int64_t in = x.shape.Count(first, x.shape.rank()), out = y.shape.Count(first, y.shape.rank());
    ForRows(context.team, items, out, kCheapGrain, [&](int64_t begin, int64_t end) {
      std::vector<float> buffers[2], padded;
      for (int64_t i = begin; i < end; ++i)
        OneItem(passes, x.shape, x.As<const float>() + i * in, y.As<float>() + i * out, buffers, padded);
    });
  }

 private:
  // The axes that change, outermost first.
  std::vector<AxisTaps> Passes(const KernelContext& context) const {
    const Shape &in = context.inputs[0].shape, &out = context.outputs[0].shape;
    std::vector<int> axes;
    for (int64_t axis : axes_) axes.push_back(ResolveAxis(axis, in.rank()));
    if (axes_.empty())
      for (int axis = 0; axis < in.rank(); ++axis) axes.push_back(axis);
    const std::vector<double> scales = Scales(context, axes);
    std::vector<AxisTaps> passes;
    for (int axis = 0; axis < in.rank(); ++axis) {
      double scale = 1;
      for (size_t i = 0; i < axes.size(); ++i)
        if (axes[i] == axis) scale = scales[i];
      if (in[axis] == 0) throw Error(Code::kInvalidArgument, "axis ", axis, " has no elements to resize");
      if (in[axis] > INT32_MAX) throw Error(Code::kUnsupported, "axis ", axis, " has ", in[axis], " elements");
      if (in[axis] == out[axis] && std::fabs(scale - 1) < 1e-9) continue;
      passes.push_back(MakeTaps(options_, axis, in[axis], out[axis], scale));
    }
    return passes;
  }

  std::vector<double> Scales(const KernelContext& context, const std::vector<int>& axes) const {
    const auto given = [&](size_t i) {
      return context.inputs.size() > i && context.inputs[i].data && context.inputs[i].Count() > 0;
    };
    const size_t source = given(2) ? 2 : 3;
    if (!given(source)) throw Error(Code::kInvalidArgument, "neither scales nor sizes are given");
    if (context.inputs[source].Count() != static_cast<int64_t>(axes.size()))
      throw Error(Code::kInvalidArgument, context.inputs[source].Count(), " scales or sizes for ", axes.size(),
                  " axes");
    std::vector<double> scales;
    for (size_t i = 0; i < axes.size(); ++i) {
      const auto size = static_cast<double>(std::max<int64_t>(context.inputs[0].shape[axes[i]], 1));
      scales.push_back(source == 2 ? context.inputs[2].As<const float>()[i]
                                   : static_cast<double>(context.inputs[3].As<const int64_t>()[i]) / size);
      if (!(scales.back() > 0)) throw Error(Code::kInvalidArgument, "scale ", scales.back(), " is not positive");
    }
    if (source == 3 && policy_ != "stretch" && !scales.empty()) {
      double common = scales[0];
      for (double scale : scales) common = policy_ == "not_larger" ? std::min(common, scale) : std::max(common, scale);
      scales.assign(scales.size(), common);
    }
    return scales;
  }

  // Innermost axis first, so that the rows, which cost most, are still few where the image grows.
  void OneItem(const std::vector<AxisTaps>& passes, const Shape& shape, const float* x, float* y,
               std::vector<float> (&buffers)[2], std::vector<float>& padded) const {
    const int first = passes.front().axis;
    Shape current = shape;
    for (size_t i = passes.size(); i-- > 0;) {
      const AxisTaps& pass = passes[i];
      const int64_t outer = current.Count(first, pass.axis), inner = current.Count(pass.axis + 1, current.rank());
      current[pass.axis] = pass.out;
      std::vector<float>& buffer = buffers[i % 2];
      if (i > 0) buffer.resize(static_cast<size_t>(outer * pass.out * inner));
      float* to = i > 0 ? buffer.data() : y;
      OnePass(pass, x, to, outer, inner, padded);
      x = to;
    }
  }

  void OnePass(const AxisTaps& pass, const float* x, float* y, int64_t outer, int64_t inner,
               std::vector<float>& padded) const {
    if (inner == 1 && pass.doubles) {
      padded.resize(static_cast<size_t>(pass.in) + 4);
      return kernels_.double_rows(pass.double_offset, pass.double_weight, x, pass.in, y, outer, padded.data());
    }
    if (inner == 1) return kernels_.resample_rows(pass.View(), x, pass.in, y, outer);
    for (int64_t o = 0; o < outer; ++o)
      kernels_.resample_columns(pass.View(), x + o * pass.in * inner, y + o * pass.out * inner, inner);
  }

  std::string name_;
  const WindowKernels& kernels_;
  Options options_;
  std::vector<int64_t> axes_;
  std::string policy_;
};

std::unique_ptr<Kernel> MakeResize(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  const std::string mode = node.String("mode", "nearest");
  Options options{mode == "nearest"  ? Mode::kNearest
                  : mode == "linear" ? Mode::kLinear
                                     : Mode::kCubic,
                  node.String("coordinate_transformation_mode", "half_pixel"),
                  node.String("nearest_mode", "round_prefer_floor"),
                  node.Float("cubic_coeff_a", -0.75f),
                  node.Int("antialias") != 0,
                  node.Int("exclude_outside") != 0};
  if (options.coordinates == "tf_crop_and_resize") return nullptr;
  return ForFloats(site, table, [&] {
    return std::make_unique<ResizeKernel>(table, options, node.Ints("axes"),
                                          node.String("keep_aspect_ratio_policy", "stretch"));
  });
}

constexpr KernelEntry kEntries[] = {{"Resize", MakeResize}};

}  // namespace

std::span<const KernelEntry> ResizeKernels() { return kEntries; }

}  // namespace ziggurat::cpu
