// Pools over windows, over regions, and over everything.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"
#include "ops/window.h"

namespace ziggurat {
namespace {

void InferPoolOf(InferContext& c, bool last) {
  c.ExpectRank(0, 3, kMaxRank);
  const int axes = static_cast<int>(c.node().Ints("kernel_shape").size());
  const Windows windows = ReadWindows(c, axes);
  std::vector<Dim> out;
  if (c.HasRank(0)) {
    const auto in = last ? ChannelsFirst(c.InputShape(0)) : c.InputShape(0);
    if (static_cast<int>(in.size()) != axes + 2)
      c.Fail("kernel_shape has ", axes, " axes, the input ", in.size() - 2, " spatial ones");
    out = {in[0], in[1]};
    for (int i = 0; i < axes; ++i) out.push_back(windows.OutputSize(c, i, in[i + 2]));
    if (last) out = ChannelsLast(std::move(out));
  } else {
    out = c.NewSymbols("pool", axes + 2);
  }
  if (c.num_outputs() > 1) c.SetOutput(1, DType::kInt64, out);
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void InferPool(InferContext& c) { InferPoolOf(c, false); }

void InferChannelsLastPool(InferContext& c) {
  Choice(c, "kind", {"max", "average"});
  InferPoolOf(c, true);
}

void ExpandChannelsLastPool(Expander& e) {
  const OpDef& pool = GetOp(e.node().String("kind") == "max" ? "MaxPool" : "AveragePool");
  Attributes attributes;
  for (const auto& [name, value] : e.node().attributes)
    if (pool.FindAttribute(name)) attributes[name] = value;
  e.Return(0, e.ChannelsLast(e.Op(pool.name, {e.ChannelsFirst(e.In(0))}, std::move(attributes))));
}

void InferMaxUnpool(InferContext& c) {
  c.ExpectRank(0, 3, kMaxRank);
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0));
  const auto& in = c.InputShape(0);
  const Windows windows = ReadWindows(c, static_cast<int>(in.size()) - 2);
  std::vector<Dim> out = {in[0], in[1]};
  const auto wanted = c.HasInput(2) ? c.Contents(2) : std::nullopt;
  if (wanted && wanted->size() != in.size())
    c.Fail("output_shape has ", wanted->size(), " values, expected ", in.size());
  for (size_t i = 0; i + 2 < in.size(); ++i) {
    if (wanted)
      out.push_back((*wanted)[i + 2]);
    else
      out.push_back(c.HasInput(2) ? c.NewSymbol("unpooled") : windows.TransposedSize(i, in[i + 2], 0));
  }
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void InferGlobalPool(InferContext& c) {
  c.ExpectRank(0, 2, kMaxRank);
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0));
  std::vector<Dim> out = c.InputShape(0);
  for (size_t i = 2; i < out.size(); ++i) out[i] = 1;
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void InferMaxRoiPool(InferContext& c) {
  c.ExpectRank(0, 4);
  c.ExpectRank(1, 2);
  const std::vector<int64_t> size = c.node().Ints("pooled_shape");
  if (size.size() != 2) c.Fail("pooled_shape has ", size.size(), " values, expected 2");
  c.SetOutput(0, c.InputDType(0),
              {c.HasRank(1) ? c.InputShape(1)[0] : c.NewSymbol("rois"),
               c.HasRank(0) ? c.InputShape(0)[1] : c.NewSymbol("channels"), size[0], size[1]});
}

void InferRoiAlign(InferContext& c) {
  c.ExpectRank(0, 4);
  c.ExpectRank(1, 2);
  c.ExpectRank(2, 1);
  Choice(c, "mode", {"avg", "max"});
  Choice(c, "coordinate_transformation_mode", {"half_pixel", "output_half_pixel"});
  c.SetOutput(0, c.InputDType(0),
              {c.HasRank(1) ? c.InputShape(1)[0] : c.NewSymbol("rois"),
               c.HasRank(0) ? c.InputShape(0)[1] : c.NewSymbol("channels"), c.node().Int("output_height"),
               c.node().Int("output_width")});
}

Value* SpatialAxes(Expander& e) {
  std::vector<int64_t> axes;
  for (int i = 2; i < e.Rank(e.In(0)); ++i) axes.push_back(i);
  return e.Ints(std::move(axes));
}

// Without spatial axes there is nothing to pool: an empty list of axes must not mean all.

Value* Reduce(Expander& e, const char* op, Value* x) {
  return e.Op(op, {x, SpatialAxes(e)}, {{"noop_with_empty_axes", int64_t{1}}});
}

void ExpandGlobalAveragePool(Expander& e) { e.Return(0, Reduce(e, "ReduceMean", e.Wide(e.In(0)))); }
void ExpandGlobalMaxPool(Expander& e) { e.Return(0, Reduce(e, "ReduceMax", e.In(0))); }

void ExpandGlobalLpPool(Expander& e) {
  Value* x = e.Op("Abs", {e.Wide(e.In(0))});
  const double p = static_cast<double>(e.node().Int("p"));
  Value* sum = Reduce(e, "ReduceSum", e.Op("Pow", {x, e.ScalarLike(x, p)}));
  e.Return(0, e.Op("Pow", {sum, e.ScalarLike(sum, 1.0 / p)}));
}

}  // namespace

