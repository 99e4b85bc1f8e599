// Resize and Upsample. Interpolation is separable: each axis is a table of weights, applied one axis after another.
#include <algorithm>
#include <cmath>
#include <limits>

#include "device/reference/moves.h"
#include "device/reference/plain.h"

namespace ziggurat::plain {
namespace {

// One axis to resize: sizes, the scale asked for (out / in only roughly), and its part of the region of interest.
struct AxisScale {
  int axis;
  int64_t in, out;
  double scale;
  double roi_start = 0, roi_end = 1;
};

struct Options {
  std::string mode, coordinates, nearest;
  double cubic_a, extrapolation;
  bool antialias, exclude_outside;
};

// Where output position `x` lies on the input axis.
double Source(const AxisScale& a, const std::string& mode, double x) {
  const double in = static_cast<double>(a.in), out = a.scale * in;
  if (mode == "half_pixel") return (x + 0.5) / a.scale - 0.5;
  if (mode == "asymmetric") return x / a.scale;
  if (mode == "align_corners") return out == 1 ? 0 : x * (in - 1) / (out - 1);
  if (mode == "pytorch_half_pixel") return out == 1 ? -0.5 : (x + 0.5) / a.scale - 0.5;
  if (mode == "half_pixel_symmetric")
    return in / 2 * (1 - static_cast<double>(a.out) / out) + (x + 0.5) / a.scale - 0.5;
  if (mode == "tf_crop_and_resize") {
    const double length = a.roi_end - a.roi_start;
    const double inside = out == 1 ? length * (in - 1) / 2 : x * length * (in - 1) / (out - 1);
    return inside + a.roi_start * (in - 1);
  }
  throw Error(Code::kInvalidArgument, "coordinate_transformation_mode '", mode, "' is unknown");
}

bool Outside(const AxisScale& a, const Options& options, double source) {
  return options.coordinates == "tf_crop_and_resize" && (source < 0 || source > static_cast<double>(a.in - 1));
}

int64_t Clamped(double index, int64_t size) {
  return static_cast<int64_t>(std::clamp(index, 0.0, static_cast<double>(size - 1)));
}

int64_t Nearest(double source, const std::string& mode, int64_t size) {
  const double below = std::floor(source), rest = source - below;
  if (rest == 0 || mode == "floor") return Clamped(below, size);
  if (mode == "ceil") return Clamped(below + 1, size);
  if (mode == "round_prefer_floor") return Clamped(rest <= 0.5 ? below : below + 1, size);
  if (mode == "round_prefer_ceil") return Clamped(rest < 0.5 ? below : below + 1, size);
  throw Error(Code::kInvalidArgument, "nearest_mode '", mode, "' is unknown");
}

double Kernel(double x, bool cubic, double a) {
  x = std::abs(x);
  if (!cubic) return std::max(0.0, 1 - x);
  if (x <= 1) return (a + 2) * x * x * x - (a + 3) * x * x + 1;
  return x < 2 ? a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a : 0;
}

struct Tap {
  int64_t index;
  double weight;
};

// The weighted input positions of one output position; beyond the edges the edge repeats. Downscaling with
// antialias widens the kernel by the scale.
std::vector<Tap> Taps(const AxisScale& a, const Options& options, double source) {
  const bool cubic = options.mode == "cubic";
  const double scale = options.antialias ? std::min(a.scale, 1.0) : 1.0;
  const double start = std::floor((cubic ? -2 : -1) / scale) + 1, below = std::floor(source);
  std::vector<Tap> taps;
  double sum = 0;
  for (double i = start; i < 2 - start; ++i) {
    const double index = below + i;
    double weight = Kernel(scale * (index - source), cubic, options.cubic_a);
    if (options.exclude_outside && (index < 0 || index >= static_cast<double>(a.in))) weight = 0;
    taps.push_back({Clamped(index, a.in), weight});
    sum += weight;
  }
  if (options.exclude_outside || options.antialias)
    for (Tap& tap : taps) tap.weight /= sum == 0 ? 1 : sum;
  return taps;
}

// The scales and regions of the axes to resize, in order.
std::vector<AxisScale> Axes(const Args& args, const TensorView* scales, const TensorView* sizes) {
  const Shape &in = args.In(0).shape, &out = args.Out(0).shape;
  const int rank = in.rank();
  std::vector<int64_t> axes = args.node.Ints("axes");
  if (axes.empty())
    for (int axis = 0; axis < rank; ++axis) axes.push_back(axis);
  const bool region = args.Has(1) && args.In(1).Count() == 2 * static_cast<int64_t>(axes.size());
  std::vector<AxisScale> result;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int axis = Axis(axes[i], rank);
    AxisScale a{axis, in[axis], out[axis], 1};
    if (a.in == 0) throw Error(Code::kInvalidArgument, "Resize of an axis without elements");
    if (scales)
      a.scale = LoadOne<double>(*scales, static_cast<int64_t>(i));
    else if (sizes)
      a.scale = LoadOne<double>(*sizes, static_cast<int64_t>(i)) / static_cast<double>(a.in);
    if (!(a.scale > 0)) throw Error(Code::kInvalidArgument, "scale ", a.scale, " of axis ", axis, " is not positive");
    if (region) {
      a.roi_start = LoadOne<double>(args.In(1), static_cast<int64_t>(i));
      a.roi_end = LoadOne<double>(args.In(1), static_cast<int64_t>(i + axes.size()));
    }
    result.push_back(a);
  }
  const std::string policy = args.String("keep_aspect_ratio_policy", "stretch");
  if (sizes && policy != "stretch") {
    double common = result.empty() ? 1 : result[0].scale;
    for (const AxisScale& a : result)
      common = policy == "not_larger" ? std::min(common, a.scale) : std::max(common, a.scale);
    for (AxisScale& a : result) a.scale = common;
  }
  return result;
}

void ResizeNearest(const Args& args, const std::vector<AxisScale>& axes, const Options& options) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  AxisMaps maps;
  for (int axis = 0; axis < in.shape.rank(); ++axis) {
    maps.emplace_back();
    for (int64_t i = 0; i < out.shape[axis]; ++i) maps.back().push_back(std::min(i, in.shape[axis] - 1));
  }
  for (const AxisScale& a : axes)
    for (int64_t i = 0; i < a.out; ++i) {
      const double source = Source(a, options.coordinates, static_cast<double>(i));
      maps[a.axis][i] = Outside(a, options, source) ? -1 : Nearest(source, options.nearest, a.in);
    }
  if (out.dtype == DType::kString || IsComplex(out.dtype)) return CopyMapped(in, maps, out);
  alignas(8) std::byte cell[8];
  const TensorView fill{cell, out.dtype, Shape{}};
  StoreOne<double>(fill, 0, options.extrapolation);
  CopyMapped(in, maps, out, fill);
}

