// What cuts a tensor in parts cuts what it was made of, where a Transpose or a view stands between.
//
//   [b,s,3hd] -> Reshape -> [b,s,3,h,d] -> Transpose -> [3,b,h,s,d] -> Split -> [1,b,h,s,d] (three times)
//   [b,s,3hd] -> Split -> [b,s,hd] -> Reshape -> [b,s,1,h,d] -> Transpose -> [1,b,h,s,d]    (each)
//
// So vision transformers take queries, keys and values out of one product. The parts of that are read where they lie,
// and each one's Transpose may be part of attention.
#include <algorithm>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

using Dims = std::vector<Dim>;

// Each part gets a Transpose of its own: a step a part, where there was one for all of them.
constexpr int64_t kMostParts = 8;

// Parts of a tensor along an axis: part i is [bounds[i], bounds[i + 1]) and becomes outputs[i].
struct Cut {
  int64_t axis = 0;
  std::vector<int64_t> bounds;
  std::vector<Value*> outputs;
  bool drops_axis = false;  // a Gather of one index
};

std::optional<int64_t> OnlyInt(const Value* value) {
  const auto ints = value ? ReadInts(value) : std::nullopt;
  return ints && ints->size() == 1 ? std::optional((*ints)[0]) : std::nullopt;
}

std::optional<Cut> CutOfSlice(const Node& node, const Dims& shape) {
  const auto start = OnlyInt(node.Input(1)), end = OnlyInt(node.Input(2)), axis = OnlyInt(node.Input(3));
  if (!start || !end || !axis || (node.Input(4) && OnlyInt(node.Input(4)) != 1)) return std::nullopt;
  const int64_t rank = static_cast<int64_t>(shape.size()), at = *axis < 0 ? *axis + rank : *axis;
  if (at < 0 || at >= rank || !shape[static_cast<size_t>(at)].IsConst()) return std::nullopt;
  const int64_t size = shape[static_cast<size_t>(at)].Const();
  const auto bound = [&](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size); };
  if (*start < -size || bound(*start) >= bound(*end)) return std::nullopt;
  return Cut{at, {bound(*start), bound(*end)}, {node.Output(0)}};
}

std::optional<Cut> CutOfGather(const Node& node, const Dims& shape) {
  const int64_t rank = static_cast<int64_t>(shape.size()), axis = node.Int("axis", 0);
  const int64_t at = axis < 0 ? axis + rank : axis;
  const auto index = OnlyInt(node.Input(1));
  if (!index || node.Input(1)->type.Rank() != 0 || !shape[static_cast<size_t>(at)].IsConst()) return std::nullopt;
  const int64_t size = shape[static_cast<size_t>(at)].Const(), i = *index < 0 ? *index + size : *index;
  if (i < 0 || i >= size) return std::nullopt;
  return Cut{at, {i, i + 1}, {node.Output(0)}, true};
}

std::optional<Cut> CutOfSplit(const Node& node, const Dims& shape) {
  const int64_t rank = static_cast<int64_t>(shape.size()), axis = node.Int("axis", 0);
  Cut cut{axis < 0 ? axis + rank : axis, {0}, node.outputs};
  for (const Value* output : node.outputs) {
    if (!output || !output->type.HasRank()) return std::nullopt;
    const Dim& part = (*output->type.shape)[static_cast<size_t>(cut.axis)];
    if (!part.IsConst() || part.Const() < 1) return std::nullopt;
    cut.bounds.push_back(cut.bounds.back() + part.Const());
  }
  return shape[static_cast<size_t>(cut.axis)].IsConst(cut.bounds.back()) ? std::optional(cut) : std::nullopt;
}

std::optional<Cut> CutOf(const Node& node) {
  const Value* input = node.Input(0);
  if (!input || !input->type.HasRank() || input->type.Rank() == 0) return std::nullopt;
  if (node.op->Is("Slice")) return CutOfSlice(node, *input->type.shape);
  if (node.op->Is("Gather")) return CutOfGather(node, *input->type.shape);
  if (node.op->Is("Split")) return CutOfSplit(node, *input->type.shape);
  return std::nullopt;
}

// The same parts of `source` along `axis`, in units of `size`; one part is a Slice, more are a Split of the whole.
std::vector<Value*> Apply(Node& before, Value* source, int64_t axis, const Cut& cut, int64_t size) {
  Graph& graph = *before.graph;
  const auto ints = [&](std::vector<int64_t> values) { return graph.AddConstant(Constant::Int64s(values)); };
  if (cut.outputs.size() == 1)
    return {Insert(&before, "Slice",
                   {source, ints({cut.bounds[0] * size}), ints({cut.bounds[1] * size}), ints({axis}), ints({1})})};
  std::vector<int64_t> sizes;
  for (size_t i = 0; i < cut.outputs.size(); ++i) sizes.push_back((cut.bounds[i + 1] - cut.bounds[i]) * size);
  const std::vector<std::string> names(sizes.size());
  return graph.AddNode(GetOp("Split"), {source, ints(sizes)}, {{"axis", axis}}, names, before.name, &before)->outputs;
}

