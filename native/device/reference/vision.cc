// Sampling at computed places and choosing boxes: GridSample, RoiAlign, NonMaxSuppression.
#include <algorithm>
#include <cmath>

#include "device/reference/moves.h"
#include "device/reference/plain.h"

namespace ziggurat::plain {
namespace {

// ---- GridSample ----

struct Grid {
  bool align_corners;
  std::string padding;
  double Low() const { return align_corners ? 0 : -0.5; }
  double High(int64_t size) const { return static_cast<double>(size) - (align_corners ? 1.0 : 0.5); }
};

// Folds x back into [low, high] at the borders.
double Reflect(double x, double low, double high) {
  const double range = high - low;
  if (range <= 0 || !std::isfinite(x)) return low;
  if (x >= low && x <= high) return x;
  const double distance = x < low ? low - x : x - high;
  const double rest = std::fmod(distance, range);
  const bool even = std::fmod(std::floor(distance / range), 2) == 0;
  return (x < low) == even ? low + rest : high - rest;
}

// The index a pixel is read from, or -1 for zero padding.
int64_t Pixel(double i, int64_t size, const Grid& grid) {
  if (grid.padding == "reflection") i = std::trunc(Reflect(i, grid.Low(), grid.High(size)));
  if (grid.padding != "zeros") return static_cast<int64_t>(std::clamp(i, 0.0, static_cast<double>(size - 1)));
  return i >= 0 && i < static_cast<double>(size) ? static_cast<int64_t>(i) : -1;
}

// Normalised [-1, 1] to pixels, in float as the op is specified.
double Denormalize(double n, int64_t size, const Grid& grid) {
  const double length = static_cast<double>(size);
  return static_cast<float>(grid.align_corners ? (n + 1) / 2 * (length - 1) : ((n + 1) * length - 1) / 2);
}

double Fold(double x, int64_t size, const Grid& grid) {
  if (std::isnan(x)) return -1;
  if (x >= grid.Low() && x <= grid.High(size)) return x;
  if (grid.padding == "border") return std::clamp(x, 0.0, static_cast<double>(size - 1));
  if (grid.padding == "reflection") return Reflect(x, grid.Low(), grid.High(size));
  return std::clamp(x, -1e9, 1e9);
}

struct Tap {
  int64_t index;
  double weight;
};

std::vector<Tap> Taps(double x, int64_t size, const std::string& mode, const Grid& grid) {
  if (mode == "nearest") return {{Pixel(x, size, grid), 1}};
  const double below = std::floor(x), t = x - below;
  if (mode == "linear") return {{Pixel(below, size, grid), 1 - t}, {Pixel(below + 1, size, grid), t}};
  constexpr double a = -0.75;
  const auto near = [&](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const auto far = [&](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  return {{Pixel(below - 1, size, grid), far(t + 1)},
          {Pixel(below, size, grid), near(t)},
          {Pixel(below + 1, size, grid), near(1 - t)},
          {Pixel(below + 2, size, grid), far(2 - t)}};
}

// Sum over the product of the axes' taps, from axis `d` on; `flat` is the position so far.
double Combine(const double* x, const std::vector<std::vector<Tap>>& taps, const Shape& in, size_t d, int64_t flat) {
  if (d == taps.size()) return x[flat];
  double sum = 0;
  for (const Tap& tap : taps[d])
    if (tap.index >= 0 && tap.weight != 0)
      sum += tap.weight * Combine(x, taps, in, d + 1, flat * in[static_cast<int>(d) + 2] + tap.index);
  return sum;
}

void GridSample(const Args& args) {
  const TensorView &in = args.In(0), &grid_in = args.In(1), &out = args.Out(0);
  std::string mode = args.String("mode", "linear");
  if (mode == "bilinear") mode = "linear";
  if (mode == "bicubic") mode = "cubic";
  const Grid grid{args.Int("align_corners", 0) != 0, args.String("padding_mode", "zeros")};
  if (in.shape.rank() < 3) throw Error(Code::kInvalidArgument, "GridSample of shape ", in.shape);
  const size_t dims = static_cast<size_t>(in.shape.rank() - 2);
  const int64_t n = in.shape[0], c = in.shape[1], size = out.shape.Count(2, out.shape.rank());
  const int64_t plane = in.shape.Count(2, in.shape.rank());
  if (grid_in.Count() != n * size * static_cast<int64_t>(dims) || (plane == 0 && size > 0))
    throw Error(Code::kInvalidArgument, "a grid of shape ", grid_in.shape, " for an input of shape ", in.shape);
  ZIGGURAT_CHECK(out.shape.rank() == in.shape.rank() && out.shape[0] == n && out.shape[1] == c);
  const std::vector<double> where = LoadAll<double>(grid_in);
  const bool move = mode == "nearest";  // any dtype
  const std::vector<double> x = move ? std::vector<double>{} : LoadAll<double>(in);
  std::vector<std::vector<Tap>> taps(dims);
  for (int64_t b = 0; b < n; ++b)
    for (int64_t p = 0; p < size; ++p) {
      for (size_t d = 0; d < dims; ++d) {  // the grid's last axis runs x first, our axes z, y, x
        const int64_t length = in.shape[static_cast<int>(d) + 2];
        const double normalized =
            where[(b * size + p) * static_cast<int64_t>(dims) + static_cast<int64_t>(dims - 1 - d)];
        double at = Denormalize(normalized, length, grid);
        if (move) at = std::nearbyint(at);
        taps[d] = Taps(Fold(at, length, grid), length, mode, grid);
      }
      int64_t flat = 0;
      for (size_t d = 0; move && d < dims && flat >= 0; ++d)
        flat = taps[d][0].index < 0 ? -1 : flat * in.shape[static_cast<int>(d) + 2] + taps[d][0].index;
      for (int64_t k = 0; k < c; ++k) {
        const int64_t to = (b * c + k) * size + p, from = (b * c + k) * plane;
        if (!move)
          StoreOne<double>(out, to, Combine(x.data() + from, taps, in.shape, 0, 0));
        else if (flat < 0)
          Fill({}, 0, out, to, 1);
        else
          CopyRun(in, from + flat, out, to, 1);
      }
    }
}

// ---- RoiAlign ----

struct Corners {
  int64_t at[4];
  double weight[4];
};

// The four pixels around (y, x); nothing where the point is more than a pixel outside.
Corners CornersAt(double y, double x, int64_t height, int64_t width) {
  Corners corners{};
  const double h = static_cast<double>(height), w = static_cast<double>(width);
  if (!(y >= -1 && y <= h && x >= -1 && x <= w)) return corners;
  y = std::clamp(y, 0.0, h - 1), x = std::clamp(x, 0.0, w - 1);
  const int64_t top = static_cast<int64_t>(y), left = static_cast<int64_t>(x);
  const int64_t bottom = std::min(top + 1, height - 1), right = std::min(left + 1, width - 1);
  const double ly = y - static_cast<double>(top), lx = x - static_cast<double>(left);
  return {{top * width + left, top * width + right, bottom * width + left, bottom * width + right},
          {(1 - ly) * (1 - lx), (1 - ly) * lx, ly * (1 - lx), ly * lx}};
}

double SampleBin(const double* x, const std::vector<Corners>& points, bool max_mode) {
  double sum = 0, best = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    double largest = -INFINITY;
    for (int k = 0; k < 4; ++k) {
      const double part = points[i].weight[k] * x[points[i].at[k]];
      sum += part, largest = std::max(largest, part);
    }
    best = i ? std::max(best, largest) : largest;
  }
  return max_mode ? best : sum / static_cast<double>(std::max<size_t>(points.size(), 1));
}

void RoiAlign(const Args& args) {
  const TensorView &in = args.In(0), &rois = args.In(1), &out = args.Out(0);
  if (in.shape.rank() != 4 || rois.shape.rank() != 2 || rois.shape[1] != 4)
    throw Error(Code::kInvalidArgument, "RoiAlign of shapes ", in.shape, " and ", rois.shape);
  const std::vector<double> x = LoadAll<double>(in), boxes = LoadAll<double>(rois);
  const std::vector<int64_t> batches = args.IntsIn(2);
  const double scale = args.Float("spatial_scale", 1);
  const bool half = args.String("coordinate_transformation_mode", "half_pixel") == "half_pixel";
  const bool max_mode = args.String("mode", "avg") == "max";
  const int64_t ratio = args.Int("sampling_ratio", 0), c = in.shape[1], h = in.shape[2], w = in.shape[3];
  ZIGGURAT_CHECK(out.shape.rank() == 4 && out.shape[0] == rois.shape[0] && out.shape[1] == c);
  const int64_t ph = out.shape[2], pw = out.shape[3];
  constexpr double kMaxGrid = 1024;  // samples a bin and axis: above what any region inside a picture needs
  if (static_cast<int64_t>(batches.size()) != rois.shape[0])
    throw Error(Code::kInvalidArgument, "one batch index a region is needed");
  for (int64_t r = 0; r < rois.shape[0]; ++r) {
    const double* box = boxes.data() + r * 4;
    const double offset = half ? 0.5 : 0, y0 = box[1] * scale - offset, x0 = box[0] * scale - offset;
    double height = box[3] * scale - offset - y0, width = box[2] * scale - offset - x0;
    if (!half) height = std::max(height, 1.0), width = std::max(width, 1.0);
    const double bin_h = height / static_cast<double>(ph), bin_w = width / static_cast<double>(pw);
    const double grid_h = ratio > 0 ? static_cast<double>(ratio) : std::ceil(bin_h);
    const double grid_w = ratio > 0 ? static_cast<double>(ratio) : std::ceil(bin_w);
    if (!(grid_h <= kMaxGrid && grid_w <= kMaxGrid))
      throw Error(Code::kInvalidArgument, "region ", r, " is too large: more than ", kMaxGrid, " samples a bin");
    const int64_t batch = Index(batches[r], in.shape[0]);
    std::vector<Corners> points;
    for (int64_t i = 0; i < ph; ++i)
      for (int64_t j = 0; j < pw; ++j) {
        points.clear();
        for (double gy = 0; gy < grid_h; ++gy)
          for (double gx = 0; gx < grid_w; ++gx)
            points.push_back(CornersAt(y0 + (static_cast<double>(i) + (gy + 0.5) / grid_h) * bin_h,
                                       x0 + (static_cast<double>(j) + (gx + 0.5) / grid_w) * bin_w, h, w));
        for (int64_t k = 0; k < c; ++k)
          StoreOne<double>(out, ((r * c + k) * ph + i) * pw + j,
                           SampleBin(x.data() + (batch * c + k) * h * w, points, max_mode));
      }
  }
}

// ---- NonMaxSuppression ----

struct Box {
  double top, left, bottom, right;
  double Area() const { return (bottom - top) * (right - left); }
};

Box BoxAt(const double* p, bool centred) {
  if (centred) return {p[1] - p[3] / 2, p[0] - p[2] / 2, p[1] + p[3] / 2, p[0] + p[2] / 2};
  return {std::min(p[0], p[2]), std::min(p[1], p[3]), std::max(p[0], p[2]), std::max(p[1], p[3])};
}

bool Overlaps(const Box& a, const Box& b, double threshold) {
  const double height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  const double width = std::min(a.right, b.right) - std::max(a.left, b.left);
  if (!(height > 0 && width > 0) || a.Area() <= 0 || b.Area() <= 0) return false;
  const double both = height * width;
  return both / (a.Area() + b.Area() - both) > threshold;
}

void NonMaxSuppression(const Args& args) {
  const TensorView &boxes_in = args.In(0), &scores_in = args.In(1);
  const Shape &b = boxes_in.shape, &s = scores_in.shape;
  if (b.rank() != 3 || s.rank() != 3 || b[2] != 4 || b[0] != s[0] || b[1] != s[2])
    throw Error(Code::kInvalidArgument, "NonMaxSuppression of boxes ", b, " and scores ", s);
  const std::vector<double> boxes = LoadAll<double>(boxes_in), scores = LoadAll<double>(scores_in);
  const int64_t most = std::max<int64_t>(args.IntIn(2, 0), 0);
  const double iou = args.RealIn(3, 0), least = args.RealIn(4, -INFINITY);
  const bool centred = args.Int("center_point_box", 0) != 0, filter = args.Has(4);
  std::vector<int64_t> result;
  for (int64_t n = 0; n < s[0]; ++n)
    for (int64_t k = 0; k < s[1]; ++k) {
      const double* score = scores.data() + (n * s[1] + k) * s[2];
      std::vector<int64_t> order;
      for (int64_t i = 0; i < s[2]; ++i)
        if (filter ? score[i] > least : !std::isnan(score[i])) order.push_back(i);
      std::stable_sort(order.begin(), order.end(), [&](int64_t p, int64_t q) { return score[p] > score[q]; });
      std::vector<Box> kept;
      for (int64_t i : order) {
        if (static_cast<int64_t>(kept.size()) >= most) break;
        const Box box = BoxAt(boxes.data() + (n * b[1] + i) * 4, centred);
        if (std::any_of(kept.begin(), kept.end(), [&](const Box& other) { return Overlaps(box, other, iou); }))
          continue;
        kept.push_back(box);
        result.insert(result.end(), {n, k, i});
      }
    }
  const int64_t rows = static_cast<int64_t>(result.size()) / 3;
  StoreAll<int64_t>(args.Shaped(0, Shape{rows, 3}), result);
}

constexpr PlainOp kOps[] = {
    {"GridSample", GridSample},
    {"RoiAlign", RoiAlign},
    {"NonMaxSuppression", NonMaxSuppression},
};

}  // namespace

std::span<const PlainOp> VisionOps() { return kOps; }

}  // namespace ziggurat::plain