constexpr OpDef kOp_AveragePool = {
    .name = "AveragePool",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::String("auto_pad", "NOTSET"), attr::Int("ceil_mode", 0), attr::Int("count_include_pad", 0),
                   attr::Ints("dilations"), attr::Required(attr::Ints("kernel_shape")), attr::Ints("pads"),
                   attr::Ints("strides")},
    .infer = InferPool,
};
// MaxPool or AveragePool of X and Y [N, spatial..., C].
constexpr OpDef kOp_ZigChannelsLastPool = {
    .name = "ChannelsLastPool",
    .domain = "zig",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::String("auto_pad", "NOTSET"), attr::Int("ceil_mode", 0), attr::Int("count_include_pad", 0),
                   attr::Ints("dilations"), attr::Required(attr::Ints("kernel_shape")),
                   attr::Required(attr::String("kind")), attr::Ints("pads"), attr::Ints("strides")},
    .infer = InferChannelsLastPool,
    .expand = ExpandChannelsLastPool,
};
constexpr OpDef kOp_LpPool = {
    .name = "LpPool",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::String("auto_pad", "NOTSET"), attr::Int("ceil_mode", 0), attr::Ints("dilations"),
                   attr::Required(attr::Ints("kernel_shape")), attr::Int("p", 2), attr::Ints("pads"),
                   attr::Ints("strides")},
    .infer = InferPool,
};
constexpr OpDef kOp_MaxPool = {
    .name = "MaxPool",
    .inputs = {{"X", kFloats | kBytes}},
    .max_outputs = 2,
    .attributes = {attr::String("auto_pad", "NOTSET"), attr::Int("ceil_mode", 0), attr::Ints("dilations"),
                   attr::Required(attr::Ints("kernel_shape")), attr::Ints("pads"), attr::Int("storage_order", 0),
                   attr::Ints("strides")},
    .infer = InferPool,
};
constexpr OpDef kOp_MaxUnpool = {
    .name = "MaxUnpool",
    .inputs = {{"X", kFloats}, {"I", kInt64s, '2'}, {"output_shape", kInt64s, '2', Param::kOptional}},
    .attributes = {attr::Required(attr::Ints("kernel_shape")), attr::Ints("pads"), attr::Ints("strides")},
    .infer = InferMaxUnpool,
    .shape_inputs = {2},
};
constexpr OpDef kOp_MaxRoiPool = {
    .name = "MaxRoiPool",
    .inputs = {{"X", kFloats, 'T'}, {"rois", kFloats, 'T'}},
    .attributes = {attr::Required(attr::Ints("pooled_shape")), attr::Float("spatial_scale", 1.0f)},
    .infer = InferMaxRoiPool,
};
constexpr OpDef kOp_RoiAlign = {
    .name = "RoiAlign",
    .inputs = {{"X", kFloats, '1'}, {"rois", kFloats, '1'}, {"batch_indices", kInt64s}},
    .attributes = {attr::String("coordinate_transformation_mode", "half_pixel"), attr::String("mode", "avg"),
                   attr::Int("output_height", 1), attr::Int("output_width", 1), attr::Int("sampling_ratio", 0),
                   attr::Float("spatial_scale", 1.0f)},
    .infer = InferRoiAlign,
};
constexpr OpDef kOp_GlobalAveragePool = {
    .name = "GlobalAveragePool",
    .inputs = {{"X", kFloats}},
    .infer = InferGlobalPool,
    .expand = ExpandGlobalAveragePool,
};
constexpr OpDef kOp_GlobalMaxPool = {
    .name = "GlobalMaxPool",
    .inputs = {{"X", kFloats}},
    .infer = InferGlobalPool,
    .expand = ExpandGlobalMaxPool,
};
constexpr OpDef kOp_GlobalLpPool = {
    .name = "GlobalLpPool",
    .inputs = {{"X", kFloats}},
    .attributes = {attr::Int("p", 2)},
    .infer = InferGlobalPool,
    .expand = ExpandGlobalLpPool,
};

}  // namespace ziggurat
