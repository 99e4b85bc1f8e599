// Ops that join, cut, repeat and pad tensors.
#include <algorithm>

#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

void InferConcat(InferContext& c) {
  const int64_t attribute = c.node().Int("axis");
  const DType dtype = c.InputDType(0);
  std::optional<std::vector<Dim>> out;
  int axis = 0;
  bool unranked = false;
  for (int i = 0; i < c.num_inputs(); ++i) {
    if (!c.HasInput(i)) c.Fail("input ", i, " is required");
    if (!c.HasRank(i)) {
      unranked = true;
      continue;
    }
    const auto& in = c.InputShape(i);
    if (!out) {
      axis = c.Axis(attribute, static_cast<int>(in.size()));
      out = in;
      continue;
    }
    if (in.size() != out->size()) c.Fail("inputs have ranks ", out->size(), " and ", in.size(), ", must be equal");
    for (int d = 0; d < static_cast<int>(in.size()); ++d)
      (*out)[d] = d == axis ? (*out)[d] + in[d] : c.Same((*out)[d], in[d], Cat("dimensions ", d));
  }
  if (out && unranked) (*out)[axis] = c.NewSymbol("joined");
  c.SetOutput(0, Type::Tensor(dtype, std::move(out)));
}

void ConcatContents(InferContext& c) {
  if (!c.output_types[0].HasRank() || c.output_types[0].Rank() != 1) return;
  std::vector<Dim> all;
  for (int i = 0; i < c.num_inputs(); ++i) {
    const auto part = c.Contents(i);
    if (!part) return;
    all.insert(all.end(), part->begin(), part->end());
  }
  c.SetContents(0, std::move(all));
}

// Sizes of Split's outputs along an axis of `total`, or nullopt where the sizes are not known.
std::optional<std::vector<Dim>> SplitSizes(InferContext& c, const Dim& total) {
  const int count = c.num_outputs();
  if (c.HasInput(1)) {
    c.ExpectRank(1, 1);
    auto sizes = c.Contents(1);
    if (const auto numbers = c.Ints(1); !sizes && numbers) sizes = std::vector<Dim>(numbers->begin(), numbers->end());
    if (!sizes) return std::nullopt;
    if (static_cast<int>(sizes->size()) != count) c.Fail("split has ", sizes->size(), " sizes for ", count, " outputs");
    Dim sum = 0;
    for (const Dim& size : *sizes) sum = sum + size;
    if (sum.IsConst() && total.IsConst() && !(sum == total))
      c.Fail("split sizes add up to ", sum.Const(), ", the axis has ", total.Const());
    return sizes;
  }
  const int64_t parts = c.node().Int("num_outputs", count);
  if (parts != count) c.Fail("num_outputs is ", parts, ", the node has ", count, " outputs");
  // Even shares, the last one smaller where they do not come out even.
  const Dim share = CeilDiv(total, count);
  std::vector<Dim> sizes(count, share);
  sizes.back() = total - share * Dim(count - 1);
  return sizes;
}

void InferSplit(InferContext& c) {
  const DType dtype = c.InputDType(0);
  if (!c.HasRank(0)) {
    for (int i = 0; i < c.num_outputs(); ++i) c.SetUnranked(i, dtype);
    return;
  }
  const auto& in = c.InputShape(0);
  const int axis = c.Axis(c.node().Int("axis"), static_cast<int>(in.size()));
  const auto sizes = SplitSizes(c, in[axis]);
  for (int i = 0; i < c.num_outputs(); ++i) {
    std::vector<Dim> out = in;
    out[axis] = sizes ? (*sizes)[i] : c.NewSymbol("split");
    c.SetOutput(i, dtype, std::move(out));
  }
}

void SplitContents(InferContext& c) {
  const auto contents = c.Contents(0);
  if (!contents || !c.HasRank(0) || c.InputType(0).Rank() != 1) return;
  size_t next = 0;
  for (int i = 0; i < c.num_outputs(); ++i) {
    if (!c.output_types[i].HasRank() || !(*c.output_types[i].shape)[0].IsConst()) return;
    const size_t size = (*c.output_types[i].shape)[0].Const();
    if (size > contents->size() - next) return;
    c.SetContents(i, {contents->begin() + next, contents->begin() + next + size});
    next += size;
  }
}

