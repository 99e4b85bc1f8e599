// Resampling images.
#include <cmath>

#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// floor(size * scale) as a dimension. For a symbol it is exact where the scale is a short binary fraction, so that the
// product of the two in floating point is exact too.
std::optional<Dim> Scaled(const InferContext& c, const Dim& size, double scale) {
  if (!(scale > 0) || !(scale < 1e6)) c.Fail("scale is ", scale);
  if (size.IsConst()) {
    const double scaled = std::floor(static_cast<double>(size.Const()) * scale);
    if (!(scaled < 9e15)) c.Fail("scale ", scale, " makes ", size.Const(), " too large");
    return Dim(static_cast<int64_t>(scaled));
  }
  for (int64_t denominator : {1, 2, 4, 8, 16, 32, 64, 128, 256})
    if (const double numerator = scale * denominator; numerator == std::floor(numerator))
      return FloorDiv(size * Dim(static_cast<int64_t>(numerator)), denominator);
  return std::nullopt;
}

std::vector<int> ResizeAxes(const InferContext& c, int rank) {
  if (c.node().Has("axes")) return c.Axes(c.node().Ints("axes"), rank);
  std::vector<int> axes;
  for (int i = 0; i < rank; ++i) axes.push_back(i);
  return axes;
}

void ResizeByScales(InferContext& c, const std::vector<int>& axes, std::vector<Dim>& out) {
  const auto scales = c.Floats(2);
  const bool crops = c.node().String("coordinate_transformation_mode") == "tf_crop_and_resize";
  const auto roi = crops && c.HasInput(1) ? c.Floats(1) : std::nullopt;
  if (scales && scales->size() != axes.size()) c.Fail("scales has ", scales->size(), " values, expected ", axes.size());
  if (roi && roi->size() != 2 * axes.size()) c.Fail("roi has ", roi->size(), " values, expected ", 2 * axes.size());
  for (size_t i = 0; i < axes.size(); ++i) {
    std::optional<Dim> size;
    if (scales && !crops) size = Scaled(c, out[axes[i]], (*scales)[i]);
    if (scales && roi)
      size = Scaled(c, out[axes[i]], static_cast<double>((*roi)[i + axes.size()] - (*roi)[i]) * (*scales)[i]);
    out[axes[i]] = size ? *size : c.NewSymbol("resized");
  }
}

int64_t Rounded(const InferContext& c, double size) {
  if (!(size < 9e15)) c.Fail("a size of ", size);
  return static_cast<int64_t>(std::floor(size + 0.5));
}

// Sizes as given; or the largest (smallest) that keep the aspect ratio and stay within (reach) them.
void ResizeToSizes(InferContext& c, const std::vector<int>& axes, std::vector<Dim>& out) {
  const std::string policy = Choice(c, "keep_aspect_ratio_policy", {"stretch", "not_larger", "not_smaller"});
  const auto sizes = c.Contents(3);
  if (sizes && sizes->size() != axes.size()) c.Fail("sizes has ", sizes->size(), " values, expected ", axes.size());
  bool known = sizes.has_value();
  double scale = policy == "not_larger" ? INFINITY : 0;
  for (size_t i = 0; known && policy != "stretch" && i < axes.size(); ++i) {
    const Dim &in = out[axes[i]], &wanted = (*sizes)[i];
    known = in.IsConst() && wanted.IsConst() && in.Const() > 0;
    if (!known) break;
    const double ratio = static_cast<double>(wanted.Const()) / static_cast<double>(in.Const());
    scale = policy == "not_larger" ? std::min(scale, ratio) : std::max(scale, ratio);
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    Dim& dim = out[axes[i]];
    if (!known)
      dim = c.NewSymbol("resized");
    else if (policy == "stretch")
      dim = (*sizes)[i];
    else
      dim = Rounded(c, scale * static_cast<double>(dim.Const()));
  }
}

