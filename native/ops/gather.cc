// Ops that pick elements by index, or put them there.
#include <algorithm>

#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

void InferGather(InferContext& c) {
  c.ExpectRank(0, 1, kMaxRank);
  if (!c.HasRank(0) || !c.HasRank(1)) return c.SetUnranked(0, c.InputDType(0));
  const auto &data = c.InputShape(0), &indices = c.InputShape(1);
  const int axis = c.Axis(c.node().Int("axis"), static_cast<int>(data.size()));
  std::vector<Dim> out(data.begin(), data.begin() + axis);
  out.insert(out.end(), indices.begin(), indices.end());
  out.insert(out.end(), data.begin() + axis + 1, data.end());
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void GatherContents(InferContext& c) {
  const auto data = c.Contents(0);
  const auto indices = c.Ints(1);
  if (!data || !indices || !c.HasRank(0) || c.InputType(0).Rank() != 1) return;
  const int64_t size = static_cast<int64_t>(data->size());
  std::vector<Dim> out;
  for (int64_t index : *indices) {
    if (index < -size || index >= size) c.Fail("index ", index, " is out of range for ", size, " elements");
    out.push_back((*data)[index < 0 ? index + size : index]);
  }
  c.SetContents(0, std::move(out));
}

void InferGatherElements(InferContext& c) {
  if (c.HasRank(0) && c.HasRank(1) && c.InputType(0).Rank() != c.InputType(1).Rank())
    c.Fail("data has rank ", c.InputType(0).Rank(), " and indices ", c.InputType(1).Rank());
  if (c.HasRank(0)) c.Axis(c.node().Int("axis"), c.InputType(0).Rank());
  c.SetOutput(0, Type::Tensor(c.InputDType(0), c.InputType(1).shape));
}

void InferGatherND(InferContext& c) {
  c.ExpectRank(0, 1, kMaxRank);
  c.ExpectRank(1, 1, kMaxRank);
  if (!c.HasRank(0) || !c.HasRank(1)) return c.SetUnranked(0, c.InputDType(0));
  const auto &data = c.InputShape(0), &indices = c.InputShape(1);
  const int64_t batch = c.node().Int("batch_dims");
  if (batch < 0 || batch >= static_cast<int64_t>(std::min(data.size(), indices.size())))
    c.Fail("batch_dims is ", batch, " for ranks ", data.size(), " and ", indices.size());
  for (int64_t i = 0; i < batch; ++i) c.Same(data[i], indices[i], Cat("batch dimensions ", i));
  if (!indices.back().IsConst()) return c.SetUnranked(0, c.InputDType(0));
  const int64_t depth = indices.back().Const();
  if (depth < 1 || batch + depth > static_cast<int64_t>(data.size()))
    c.Fail("indices name ", depth, " axes, data has ", data.size() - batch);
  std::vector<Dim> out(indices.begin(), indices.end() - 1);
  out.insert(out.end(), data.begin() + batch + depth, data.end());
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void InferScatterElements(InferContext& c) {
  if (c.node().op->FindAttribute("reduction")) Choice(c, "reduction", {"none", "add", "mul", "max", "min"});
  if (c.HasRank(1) && c.HasRank(2)) {
    const auto &indices = c.InputShape(1), &updates = c.InputShape(2);
    if (indices.size() != updates.size()) c.Fail("indices have rank ", indices.size(), " and updates ", updates.size());
    for (size_t i = 0; i < indices.size(); ++i) c.Same(indices[i], updates[i], "dimensions of indices and updates");
  }
  if (c.HasRank(0)) {
    c.Axis(c.node().Int("axis"), c.InputType(0).Rank());
    c.ExpectRank(1, c.InputType(0).Rank());
  }
  c.CopyType(0);
}

// Scatter was renamed when it learned reductions.
void ExpandScatter(Expander& e) {
  e.Return(0, e.Op("ScatterElements", {e.In(0), e.In(1), e.In(2)}, {{"axis", e.node().Int("axis")}}));
}

void InferScatterND(InferContext& c) {
  Choice(c, "reduction", {"none", "add", "mul", "max", "min"});
  c.ExpectRank(0, 1, kMaxRank);
  c.ExpectRank(1, 1, kMaxRank);
  if (c.HasRank(0) && c.HasRank(1) && c.HasRank(2) && c.InputShape(1).back().IsConst()) {
    const auto &data = c.InputShape(0), &indices = c.InputShape(1);
    const int64_t depth = indices.back().Const();
    if (depth < 1 || depth > static_cast<int64_t>(data.size()))
      c.Fail("indices name ", depth, " axes, data has ", data.size());
    std::vector<Dim> expected(indices.begin(), indices.end() - 1);
    expected.insert(expected.end(), data.begin() + depth, data.end());
    const auto& updates = c.InputShape(2);
    if (updates.size() != expected.size())
      c.Fail("updates have shape ", ToString(c, updates), ", expected ", ToString(c, expected));
    for (size_t i = 0; i < updates.size(); ++i) c.Same(updates[i], expected[i], "dimensions of updates and of slices");
  }
  c.CopyType(0);
}

void InferTensorScatter(InferContext& c) {
  Choice(c, "mode", {"linear", "circular"});
  c.ExpectRank(2, 1);
  if (c.HasRank(0)) {
    c.ExpectRank(1, c.InputType(0).Rank());
    c.Axis(c.node().Int("axis"), c.InputType(0).Rank());
  }
  c.CopyType(0);
}

void InferOneHot(InferContext& c) {
  c.ExpectRank(1, 0, 1);
  c.ExpectRank(2, 1);
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(2));
  std::vector<Dim> out = c.InputShape(0);
  const int axis = c.Axis(c.node().Int("axis"), static_cast<int>(out.size()) + 1);
  Dim depth;
  if (const auto known = c.Contents(1)) {
    if (known->size() != 1) c.Fail("depth has ", known->size(), " elements, expected 1");
    depth = (*known)[0];
  } else if (const auto number = c.Floats(1); number && number->size() == 1) {
    const float value = (*number)[0];
    if (!(value >= 0 && value < 2147483648.0f)) c.Fail("depth is ", value);
    depth = static_cast<int64_t>(value);
  } else {
    depth = c.NewSymbol("depth");
  }
  out.insert(out.begin() + axis, depth);
  c.SetOutput(0, c.InputDType(2), std::move(out));
}

void InferReverseSequence(InferContext& c) {
  c.ExpectRank(0, 2, kMaxRank);
  c.ExpectRank(1, 1);
  const int64_t batch = c.node().Int("batch_axis"), time = c.node().Int("time_axis");
  if (batch == time) c.Fail("batch_axis and time_axis are both ", batch);
  if (c.HasRank(0)) {
    const auto& in = c.InputShape(0);
    c.Axis(time, static_cast<int>(in.size()));
    const int axis = c.Axis(batch, static_cast<int>(in.size()));
    if (c.HasRank(1)) c.Same(in[axis], c.InputShape(1)[0], "batch and the length of sequence_lens");
  }
  c.CopyType(0);
}

void InferTrilu(InferContext& c) {
  c.ExpectRank(0, 2, kMaxRank);
  c.ExpectRank(1, 0, 1);
  c.CopyType(0);
}

void InferNonZero(InferContext& c) {
  const Dim rank = c.HasRank(0) ? Dim(std::max(c.InputType(0).Rank(), 1)) : c.NewSymbol("rank");
  c.SetOutput(0, DType::kInt64, {rank, c.NewSymbol("nonzero")});
}

void InferCompress(InferContext& c) {
  c.ExpectRank(1, 1);
  std::optional<std::vector<Dim>> out;
  if (!c.node().Has("axis")) {
    out = std::vector<Dim>{c.NewSymbol("kept")};
  } else if (c.HasRank(0)) {
    out = c.InputShape(0);
    (*out)[c.Axis(c.node().Int("axis"), static_cast<int>(out->size()))] = c.NewSymbol("kept");
  } else if (c.concrete()) {
    c.NewSymbol("kept");
  }
  c.SetOutput(0, Type::Tensor(c.InputDType(0), std::move(out)));
}

void InferUnique(InferContext& c) {
  const Dim count = c.NewSymbol("unique");
  std::vector<Dim> all = {c.HasRank(0) ? Product(c.InputShape(0)) : c.NewSymbol("elements")};
  std::optional<std::vector<Dim>> out = std::vector<Dim>{count};
  if (c.node().Has("axis")) {
    out.reset();
    if (c.HasRank(0)) {
      out = c.InputShape(0);
      const int axis = c.Axis(c.node().Int("axis"), static_cast<int>(out->size()));
      all = {(*out)[axis]};
      (*out)[axis] = count;
    }
  }
  c.SetOutput(0, Type::Tensor(c.InputDType(0), std::move(out)));
  c.SetOutput(1, DType::kInt64, {count});
  c.SetOutput(2, DType::kInt64, std::move(all));
  c.SetOutput(3, DType::kInt64, {count});
}

}  // namespace