void InferExpand(InferContext& c) {
  c.ExpectRank(1, 1);
  const DType dtype = c.InputDType(0);
  if (const auto wanted = c.Contents(1)) {
    for (const Dim& dim : *wanted)
      if (dim.IsConst() && dim.Const() < 0) c.Fail("shape holds ", dim.Const());
    if (c.HasRank(0)) return c.SetOutput(0, dtype, c.BroadcastShapes(c.InputShape(0), *wanted));
    return c.SetUnranked(0, dtype);
  }
  if (!c.HasRank(0) || !c.HasRank(1) || !c.InputShape(1)[0].IsConst()) return c.SetUnranked(0, dtype);
  const int64_t rank = std::max<int64_t>(c.InputType(0).Rank(), c.InputShape(1)[0].Const());
  if (rank > kMaxRank) c.Fail("shape has ", rank, " dimensions, the most is ", kMaxRank);
  c.SetOutput(0, dtype, c.NewSymbols("expanded", static_cast<int>(rank)));
}

void ExpandContents(InferContext& c) {
  auto contents = c.Contents(0);
  const auto count = SmallCount(c.output_types[0]);
  if (!contents || !count) return;
  if (contents->size() == 1) contents->resize(*count, contents->front());
  if (static_cast<int64_t>(contents->size()) == *count) c.SetContents(0, std::move(*contents));
}

void InferTile(InferContext& c) {
  c.ExpectRank(1, 1);
  const auto repeats = c.Contents(1);
  if (!c.HasRank(0)) {
    if (!repeats) return c.SetUnranked(0, c.InputDType(0));
    return c.SetOutput(0, c.InputDType(0), c.NewSymbols("tiled", static_cast<int>(repeats->size())));
  }
  std::vector<Dim> out = c.InputShape(0);
  if (!repeats) return c.SetOutput(0, c.InputDType(0), c.NewSymbols("tiled", static_cast<int>(out.size())));
  if (repeats->size() != out.size()) c.Fail("repeats has ", repeats->size(), " values, expected ", out.size());
  for (size_t i = 0; i < out.size(); ++i) {
    if ((*repeats)[i].IsConst() && (*repeats)[i].Const() < 0) c.Fail("repeats holds ", (*repeats)[i].Const());
    out[i] = out[i] * (*repeats)[i];
  }
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void TileContents(InferContext& c) {
  const auto contents = c.Contents(0);
  const auto count = SmallCount(c.output_types[0]);
  if (!contents || contents->empty() || !count || !c.HasRank(0) || c.InputType(0).Rank() > 1) return;
  std::vector<Dim> out;
  for (int64_t i = 0; i < *count; ++i) out.push_back((*contents)[i % contents->size()]);
  c.SetContents(0, std::move(out));
}

void InferPad(InferContext& c) {
  Choice(c, "mode", {"constant", "reflect", "edge", "wrap"});
  c.ExpectRank(1, 1);
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0));
  std::vector<Dim> out = c.InputShape(0);
  const int rank = static_cast<int>(out.size());
  std::vector<int> axes(rank);
  for (int i = 0; i < rank; ++i) axes[i] = i;
  const auto pads = c.Contents(1);
  const auto listed = c.HasInput(3) ? c.Ints(3) : std::nullopt;
  if (!pads || (c.HasInput(3) && !listed)) return c.SetOutput(0, c.InputDType(0), c.NewSymbols("padded", rank));
  if (listed) axes = c.Axes(*listed, rank);
  if (pads->size() != 2 * axes.size()) c.Fail("pads has ", pads->size(), " values, expected ", 2 * axes.size());
  for (size_t i = 0; i < axes.size(); ++i) out[axes[i]] = out[axes[i]] + (*pads)[i] + (*pads)[i + axes.size()];
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

int64_t BlockSize(const InferContext& c) {
  const int64_t block = c.node().Int("blocksize");
  if (block < 1 || block > INT16_MAX) c.Fail("blocksize is ", block);
  return block;
}

void InferDepthToSpace(InferContext& c) {
  const int64_t block = BlockSize(c);
  Choice(c, "mode", {"DCR", "CRD"});
  c.ExpectRank(0, 4);
  if (!c.HasRank(0)) return c.SetOutput(0, c.InputDType(0), c.NewSymbols("space", 4));
  const auto& in = c.InputShape(0);
  if (in[1].IsConst() && in[1].Const() % (block * block) != 0)
    c.Fail(in[1].Const(), " channels do not divide into blocks of ", block, " by ", block);
  c.SetOutput(0, c.InputDType(0),
              {in[0], FloorDiv(in[1], Dim(block) * Dim(block)), in[2] * Dim(block), in[3] * Dim(block)});
}

void InferSpaceToDepth(InferContext& c) {
  const int64_t block = BlockSize(c);
  c.ExpectRank(0, 4);
  if (!c.HasRank(0)) return c.SetOutput(0, c.InputDType(0), c.NewSymbols("depth", 4));
  const auto& in = c.InputShape(0);
  for (int i : {2, 3})
    if (in[i].IsConst() && in[i].Const() % block != 0)
      c.Fail("dimension ", i, " is ", in[i].Const(), ", not a multiple of ", block);
  c.SetOutput(0, c.InputDType(0),
              {in[0], in[1] * Dim(block) * Dim(block), FloorDiv(in[2], block), FloorDiv(in[3], block)});
}

