// Pools, their inverses, and Col2Im.
#include <algorithm>
#include <cmath>
#include <limits>

#include "device/reference/windows.h"

namespace ziggurat::plain {
namespace {

// For each output position, fn(plane, output position, flat input positions of the taps that are inside, all taps).
void ForWindows(const Windows& w, int64_t planes,
                FunctionRef<void(int64_t, int64_t, const std::vector<int64_t>&, const std::vector<int64_t>&)> fn) {
  const auto taps = AllTaps(w);
  std::vector<int64_t> at, inside;
  for (int64_t p = 0; p < w.OutCount(); ++p) {
    Unflatten(p, w.out, at);
    inside.clear();
    for (const auto& tap : taps)
      if (const int64_t from = InputAt(w, at, tap); from >= 0) inside.push_back(from);
    for (int64_t plane = 0; plane < planes; ++plane) fn(plane, p, inside, at);
  }
}

Windows PoolWindows(const Args& args) {
  const Shape &in = args.In(0).shape, &out = args.Out(0).shape;
  const Windows w = ResolveWindows(args, in, out, args.node.Ints("kernel_shape"));
  ZIGGURAT_CHECK(in[0] == out[0] && in[1] == out[1]);
  return w;
}
Windows GlobalWindows(const Args& args) {
  const Shape &in = args.In(0).shape, &out = args.Out(0).shape;
  if (in.rank() < 2 || in.rank() != out.rank()) throw Error(Code::kInvalidArgument, "a pool of shape ", in);
  ZIGGURAT_CHECK(in[0] == out[0] && in[1] == out[1] && out.Count() == in[0] * in[1]);
  Windows w;
  w.dims = static_cast<size_t>(in.rank() - 2);
  w.in.assign(in.begin() + 2, in.end());
  w.kernel = w.in;
  w.out.assign(w.dims, 1), w.strides.assign(w.dims, 1), w.dilations.assign(w.dims, 1), w.begin.assign(w.dims, 0);
  return w;
}
int64_t Planes(const Shape& shape) { return shape[0] * shape[1]; }

// A flat position whose spatial axes are counted in column-major order (MaxPool's storage_order 1).
int64_t ColumnMajor(int64_t flat, const std::vector<int64_t>& sizes) {
  std::vector<int64_t> index;
  Unflatten(flat, sizes, index);
  int64_t out = 0;
  for (size_t d = sizes.size(); d-- > 0;) out = out * sizes[d] + index[d];
  return out;
}

void Max(const Args& args, const Windows& w) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const bool column_major = args.Int("storage_order", 0) != 0;
  WithRealType(in.dtype, [&](auto zero) {
    using C = decltype(zero);
    const std::vector<C> x = LoadAll<C>(in);
    C lowest = std::numeric_limits<C>::lowest();
    if constexpr (std::is_same_v<C, double>) lowest = -std::numeric_limits<double>::infinity();
    if (in.dtype == DType::kInt8) lowest = static_cast<C>(-128);
    ForWindows(w, Planes(in.shape), [&](int64_t plane, int64_t p, const auto& inside, const auto&) {
      const C* from = x.data() + plane * w.InCount();
      C best = lowest;
      int64_t where = -1;
      for (int64_t i : inside)
        if (where < 0 || from[i] > best || (IsNan(from[i]) && !IsNan(best))) best = from[i], where = i;
      StoreOne<C>(out, plane * w.OutCount() + p, best);
      if (!args.HasOut(1)) return;
      const int64_t position = where < 0 ? -1 : column_major ? ColumnMajor(where, w.in) : where;
      StoreOne<int64_t>(args.Out(1), plane * w.OutCount() + p, where < 0 ? -1 : plane * w.InCount() + position);
    });
  });
}

// Taps inside the padded input: count_include_pad divides by these, not by what ceil_mode adds beyond the padding.
int64_t PaddedTaps(const Windows& w, const std::vector<int64_t>& at, const std::vector<int64_t>& end_pads) {
  int64_t count = 1;
  for (size_t d = 0; d < w.dims; ++d) {
    int64_t inside = 0;
    for (int64_t t = 0; t < w.kernel[d]; ++t) {
      const int64_t i = at[d] * w.strides[d] + t * w.dilations[d] - w.begin[d];
      inside += i < w.in[d] + end_pads[d];
    }
    count *= inside;
  }
  return count;
}

void Average(const Args& args, const Windows& w, bool include_pad) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const std::vector<double> x = LoadAll<double>(in);
  std::vector<int64_t> end_pads = args.Ints("pads", 2 * w.dims, 0);
  end_pads.erase(end_pads.begin(), end_pads.begin() + static_cast<int64_t>(w.dims));
  if (args.String("auto_pad", "NOTSET").starts_with("SAME"))
    for (size_t d = 0; d < w.dims; ++d)
      end_pads[d] = std::max<int64_t>(
          (w.out[d] - 1) * w.strides[d] + (w.kernel[d] - 1) * w.dilations[d] + 1 - w.in[d] - w.begin[d], 0);
  ForWindows(w, Planes(in.shape), [&](int64_t plane, int64_t p, const auto& inside, const auto& at) {
    double sum = 0;
    for (int64_t i : inside) sum += x[plane * w.InCount() + i];
    const int64_t count = include_pad ? PaddedTaps(w, at, end_pads) : static_cast<int64_t>(inside.size());
    StoreOne<double>(out, plane * w.OutCount() + p, sum / static_cast<double>(count));
  });
}