constexpr OpDef kOp_Gather = {
    .name = "Gather",
    .inputs = {{"data", kClassic}, {"indices", kIndices}},
    .attributes = {attr::Int("axis", 0)},
    .infer = InferGather,
    .contents = GatherContents,
};
constexpr OpDef kOp_GatherElements = {
    .name = "GatherElements",
    .inputs = {{"data", kClassic}, {"indices", kIndices}},
    .attributes = {attr::Int("axis", 0)},
    .infer = InferGatherElements,
};
constexpr OpDef kOp_GatherND = {
    .name = "GatherND",
    .inputs = {{"data", kClassic}, {"indices", kInt64s}},
    .attributes = {attr::Int("batch_dims", 0)},
    .infer = InferGatherND,
};
constexpr OpDef kOp_ScatterElements = {
    .name = "ScatterElements",
    .inputs = {{"data", kClassic, 'T'}, {"indices", kIndices}, {"updates", kClassic, 'T'}},
    .attributes = {attr::Int("axis", 0), attr::String("reduction", "none")},
    .infer = InferScatterElements,
};
constexpr OpDef kOp_ScatterND = {
    .name = "ScatterND",
    .inputs = {{"data", kClassic, 'T'}, {"indices", kInt64s}, {"updates", kClassic, 'T'}},
    .attributes = {attr::String("reduction", "none")},
    .infer = InferScatterND,
};
constexpr OpDef kOp_TensorScatter = {
    .name = "TensorScatter",
    .inputs = {{"past_cache", kAnyType, 'T'},
               {"update", kAnyType, 'T'},
               {"write_indices", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("axis", -2), attr::String("mode", "linear")},
    .infer = InferTensorScatter,
};
constexpr OpDef kOp_ReverseSequence = {
    .name = "ReverseSequence",
    .inputs = {{"input", kClassic}, {"sequence_lens", kInt64s}},
    .attributes = {attr::Int("batch_axis", 1), attr::Int("time_axis", 0)},
    .infer = InferReverseSequence,
};
constexpr OpDef kOp_Trilu = {
    .name = "Trilu",
    .inputs = {{"input", kClassic}, {"k", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("upper", 1)},
    .infer = InferTrilu,
};
constexpr OpDef kOp_Scatter = {
    .name = "Scatter",
    .inputs = {{"data", kClassic, 'T'}, {"indices", kIndices}, {"updates", kClassic, 'T'}},
    .attributes = {attr::Int("axis", 0)},
    .infer = InferScatterElements,
    .expand = ExpandScatter,
};
constexpr OpDef kOp_OneHot = {
    .name = "OneHot",
    .inputs = {{"indices", kNumbers}, {"depth", kNumbers}, {"values", kClassic}},
    .attributes = {attr::Int("axis", -1)},
    .infer = InferOneHot,
    .shape_inputs = {1},
};
constexpr OpDef kOp_NonZero = {
    .name = "NonZero",
    .inputs = {{"X", kClassic}},
    .infer = InferNonZero,
    .flags = kKernelShaped,
};
constexpr OpDef kOp_Compress = {
    .name = "Compress",
    .inputs = {{"input", kClassic}, {"condition", kBools}},
    .attributes = {attr::Int("axis")},
    .infer = InferCompress,
    .flags = kKernelShaped,
};
constexpr OpDef kOp_Unique = {
    .name = "Unique",
    .inputs = {{"X", kClassic}},
    .max_outputs = 4,
    .attributes = {attr::Int("axis"), attr::Int("sorted", 1)},
    .infer = InferUnique,
    .flags = kKernelShaped,
};

}  // namespace ziggurat
