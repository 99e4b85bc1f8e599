// Convolutions over any number of spatial axes: sums run over input channels, then taps, ascending.
#include <algorithm>
#include <cmath>

#include "device/reference/windows.h"

namespace ziggurat::plain {

Windows ResolveWindows(const Args& args, const Shape& in, const Shape& out, std::vector<int64_t> kernel) {
  Windows w;
  if (in.rank() < 3 || in.rank() != out.rank())
    throw Error(Code::kInvalidArgument, "an input of shape ", in, " has no spatial axes");
  w.dims = static_cast<size_t>(in.rank() - 2);
  w.in.assign(in.begin() + 2, in.end());
  w.out.assign(out.begin() + 2, out.end());
  w.kernel = std::move(kernel);
  if (w.kernel.size() != w.dims) throw Error(Code::kInvalidArgument, "kernel_shape needs ", w.dims, " numbers");
  w.strides = args.Ints("strides", w.dims, 1);
  w.dilations = args.Ints("dilations", w.dims, 1);
  int64_t taps = 1;
  for (size_t d = 0; d < w.dims; ++d) {
    if (w.strides[d] < 1 || w.dilations[d] < 1 || w.kernel[d] < 1)
      throw Error(Code::kInvalidArgument, "strides, dilations and kernel_shape must be positive");
    if (__builtin_mul_overflow(taps, w.kernel[d], &taps) || taps > kMaxTaps)
      throw Error(Code::kUnsupported, "a window of more than ", kMaxTaps, " elements");
  }
  const std::vector<int64_t> pads = args.Ints("pads", 2 * w.dims, 0);
  w.begin.assign(pads.begin(), pads.begin() + static_cast<int64_t>(w.dims));
  const std::string auto_pad = args.String("auto_pad", "NOTSET");
  if (auto_pad == "NOTSET" || auto_pad.empty()) return w;
  for (size_t d = 0; d < w.dims; ++d) {
    const int64_t reach = (w.out[d] - 1) * w.strides[d] + (w.kernel[d] - 1) * w.dilations[d] + 1;
    const int64_t total = auto_pad == "VALID" ? 0 : std::max<int64_t>(reach - w.in[d], 0);
    w.begin[d] = auto_pad == "SAME_UPPER" ? total / 2 : total - total / 2;
  }
  return w;
}

namespace {

// out[row] += x * weight over the part of the last axis where the tap is inside the input.
template <typename C>
void AddTap(const Windows& w, const C* x, C weight, const std::vector<int64_t>& tap, C* out) {
  const size_t last = w.dims - 1;
  const int64_t stride = w.strides[last], shift = tap[last] * w.dilations[last] - w.begin[last];
  const int64_t row = w.out[last], width = w.in[last];
  // 0 <= i * stride + shift < width
  const int64_t lo = shift >= 0 ? 0 : std::min(row, (-shift + stride - 1) / stride);
  const int64_t hi = width - shift <= 0 ? 0 : std::min(row, (width - shift - 1) / stride + 1);
  const int64_t rows = row ? w.OutCount() / row : 0;
  std::vector<int64_t> at;
  const std::vector<int64_t> outer(w.out.begin(), w.out.end() - 1);
  for (int64_t r = 0; r < rows; ++r, out += row) {
    Unflatten(r, outer, at);
    int64_t base = 0;
    bool inside = true;
    for (size_t d = 0; inside && d < last; ++d) {
      const int64_t i = at[d] * w.strides[d] + tap[d] * w.dilations[d] - w.begin[d];
      inside = i >= 0 && i < w.in[d];
      base = base * w.in[d] + i;
    }
    if (!inside) continue;
    const C* from = x + base * width + shift;
    if (stride == 1)
      for (int64_t i = lo; i < hi; ++i) out[i] = WrapAdd(out[i], WrapMul(from[i], weight));
    else
      for (int64_t i = lo; i < hi; ++i) out[i] = WrapAdd(out[i], WrapMul(from[i * stride], weight));
  }
}

// weights [M, C / group, taps]
template <typename C>
std::vector<C> Convolve(const Windows& w, const std::vector<C>& x, const std::vector<C>& weights, const Shape& x_shape,
                        const Shape& w_shape, int64_t group) {
  const int64_t n = x_shape[0], c = x_shape[1], m = w_shape[0], per_group = w_shape[1];
  if (group < 1 || m % group || per_group * group != c)
    throw Error(Code::kInvalidArgument, "weights of shape ", w_shape, " in ", group, " groups for an input of ",
                x_shape);
  const auto taps = AllTaps(w);
  const int64_t out_size = w.OutCount(), in_size = w.InCount(), tap_count = w.Taps();
  std::vector<C> out(static_cast<size_t>(n * m * out_size));
  for (int64_t b = 0; b < n; ++b)
    for (int64_t f = 0; f < m; ++f)
      for (int64_t k = 0; k < per_group; ++k) {
        const int64_t channel = f / (m / group) * per_group + k;
        for (int64_t t = 0; t < tap_count; ++t)
          AddTap(w, x.data() + (b * c + channel) * in_size, weights[(f * per_group + k) * tap_count + t], taps[t],
                 out.data() + (b * m + f) * out_size);
      }
  return out;
}

std::vector<int64_t> KernelOf(const Shape& weights) {
  return {weights.begin() + std::min(2, weights.rank()), weights.end()};
}

// Adds bias[channel] to [N, M, size].
void AddBias(std::vector<double>& out, const TensorView& bias, int64_t channels, int64_t size) {
  const std::vector<double> values = LoadAll<double>(bias);
  if (static_cast<int64_t>(values.size()) != channels)
    throw Error(Code::kInvalidArgument, "a bias of shape ", bias.shape, " for ", channels, " channels");
  for (size_t i = 0; i < out.size(); ++i) out[i] += values[static_cast<int64_t>(i) / size % channels];
}

void Conv(const Args& args) {
  const TensorView &x = args.In(0), &weights = args.In(1), &out = args.Out(0);
  const Windows w = ResolveWindows(args, x.shape, out.shape, KernelOf(weights.shape));
  std::vector<double> sums =
      Convolve(w, LoadAll<double>(x), LoadAll<double>(weights), x.shape, weights.shape, args.Int("group", 1));
  if (args.Has(2)) AddBias(sums, args.In(2), weights.shape[0], w.OutCount());
  StoreAll<double>(out, sums);
}

// Integer sums of (x - x_zero) * (w - w_zero); the padding is x_zero. `w_zero` is a scalar or one an output channel.
std::vector<int64_t> IntegerSums(const Args& args, const TensorView& x, const TensorView& weights, int64_t x_zero,
                                 const std::vector<int64_t>& w_zero) {
  std::vector<int64_t> values = LoadAll<int64_t>(x), filter = LoadAll<int64_t>(weights);
  for (int64_t& value : values) value -= x_zero;
  const int64_t filters = weights.shape[0], each = filters ? weights.Count() / filters : 1;
  if (w_zero.size() != 1 && static_cast<int64_t>(w_zero.size()) != filters)
    throw Error(Code::kInvalidArgument, w_zero.size(), " weight zero points for ", filters, " output channels");
  for (size_t i = 0; i < filter.size(); ++i)
    filter[i] -= w_zero.size() == 1 ? w_zero[0] : w_zero[static_cast<int64_t>(i) / each];
  const Windows w = ResolveWindows(args, x.shape, args.Out(0).shape, KernelOf(weights.shape));
  return Convolve(w, values, filter, x.shape, weights.shape, args.Int("group", 1));
}

void ConvInteger(const Args& args) {
  const std::vector<int64_t> w_zero = args.Has(3) ? args.IntsIn(3) : std::vector<int64_t>{0};
  StoreAll<int64_t>(args.Out(0), IntegerSums(args, args.In(0), args.In(1), args.IntIn(2, 0), w_zero));
}

void QLinearConv(const Args& args) {
  const TensorView &weights = args.In(3), &out = args.Out(0);
  const std::vector<int64_t> sums = IntegerSums(args, args.In(0), weights, args.IntIn(2, 0), args.IntsIn(5));
  const std::vector<int64_t> bias = args.IntsIn(8);
  const std::vector<double> w_scale = LoadAll<double>(args.In(4));
  const double x_scale = LoadOne<double>(args.In(1)), y_scale = LoadOne<double>(args.In(6));
  const int64_t zero = args.IntIn(7, 0), channels = weights.shape[0], size = out.shape.Count(2, out.shape.rank());
  if ((w_scale.size() != 1 && static_cast<int64_t>(w_scale.size()) != channels) ||
      (!bias.empty() && static_cast<int64_t>(bias.size()) != channels))
    throw Error(Code::kInvalidArgument, "weight scales and bias must be one or ", channels, " numbers");
  const double low = IsSignedInteger(out.dtype) ? -128 : 0, high = IsSignedInteger(out.dtype) ? 127 : 255;
  std::vector<double> result(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    const int64_t channel = static_cast<int64_t>(i) / size % channels;
    const double sum = static_cast<double>(sums[i] + (bias.empty() ? 0 : bias[channel]));
    const double scale = x_scale * w_scale[w_scale.size() == 1 ? 0 : channel] / y_scale;
    result[i] = std::clamp(std::nearbyint(sum * scale) + static_cast<double>(zero), low, high);
  }
  StoreAll<double>(out, result);
}

// weights [C, M / group, taps]; each input element adds its taps into the output.
void ConvTranspose(const Args& args) {
  const TensorView &x = args.In(0), &weights = args.In(1), &out = args.Out(0);
  // The windows of the convolution this is the transpose of: its input is our output.
  Windows w = ResolveWindows(args, out.shape, x.shape, KernelOf(weights.shape));
  const std::string auto_pad = args.String("auto_pad", "NOTSET");
  const std::vector<int64_t> extra = args.Ints("output_padding", w.dims, 0);
  if (auto_pad.starts_with("SAME") || args.node.Has("output_shape")) {
    for (size_t d = 0; d < w.dims; ++d) {
      const int64_t full = w.strides[d] * (w.out[d] - 1) + extra[d] + (w.kernel[d] - 1) * w.dilations[d] + 1;
      // an output wider than all windows reach has no padding, and zeros at its end
      const int64_t total = std::max<int64_t>(0, full - w.in[d]);
      w.begin[d] = auto_pad == "SAME_UPPER" ? total / 2 : total - total / 2;
    }
  }
  const int64_t n = x.shape[0], c = x.shape[1], group = args.Int("group", 1), per_group = weights.shape[1];
  const int64_t m = per_group * group, in_size = w.OutCount(), out_size = w.InCount(), tap_count = w.Taps();
  if (group < 1 || c % group || weights.shape[0] != c || out.shape[1] != m)
    throw Error(Code::kInvalidArgument, "weights of shape ", weights.shape, " for an input of shape ", x.shape);
  const std::vector<double> values = LoadAll<double>(x), filter = LoadAll<double>(weights);
  const auto taps = AllTaps(w);
  std::vector<double> sums(static_cast<size_t>(n * m * out_size));
  std::vector<int64_t> at;
  for (int64_t b = 0; b < n; ++b)
    for (int64_t k = 0; k < c; ++k)
      for (int64_t i = 0; i < in_size; ++i) {
        Unflatten(i, w.out, at);
        for (int64_t t = 0; t < tap_count; ++t) {
          const int64_t to = InputAt(w, at, taps[t]);
          for (int64_t f = 0; to >= 0 && f < per_group; ++f)
            sums[(b * m + k / (c / group) * per_group + f) * out_size + to] +=
                values[(b * c + k) * in_size + i] * filter[(k * per_group + f) * tap_count + t];
        }
      }
  if (args.Has(2)) AddBias(sums, args.In(2), m, out_size);
  StoreAll<double>(out, sums);
}

// The value at a fractional position, linear between the 2^dims neighbours; zero outside.
double Interpolate(const double* x, const std::vector<int64_t>& sizes, const std::vector<double>& at) {
  double sum = 0;
  for (size_t corner = 0; corner < (size_t{1} << sizes.size()); ++corner) {
    double weight = 1;
    int64_t flat = 0;
    bool inside = true;
    for (size_t d = 0; d < sizes.size(); ++d) {
      const double below = std::floor(at[d]), part = at[d] - below;
      const bool up = corner >> d & 1;
      const double i = below + up;
      inside = inside && i >= 0 && i < static_cast<double>(sizes[d]);
      weight *= up ? part : 1 - part;
      flat = inside ? flat * sizes[d] + static_cast<int64_t>(i) : 0;
    }
    if (inside) sum += weight * x[flat];
  }
  return sum;
}

void DeformConv(const Args& args) {
  const TensorView &x = args.In(0), &weights = args.In(1), &out = args.Out(0);
  const Windows w = ResolveWindows(args, x.shape, out.shape, KernelOf(weights.shape));
  const int64_t n = x.shape[0], c = x.shape[1], m = weights.shape[0], per_group = weights.shape[1];
  const int64_t group = args.Int("group", 1), offset_groups = args.Int("offset_group", 1);
  const int64_t taps = w.Taps(), size = w.OutCount(), dims = static_cast<int64_t>(w.dims);
  if (group < 1 || offset_groups < 1 || m % group || per_group * group != c || c % offset_groups ||
      args.In(2).Count() != n * offset_groups * taps * dims * size ||
      (args.Has(4) && args.In(4).Count() != n * offset_groups * taps * size))
    throw Error(Code::kInvalidArgument, "DeformConv: weights, offsets or mask do not fit an input of shape ", x.shape);
  const std::vector<double> values = LoadAll<double>(x), filter = LoadAll<double>(weights);
  const std::vector<double> offsets = LoadAll<double>(args.In(2));
  const std::vector<double> mask = args.Has(4) ? LoadAll<double>(args.In(4)) : std::vector<double>{};
  const auto tap_index = AllTaps(w);
  std::vector<double> sums(static_cast<size_t>(n * m * size)), where(w.dims);
  std::vector<int64_t> at;
  for (int64_t b = 0; b < n; ++b)
    for (int64_t k = 0; k < c; ++k)
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t p = 0; p < size; ++p) {
          Unflatten(p, w.out, at);
          const int64_t block = (b * offset_groups + k / (c / offset_groups)) * taps + t;
          for (int64_t d = 0; d < dims; ++d)
            where[d] = static_cast<double>(at[d] * w.strides[d] + tap_index[t][d] * w.dilations[d] - w.begin[d]) +
                       offsets[(block * dims + d) * size + p];
          double value = Interpolate(values.data() + (b * c + k) * w.InCount(), w.in, where);
          if (!mask.empty()) value *= mask[block * size + p];
          const int64_t g = k / per_group;
          for (int64_t f = g * (m / group); f < (g + 1) * (m / group); ++f)
            sums[(b * m + f) * size + p] += value * filter[(f * per_group + k % per_group) * taps + t];
        }
  if (args.Has(3)) AddBias(sums, args.In(3), m, size);
  StoreAll<double>(out, sums);
}

constexpr PlainOp kOps[] = {
    {"Conv", Conv},
    {"ConvInteger", ConvInteger},
    {"QLinearConv", QLinearConv},
    {"ConvTranspose", ConvTranspose},
    {"DeformConv", DeformConv},
};

}  // namespace

std::span<const PlainOp> ConvOps() { return kOps; }

}  // namespace ziggurat::plain