void Lp(const Args& args, const Windows& w) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const std::vector<double> x = LoadAll<double>(in);
  const double p_norm = static_cast<double>(args.Int("p", 2));
  ForWindows(w, Planes(in.shape), [&](int64_t plane, int64_t p, const auto& inside, const auto&) {
    double sum = 0;
    for (int64_t i : inside) sum += std::pow(std::abs(x[plane * w.InCount() + i]), p_norm);
    StoreOne<double>(out, plane * w.OutCount() + p, std::pow(sum, 1 / p_norm));
  });
}

void MaxPool(const Args& args) { Max(args, PoolWindows(args)); }
void AveragePool(const Args& args) { Average(args, PoolWindows(args), args.Int("count_include_pad", 0) != 0); }
void LpPool(const Args& args) { Lp(args, PoolWindows(args)); }
void GlobalMaxPool(const Args& args) { Max(args, GlobalWindows(args)); }
void GlobalAveragePool(const Args& args) { Average(args, GlobalWindows(args), false); }
void GlobalLpPool(const Args& args) { Lp(args, GlobalWindows(args)); }

// Puts each element where its index says, in the shape that MaxPool had without output_shape; the rest is zero.
void MaxUnpool(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const int rank = in.shape.rank();
  if (rank < 3) throw Error(Code::kInvalidArgument, "an input of shape ", in.shape, " has no spatial axes");
  const size_t dims = static_cast<size_t>(rank - 2);
  const std::vector<int64_t> kernel = args.Ints("kernel_shape", dims, 1), strides = args.Ints("strides", dims, 1);
  const std::vector<int64_t> pads = args.Ints("pads", 2 * dims, 0);
  Shape pooled = in.shape;
  for (size_t d = 0; d < dims; ++d)
    pooled[static_cast<int>(d) + 2] =
        (in.shape[static_cast<int>(d) + 2] - 1) * strides[d] - pads[d] - pads[dims + d] + kernel[d];
  const Strides strides_out = ContiguousStrides(out.shape), own = ContiguousStrides(pooled);
  ZIGGURAT_CHECK(out.shape.rank() == rank);
  if (args.In(1).Count() != in.Count()) throw Error(Code::kInvalidArgument, "one index an element is needed");
  std::vector<double> result(static_cast<size_t>(out.Count()));
  const std::vector<double> x = LoadAll<double>(in);
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t index = Index(LoadOne<int64_t>(args.In(1), static_cast<int64_t>(i)), pooled.Count());
    int64_t to = 0;
    bool inside = true;
    for (int axis = 0; axis < rank; ++axis) {
      const int64_t at = index / own[axis] % pooled[axis];
      inside = inside && at < out.shape[axis];
      to += at * strides_out[axis];
    }
    if (inside) result[to] = x[i];
  }
  StoreAll<double>(out, result);
}