// Reshape to six dimensions, permute, reshape back. Dimensions that only running knows are 0 (kept) or -1 (inferred).
void ExpandBlocks(Expander& e, std::vector<Value*> split, const std::vector<int64_t>& perm,
                  std::vector<Value*> joined) {
  Value* y = e.Op("Reshape", {e.In(0), e.Join(std::move(split))});
  y = e.Op("Transpose", {y}, {{"perm", perm}});
  e.Return(0, e.Op("Reshape", {y, e.Join(std::move(joined))}));
}

void ExpandDepthToSpace(Expander& e) {
  const int64_t b = e.node().Int("blocksize");
  auto dim = [&e](int64_t i) { return e.ShapeOf(e.In(0), i, i + 1); };
  Value *n = dim(0), *h = dim(2), *w = dim(3), *block = e.Ints({b});
  Value* depth = e.Op("Div", {dim(1), e.Ints({b * b})});
  const std::vector<Value*> joined = {n, depth, e.Op("Mul", {h, block}), e.Op("Mul", {w, block})};
  if (e.node().String("mode") == "CRD")
    ExpandBlocks(e, {n, depth, block, block, h, w}, {0, 1, 4, 2, 5, 3}, joined);
  else
    ExpandBlocks(e, {n, block, block, depth, h, w}, {0, 3, 4, 1, 5, 2}, joined);
}

void ExpandSpaceToDepth(Expander& e) {
  const int64_t b = e.node().Int("blocksize");
  auto dim = [&e](int64_t i) { return e.ShapeOf(e.In(0), i, i + 1); };
  Value *n = dim(0), *c = dim(1), *block = e.Ints({b});
  Value *h = e.Op("Div", {dim(2), block}), *w = e.Op("Div", {dim(3), block});
  const std::vector<Value*> joined = {n, e.Op("Mul", {c, e.Ints({b * b})}), h, w};
  if (e.node().String("mode") == "CRD")
    ExpandBlocks(e, {n, c, h, block, w, block}, {0, 1, 3, 5, 2, 4}, joined);
  else
    ExpandBlocks(e, {n, c, h, block, w, block}, {0, 3, 5, 1, 2, 4}, joined);
}

}  // namespace

constexpr OpDef kOp_Concat = {
    .name = "Concat",
    .inputs = {{"inputs", kClassic, 'T', Param::kMany}},
    .attributes = {attr::Required(attr::Int("axis"))},
    .infer = InferConcat,
    .contents = ConcatContents,
};
constexpr OpDef kOp_Split = {
    .name = "Split",
    .inputs = {{"input", kClassic}, {"split", kInt64s, 0, Param::kOptional}},
    .max_outputs = -1,
    .attributes = {attr::Int("axis", 0), attr::Int("num_outputs")},
    .infer = InferSplit,
    .contents = SplitContents,
    .shape_inputs = {1},
};
constexpr OpDef kOp_Expand = {
    .name = "Expand",
    .inputs = {{"input", kClassic}, {"shape", kInt64s}},
    .infer = InferExpand,
    .contents = ExpandContents,
    .shape_inputs = {1},
};
constexpr OpDef kOp_Tile = {
    .name = "Tile",
    .inputs = {{"input", kClassic}, {"repeats", kInt64s}},
    .infer = InferTile,
    .contents = TileContents,
    .shape_inputs = {1},
};
constexpr OpDef kOp_Pad = {
    .name = "Pad",
    .inputs = {{"data", kAnyType, 'T'},
               {"pads", kInt64s},
               {"constant_value", kAnyType, 'T', Param::kOptional},
               {"axes", kIndices, 0, Param::kOptional}},
    .attributes = {attr::String("mode", "constant")},
    .infer = InferPad,
    .shape_inputs = {1, 3},
};
constexpr OpDef kOp_DepthToSpace = {
    .name = "DepthToSpace",
    .inputs = {{"input", kClassic}},
    .attributes = {attr::Required(attr::Int("blocksize")), attr::String("mode", "DCR")},
    .infer = InferDepthToSpace,
    .expand = ExpandDepthToSpace,
};
constexpr OpDef kOp_SpaceToDepth = {
    .name = "SpaceToDepth",
    .inputs = {{"input", kClassic}},
    .attributes = {attr::Required(attr::Int("blocksize")), attr::String("mode", "DCR")},
    .infer = InferSpaceToDepth,
    .expand = ExpandSpaceToDepth,
};

}  // namespace ziggurat