// Resizes one axis of x, [outer, in, inner] -> [outer, out, inner].
std::vector<double> ResizeAxis(const std::vector<double>& x, const AxisView& view, const AxisScale& a,
                               const Options& options) {
  std::vector<double> y(static_cast<size_t>(view.outer * a.out * view.inner));
  for (int64_t i = 0; i < a.out; ++i) {
    const double source = Source(a, options.coordinates, static_cast<double>(i));
    const bool outside = Outside(a, options, source);
    const std::vector<Tap> taps = outside ? std::vector<Tap>{} : Taps(a, options, source);
    for (int64_t o = 0; o < view.outer; ++o) {
      double* to = y.data() + (o * a.out + i) * view.inner;
      if (outside) std::fill_n(to, view.inner, options.extrapolation);
      for (const Tap& tap : taps)
        for (int64_t k = 0; k < view.inner; ++k) to[k] += tap.weight * x[(o * a.in + tap.index) * view.inner + k];
    }
  }
  return y;
}

void Interpolate(const Args& args, const std::vector<AxisScale>& axes, const Options& options) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  std::vector<double> x = LoadAll<double>(in);
  Shape shape = in.shape;
  for (const AxisScale& a : axes) {
    if (std::abs(a.scale - 1) < 1e-9 && a.in == a.out && a.roi_start == 0 && a.roi_end == 1) continue;
    x = ResizeAxis(x, AxisView(shape, a.axis), a, options);
    shape[a.axis] = a.out;
  }
  if (IsInteger(out.dtype)) {
    const int bits = static_cast<int>(8 * ByteSize(out.dtype));
    const double span = std::ldexp(1.0, bits), low = IsSignedInteger(out.dtype) ? -span / 2 : 0;
    for (double& value : x) value = std::clamp(std::nearbyint(value), low, low + span - 1);
  }
  StoreAll<double>(out, x);
}

void Run(const Args& args, const std::vector<AxisScale>& axes, const Options& options) {
  if (args.Out(0).Count() == 0) return;
  if (options.mode == "nearest") return ResizeNearest(args, axes, options);
  if (options.mode != "linear" && options.mode != "cubic")
    throw Error(Code::kInvalidArgument, "Resize mode '", options.mode, "' is unknown");
  Interpolate(args, axes, options);
}

void Resize(const Args& args) {
  const TensorView* scales = args.Has(2) && args.In(2).Count() ? &args.In(2) : nullptr;
  const TensorView* sizes = args.Has(3) && args.In(3).Count() ? &args.In(3) : nullptr;
  if (!scales && !sizes) throw Error(Code::kInvalidArgument, "Resize needs scales or sizes");
  Options options{args.String("mode", "nearest"),
                  args.String("coordinate_transformation_mode", "half_pixel"),
                  args.String("nearest_mode", "round_prefer_floor"),
                  args.Float("cubic_coeff_a", -0.75f),
                  args.Float("extrapolation_value", 0),
                  args.Int("antialias", 0) != 0,
                  args.Int("exclude_outside", 0) != 0};
  Run(args, Axes(args, scales, sizes), options);
}

void Upsample(const Args& args) {
  std::string mode = args.String("mode", "nearest");
  Run(args, Axes(args, &args.In(1), nullptr),
      Options{mode == "bilinear" ? "linear" : mode, "asymmetric", "floor", -0.75, 0, false, false});
}

constexpr PlainOp kOps[] = {{"Resize", Resize}, {"Upsample", Upsample}};

}  // namespace

std::span<const PlainOp> ResizeOps() { return kOps; }

}  // namespace ziggurat::plain