// The maximum of each cell of a grid laid over each region; an empty cell is 0.
void MaxRoiPool(const Args& args) {
  const TensorView &in = args.In(0), &rois = args.In(1), &out = args.Out(0);
  if (in.shape.rank() != 4 || rois.shape.rank() != 2 || rois.shape[1] != 5)
    throw Error(Code::kInvalidArgument, "MaxRoiPool of shapes ", in.shape, " and ", rois.shape);
  ZIGGURAT_CHECK(out.shape.rank() == 4 && out.shape[0] == rois.shape[0] && out.shape[1] == in.shape[1]);
  const std::vector<double> x = LoadAll<double>(in), boxes = LoadAll<double>(rois);
  const double scale = args.Float("spatial_scale", 1);
  const int64_t c = in.shape[1], h = in.shape[2], width = in.shape[3], ph = out.shape[2], pw = out.shape[3];
  const auto edge = [](double cell, double start, int64_t limit) {
    return std::clamp<int64_t>(TruncateToInt64(cell + start), 0, limit);
  };
  for (int64_t r = 0; r < rois.shape[0]; ++r) {
    const double* box = boxes.data() + r * 5;
    const int64_t batch = Index(TruncateToInt64(box[0]), in.shape[0]);
    const double x1 = std::round(box[1] * scale), y1 = std::round(box[2] * scale);
    const double bin_w = std::max(std::round(box[3] * scale) - x1 + 1, 1.0) / static_cast<double>(pw);
    const double bin_h = std::max(std::round(box[4] * scale) - y1 + 1, 1.0) / static_cast<double>(ph);
    for (int64_t k = 0; k < c; ++k)
      for (int64_t i = 0; i < ph; ++i)
        for (int64_t j = 0; j < pw; ++j) {
          const int64_t top = edge(std::floor(static_cast<double>(i) * bin_h), y1, h);
          const int64_t bottom = edge(std::ceil(static_cast<double>(i + 1) * bin_h), y1, h);
          const int64_t left = edge(std::floor(static_cast<double>(j) * bin_w), x1, width);
          const int64_t right = edge(std::ceil(static_cast<double>(j + 1) * bin_w), x1, width);
          double best = top < bottom && left < right ? -std::numeric_limits<double>::infinity() : 0;
          for (int64_t y = top; y < bottom; ++y)
            for (int64_t z = left; z < right; ++z) best = std::max(best, x[((batch * c + k) * h + y) * width + z]);
          StoreOne<double>(out, ((r * c + k) * ph + i) * pw + j, best);
        }
  }
}

// Column blocks [N, C * taps, blocks] summed back into images.
void Col2Im(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  if (out.shape.rank() < 3)
    throw Error(Code::kInvalidArgument, "an image of shape ", out.shape, " has no spatial axes");
  Shape blocks{out.shape[0], out.shape[1]};
  const std::vector<int64_t> kernel = args.IntsIn(2);
  const size_t dims = kernel.size();
  const std::vector<int64_t> strides = args.Ints("strides", dims, 1), dilations = args.Ints("dilations", dims, 1);
  const std::vector<int64_t> pads = args.Ints("pads", 2 * dims, 0);
  if (out.shape.rank() != static_cast<int>(dims) + 2)
    throw Error(Code::kInvalidArgument, "block_shape's length is not the image's");
  for (size_t d = 0; d < dims; ++d) {
    const int64_t room =
        out.shape[static_cast<int>(d) + 2] + pads[d] + pads[dims + d] - dilations[d] * (kernel[d] - 1) - 1;
    if (strides[d] < 1 || room < 0)
      throw Error(Code::kInvalidArgument, "a block of ", kernel[d], " does not fit the image");
    blocks.push_back(room / strides[d] + 1);
  }
  const Windows w = ResolveWindows(args, out.shape, blocks, kernel);
  const auto taps = AllTaps(w);
  const int64_t planes = Planes(out.shape);
  if (in.Count() != planes * w.Taps() * w.OutCount())
    throw Error(Code::kInvalidArgument, "columns of shape ", in.shape, " do not make an image of shape ", out.shape);
  WithComputeType(in.dtype, [&](auto zero) {
    using C = decltype(zero);
    const std::vector<C> x = LoadAll<C>(in);
    std::vector<C> image(static_cast<size_t>(out.Count()));
    std::vector<int64_t> at;
    for (int64_t b = 0; b < w.OutCount(); ++b) {
      Unflatten(b, w.out, at);
      for (size_t t = 0; t < taps.size(); ++t) {
        const int64_t to = InputAt(w, at, taps[t]);
        for (int64_t plane = 0; to >= 0 && plane < planes; ++plane) {
          C& cell = image[plane * w.InCount() + to];
          cell = WrapAdd(cell, x[(plane * w.Taps() + static_cast<int64_t>(t)) * w.OutCount() + b]);
        }
      }
    }
    StoreAll<C>(out, image);
  });
}

constexpr PlainOp kOps[] = {
    {"MaxPool", MaxPool},
    {"AveragePool", AveragePool},
    {"LpPool", LpPool},
    {"GlobalMaxPool", GlobalMaxPool},
    {"GlobalAveragePool", GlobalAveragePool},
    {"GlobalLpPool", GlobalLpPool},
    {"MaxUnpool", MaxUnpool},
    {"MaxRoiPool", MaxRoiPool},
    {"Col2Im", Col2Im},
};

}  // namespace

std::span<const PlainOp> PoolOps() { return kOps; }

}  // namespace ziggurat::plain