// The parts, made otherwise, take the place of the cut's outputs.
int Finish(Node& node, const Cut& cut, const std::vector<Value*>& parts) {
  std::vector<Value*> made;
  for (size_t i = 0; i < parts.size(); ++i) {
    made.push_back(cut.drops_axis && parts[i] ? ViewAs(node, parts[i], *cut.outputs[i]->type.shape) : parts[i]);
    if (!made[i] || made[i]->type.shape != cut.outputs[i]->type.shape) return 0;
  }
  int rewrites = 0;
  for (size_t i = 0; i < made.size(); ++i) rewrites += Replace(cut.outputs[i], made[i]);
  return rewrites;
}

// Whether all that reads the value cuts it: otherwise the whole would have to be made beside its parts.
bool IsOnlyCut(const Value* value) {
  return !value->graph_output_uses && value->users.size() <= kMostParts &&
         std::all_of(value->users.begin(), value->users.end(), [&](const Node* user) {
           return user->graph == value->graph && user->Input(0) == value && CutOf(*user);
         });
}

// The dimension of `from` that `to`'s axis is the outermost part of, with the elements of that part; nullopt where it
// is part of no single dimension.
struct Place {
  int64_t axis, elements;
};
std::optional<Place> PlaceIn(const Dims& from, const Dims& to, int64_t axis) {
  Dim before(1), whole(1);
  for (int64_t i = 0; i < axis; ++i) before = before * to[static_cast<size_t>(i)];
  for (size_t i = 0; i < from.size(); ++i) {
    if (whole == before && !from[i].IsConst(1)) {
      if (!from[i].IsConst()) return std::nullopt;
      const int64_t extent = to[static_cast<size_t>(axis)].Const(), count = from[i].Const();
      int64_t elements = 1;
      for (size_t j = static_cast<size_t>(axis) + 1; j < to.size() && elements < count / extent; ++j) {
        if (!to[j].IsConst() || to[j].Const() < 1 || to[j].Const() > count) return std::nullopt;
        if (__builtin_mul_overflow(elements, to[j].Const(), &elements)) return std::nullopt;
      }
      if (count % extent != 0 || elements != count / extent) return std::nullopt;
      return Place{static_cast<int64_t>(i), elements};
    }
    whole = whole * from[i];
  }
  return std::nullopt;
}

int LiftOverTranspose(Node& node, const Cut& cut) {
  const Node& transpose = *node.Input(0)->producer;
  const std::vector<int64_t> perm = transpose.Ints("perm");
  const int64_t whole = (*node.Input(0)->type.shape)[static_cast<size_t>(cut.axis)].Const();
  if (perm.empty() || (cut.bounds[1] - cut.bounds[0]) * kMostParts < whole) return 0;
  const int64_t axis = perm[static_cast<size_t>(cut.axis)];
  // Worth it where the parts then are ranges of what was viewed; else they would only be transposed one by one.
  Value* source = transpose.Input(0);
  const Node* view = source->producer;
  if (!IsViewOf(view, source) || !PlaceIn(*view->Input(0)->type.shape, *source->type.shape, axis)) return 0;
  std::vector<Value*> parts = Apply(node, source, axis, cut, 1);
  for (Value*& part : parts) part = Insert(&node, "Transpose", {part}, {{"perm", perm}});
  return Finish(node, cut, parts);
}

int LiftOverView(Node& node, const Cut& cut) {
  Value* source = node.Input(0)->producer->Input(0);
  const Dims& to = *node.Input(0)->type.shape;
  const auto place = PlaceIn(*source->type.shape, to, cut.axis);
  if (!place) return 0;
  std::vector<Value*> parts = Apply(node, source, place->axis, cut, place->elements);
  for (size_t i = 0; i < parts.size(); ++i) {
    Dims shape = to;
    shape[static_cast<size_t>(cut.axis)] = Dim(cut.bounds[i + 1] - cut.bounds[i]);
    parts[i] = ViewAs(node, parts[i], shape);
  }
  return Finish(node, cut, parts);
}

int Run(Graph& graph, PassContext&) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph)) {
    const auto cut = CutOf(*node);
    Node* producer = cut ? node->Input(0)->producer : nullptr;
    if (!producer || producer->graph != &graph || !producer->Input(0)->type.HasRank()) continue;
    if (std::any_of(cut->outputs.begin(), cut->outputs.end(), [](const Value* v) { return v->IsUnused(); })) continue;
    if (producer->op->Is("Transpose") && IsOnlyCut(node->Input(0)))
      rewrites += LiftOverTranspose(*node, *cut);
    else if (IsViewOf(producer, node->Input(0)))
      rewrites += LiftOverView(*node, *cut);
  }
  return rewrites;
}

}  // namespace

const Pass kLiftCuts = {
    .name = "lift_cuts",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "a part along an axis is a part along the axis that it came from; elements keep their order",
    .run = Run,
    .repeat = true,
};

}  // namespace ziggurat
