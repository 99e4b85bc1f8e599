// Grids to sample at, and images cut or padded to a size.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

void InferAffineGrid(InferContext& c) {
  c.ExpectRank(0, 3);
  c.ExpectRank(1, 1);
  const auto size = c.Contents(1);
  std::optional<int64_t> length;
  if (size)
    length = static_cast<int64_t>(size->size());
  else if (c.HasRank(1) && c.InputShape(1)[0].IsConst())
    length = c.InputShape(1)[0].Const();
  if (!length) return c.SetUnranked(0, c.InputDType(0));
  if (*length != 4 && *length != 5) c.Fail("size has ", *length, " values, expected 4 or 5");
  std::vector<Dim> out = {size ? (*size)[0] : c.NewSymbol("grid")};
  for (int64_t i = 2; i < *length; ++i) out.push_back(size ? (*size)[i] : c.NewSymbol("grid"));
  out.push_back(*length - 2);
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

// Positions of `count` samples on [-1, 1]: its ends included, or the centres of as many equal cells.
Value* Positions(Expander& e, Value* count) {
  const DType dtype = DType::kFloat64;  // rounded once, when the grid is returned
  Value* index = e.Cast(e.Op("Range", {e.Int(0), count, e.Int(1)}), dtype);
  Value *cells = e.Cast(count, dtype), *one = e.Scalar(dtype, 1), *two = e.Scalar(dtype, 2);
  if (e.node().Int("align_corners"))
    return e.Op("Sub", {e.Op("Div", {e.Op("Mul", {index, two}), e.Op("Sub", {cells, one})}), one});
  return e.Op("Sub", {e.Op("Div", {e.Op("Add", {e.Op("Mul", {index, two}), one}), cells}), one});
}

// Every position as a row (x, y, 1), or (x, y, z, 1), times theta transposed.
void ExpandAffineGrid(Expander& e) {
  const auto& out = *e.node().Output(0)->type.shape;
  const int axes = static_cast<int>(out.size()) - 2;
  auto at = [&e](int64_t i) { return e.Op("Slice", {e.In(1), e.Ints({i}), e.Ints({i + 1}), e.Ints({0})}); };
  std::vector<Value*> sizes;
  for (int i = 0; i < axes; ++i) sizes.push_back(at(i + 2));
  Value* shape = e.Join([&] {
    std::vector<Value*> parts = sizes;
    parts.push_back(e.Ints({1}));
    return parts;
  }());
  std::vector<Value*> columns;
  for (int i = axes - 1; i >= 0; --i) {
    std::vector<int64_t> along(axes + 1, 1);
    along[i] = -1;
    Value* line = e.Reshape(Positions(e, e.Reshape(sizes[i], {})), std::move(along));
    columns.push_back(e.Op("Expand", {line, shape}));
  }
  columns.push_back(e.Op("Expand", {e.Scalar(DType::kFloat64, 1), shape}));
  Value* rows = e.Reshape(e.Op("Concat", std::move(columns), {{"axis", int64_t{-1}}}), {-1, axes + 1});
  Value* theta = e.Op("Transpose", {e.Cast(e.In(0), DType::kFloat64)}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  std::vector<Value*> result = {at(0)};
  result.insert(result.end(), sizes.begin(), sizes.end());
  result.push_back(e.Ints({axes}));
  e.Return(0, e.Op("Reshape", {e.Op("MatMul", {rows, theta}), e.Join(std::move(result))}));
}

std::vector<int64_t> CropAxes(const Node& node, int rank) {
  if (node.Has("axes")) return node.Ints("axes");
  std::vector<int64_t> axes;
  for (int i = 0; i < rank; ++i) axes.push_back(i);
  return axes;
}

void InferCenterCropPad(InferContext& c) {
  c.ExpectRank(1, 1);
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0));
  std::vector<Dim> out = c.InputShape(0);
  const int rank = static_cast<int>(out.size());
  const std::vector<int> axes = c.Axes(CropAxes(c.node(), rank), rank);
  const auto sizes = c.Contents(1);
  if (sizes && sizes->size() != axes.size()) c.Fail("shape has ", sizes->size(), " values, expected ", axes.size());
  for (size_t i = 0; i < axes.size(); ++i) out[axes[i]] = sizes ? (*sizes)[i] : c.NewSymbol("cropped");
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

// Cuts what is too long, then pads what is too short; of an odd difference the smaller half is at the start.
void ExpandCenterCropPad(Expander& e) {
  Value* axes = e.Ints(CropAxes(e.node(), e.Rank(e.In(0))));
  Value *have = e.Op("Gather", {e.ShapeOf(e.In(0)), axes}), *want = e.Cast(e.In(1), DType::kInt64);
  Value *zero = e.Int(0), *two = e.Int(2);
  Value* start = e.Op("Div", {e.Op("Max", {e.Op("Sub", {have, want}), zero}), two});
  Value* cut = e.Op("Slice", {e.In(0), start, e.Op("Add", {start, e.Op("Min", {have, want})}), axes});
  Value* missing = e.Op("Max", {e.Op("Sub", {want, have}), zero});
  Value* before = e.Op("Div", {missing, two});
  e.Return(0, e.Op("Pad", {cut, e.Join({before, e.Op("Sub", {missing, before})}), nullptr, axes}));
}

}  // namespace

constexpr OpDef kOp_AffineGrid = {
    .name = "AffineGrid",
    .inputs = {{"theta", kFloats}, {"size", kInt64s}},
    .attributes = {attr::Int("align_corners", 0)},
    .infer = InferAffineGrid,
    .expand = ExpandAffineGrid,
    .shape_inputs = {1},
};
constexpr OpDef kOp_CenterCropPad = {
    .name = "CenterCropPad",
    .inputs = {{"input_data", kClassic}, {"shape", kIndices}},
    .attributes = {attr::Ints("axes")},
    .infer = InferCenterCropPad,
    .expand = ExpandCenterCropPad,
    .shape_inputs = {1},
};

}  // namespace ziggurat