void InferResize(InferContext& c) {
  Choice(c, "mode", {"nearest", "linear", "cubic"});
  Choice(c, "coordinate_transformation_mode",
         {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
          "tf_half_pixel_for_nn", "tf_crop_and_resize"});
  Choice(c, "nearest_mode", {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple"});
  c.ExpectRank(2, 1);
  c.ExpectRank(3, 1);
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0));
  std::vector<Dim> out = c.InputShape(0);
  const std::vector<int> axes = ResizeAxes(c, static_cast<int>(out.size()));
  // An empty tensor is how older models leave an input out.
  auto given = [&c](int i) { return c.HasInput(i) && !(c.HasRank(i) && c.InputShape(i)[0].IsConst(0)); };
  if (given(3))
    ResizeToSizes(c, axes, out);
  else if (given(2))
    ResizeByScales(c, axes, out);
  else
    c.Fail("has neither scales nor sizes");
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void InferUpsample(InferContext& c) {
  Choice(c, "mode", {"nearest", "linear"});
  c.ExpectRank(1, 1);
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0));
  std::vector<Dim> out = c.InputShape(0);
  const auto scales = c.Floats(1);
  if (scales && scales->size() != out.size()) c.Fail("scales has ", scales->size(), " values, expected ", out.size());
  for (size_t i = 0; i < out.size(); ++i) {
    const auto size = scales ? Scaled(c, out[i], (*scales)[i]) : std::nullopt;
    out[i] = size ? *size : c.NewSymbol("upsampled");
  }
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void ExpandUpsample(Expander& e) {
  e.Return(0, e.Op("Resize", {e.In(0), nullptr, e.In(1)},
                   {{"mode", e.node().String("mode")},
                    {"coordinate_transformation_mode", "asymmetric"},
                    {"nearest_mode", "floor"}}));
}

void InferGridSample(InferContext& c) {
  Choice(c, "mode", {"linear", "nearest", "cubic", "bilinear", "bicubic"});
  Choice(c, "padding_mode", {"zeros", "border", "reflection"});
  c.ExpectRank(0, 3, kMaxRank);
  if (!c.HasRank(0) || !c.HasRank(1)) return c.SetUnranked(0, c.InputDType(0));
  const auto &x = c.InputShape(0), &grid = c.InputShape(1);
  if (grid.size() != x.size()) c.Fail("the grid has rank ", grid.size(), ", the input ", x.size());
  c.Same(grid.back(), Dim(static_cast<int64_t>(x.size()) - 2), "the grid's last dimension and the spatial axes");
  std::vector<Dim> out = {c.Same(x[0], grid[0], "batches"), x[1]};
  out.insert(out.end(), grid.begin() + 1, grid.end() - 1);
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void InferCol2Im(InferContext& c) {
  for (int i : {1, 2}) c.ExpectRank(i, 1);
  c.ExpectRank(0, 3);
  const auto image = c.Contents(1), block = c.Contents(2);
  if (!image) {
    if (!c.HasRank(1) || !c.InputShape(1)[0].IsConst()) return c.SetUnranked(0, c.InputDType(0));
    return c.SetOutput(0, c.InputDType(0), c.NewSymbols("image", static_cast<int>(c.InputShape(1)[0].Const()) + 2));
  }
  std::vector<Dim> out = {c.HasRank(0) ? c.InputShape(0)[0] : c.NewSymbol("batch"), Dim()};
  const bool known = block && c.HasRank(0) && !Product(*block).IsConst(0);
  out[1] = known ? FloorDiv(c.InputShape(0)[1], Product(*block)) : c.NewSymbol("channels");
  out.insert(out.end(), image->begin(), image->end());
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

}  // namespace

constexpr OpDef kOp_Resize = {
    .name = "Resize",
    .inputs = {{"X", kClassic},
               {"roi", kFloats, 0, Param::kOptional},
               {"scales", kFloat32s, 0, Param::kOptional},
               {"sizes", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("antialias", 0), attr::Ints("axes"),
                   attr::String("coordinate_transformation_mode", "half_pixel"), attr::Float("cubic_coeff_a", -0.75f),
                   attr::Int("exclude_outside", 0), attr::Float("extrapolation_value", 0.0f),
                   attr::String("keep_aspect_ratio_policy", "stretch"), attr::String("mode", "nearest"),
                   attr::String("nearest_mode", "round_prefer_floor")},
    .infer = InferResize,
    .shape_inputs = {1, 2, 3},
};
constexpr OpDef kOp_Upsample = {
    .name = "Upsample",
    .inputs = {{"X", kClassic}, {"scales", kFloat32s}},
    .attributes = {attr::String("mode", "nearest")},
    .infer = InferUpsample,
    .expand = ExpandUpsample,
    .shape_inputs = {1},
};
constexpr OpDef kOp_GridSample = {
    .name = "GridSample",
    .inputs = {{"X", kClassic}, {"grid", kFloats}},
    .attributes = {attr::Int("align_corners", 0), attr::String("mode", "linear"),
                   attr::String("padding_mode", "zeros")},
    .infer = InferGridSample,
};
constexpr OpDef kOp_Col2Im = {
    .name = "Col2Im",
    .inputs = {{"input", kClassic}, {"image_shape", kInt64s}, {"block_shape", kInt64s}},
    .attributes = {attr::Ints("dilations"), attr::Ints("pads"), attr::Ints("strides")},
    .infer = InferCol2Im,
    .shape_inputs = {1, 2},
};

}  // namespace ziggurat
