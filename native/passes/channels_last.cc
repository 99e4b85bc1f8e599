// Moves convolutional nets to tensors whose channels come last, [N, spatial..., C].
//
// There a convolution is a product of pixels and channels that reads and writes whole rows: nothing is gathered, and
// depthwise kernels, pools and means work on registers of channels. Each convolution becomes zig.FusedConv with
// channels_last between two Transposes; whatever follows and does not care about the order of axes is moved in front of
// the second one. Where the next convolution begins, the two Transposes meet and vanish. What remains are those where
// an island of the net begins and ends.
#include <algorithm>
#include <cmath>

#include "passes/epilogue.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

// Axis i of the result is axis perm[i] of the operand.
std::vector<int64_t> ToFirst(int rank) {
  std::vector<int64_t> perm = {0, rank - 1};
  for (int i = 1; i + 1 < rank; ++i) perm.push_back(i);
  return perm;
}
std::vector<int64_t> ToLast(int rank) {
  std::vector<int64_t> perm = {0};
  for (int i = 2; i < rank; ++i) perm.push_back(i);
  perm.push_back(1);
  return perm;
}
// Where an axis of [N, C, spatial...] lies in [N, spatial..., C].
int64_t Moved(int64_t axis, int rank) { return axis == 0 ? 0 : axis == 1 ? rank - 1 : axis - 1; }
// The same of an attribute's axis, which may count from the end; nothing where it names none.
std::optional<int64_t> MovedAxis(int64_t axis, int rank) {
  if (axis < 0) axis += rank;
  return axis < 0 || axis >= rank ? std::nullopt : std::optional<int64_t>(Moved(axis, rank));
}

// The channels-last tensor that a value is the transposition of; null where it is none.
Value* LastForm(const Value* value) {
  if (!value || !value->type.HasRank() || value->type.Rank() < 3) return nullptr;
  const Node* producer = value->producer;
  if (!producer || producer->graph != value->graph || !producer->op->Is("Transpose")) return nullptr;
  return producer->Ints("perm") == ToFirst(value->type.Rank()) ? producer->Input(0) : nullptr;
}

// A value with its channels last, for a node that is inserted before `before`.
Value* Last(Value* value, Node* before) {
  if (Value* form = LastForm(value)) return form;
  return Insert(before, "Transpose", {value}, {{"perm", ToLast(value->type.Rank())}});
}

// The node's output becomes the transposition of `last`.
bool ReplaceByLast(Node& node, size_t output, Value* last) {
  Value* from = node.Output(output);
  return Replace(from, Insert(&node, "Transpose", {last}, {{"perm", ToFirst(from->type.Rank())}}));
}

// The node's attributes that `op` has too.
Attributes Shared(const Node& node, const OpDef& op) {
  Attributes attributes;
  for (const auto& [name, value] : node.attributes)
    if (op.FindAttribute(name)) attributes[name] = value;
  return attributes;
}

bool OnlyFirstOutput(const Node& node) {
  for (size_t i = 1; i < node.outputs.size(); ++i)
    if (node.outputs[i] && !node.outputs[i]->IsUnused()) return false;
  return true;
}

// ---- what begins an island ----

bool MayBeginIsland(const Node& node) {
  if (!node.op->Is("Conv") && node.op != &GetOp("FusedConv", "zig")) return false;
  if (node.Int("channels_last") != 0) return false;
  const Value *x = node.Input(0), *w = node.Input(1), *y = node.Output(0);
  return y && x->type.dtype == DType::kFloat32 && x->type.HasRank() && x->type.Rank() >= 3 && y->type.HasRank() &&
         w->IsConstant() && w->constant->shape().Count() > 0;
}

bool MoveConv(Node& node) {
  std::vector<Value*> inputs = node.inputs;
  inputs[0] = Last(inputs[0], &node);
  if (inputs.size() > 3 && inputs[3]) inputs[3] = Last(inputs[3], &node);
  Attributes attributes = node.attributes;
  attributes["channels_last"] = int64_t{1};
  return ReplaceByLast(node, 0, InsertZig(&node, "FusedConv", std::move(inputs), std::move(attributes)));
}

// ---- what continues one ----

bool MovePool(Node& node, Value* x) {
  if (!OnlyFirstOutput(node) || x->type.dtype != DType::kFloat32) return false;
  Attributes attributes = Shared(node, GetOp("ChannelsLastPool", "zig"));
  attributes["kind"] = std::string(node.op->Is("MaxPool") ? "max" : "average");
  return ReplaceByLast(node, 0, InsertZig(&node, "ChannelsLastPool", {x}, std::move(attributes)));
}

bool MoveLrn(Node& node, Value* x) {
  if (x->type.dtype != DType::kFloat32) return false;
  return ReplaceByLast(node, 0, InsertZig(&node, "ChannelsLastLRN", {x}, node.attributes));
}

bool MoveGlobalPool(Graph& graph, Node& node, Value* x) {
  std::vector<int64_t> axes;
  for (int i = 1; i + 1 < x->type.Rank(); ++i) axes.push_back(i);
  const char* reduce = node.op->Is("GlobalAveragePool") ? "ReduceMean" : "ReduceMax";
  return ReplaceByLast(node, 0, Insert(&node, reduce, {x, graph.AddConstant(Constant::Int64s(axes))}));
}

bool MoveReduce(Graph& graph, Node& node, Value* x) {
  const auto axes = ReadInts(node.Input(1));
  const int rank = x->type.Rank();
  if (!axes || axes->empty()) return false;
  std::vector<int64_t> moved;
  for (int64_t axis : *axes) {
    const auto to = MovedAxis(axis, rank);
    if (!to) return false;
    moved.push_back(*to);
  }
  std::sort(moved.begin(), moved.end());
  const bool keeps = node.Int("keepdims", 1) != 0;
  // Without the reduced axes what is left has an order of its own: the same one if only N and C are left.
  bool all_spatial = static_cast<int>(moved.size()) == rank - 2;
  for (size_t i = 0; i < moved.size(); ++i) all_spatial &= moved[i] == static_cast<int64_t>(i) + 1;
  if (!keeps && !all_spatial) return false;
  Value* made = Insert(&node, node.op->name, {x, graph.AddConstant(Constant::Int64s(moved))}, node.attributes);
  return keeps ? ReplaceByLast(node, 0, made) : Replace(node.Output(0), made);
}

bool MovePad(Graph& graph, Node& node, Value* x) {
  const auto pads = ReadInts(node.Input(1));
  const int rank = x->type.Rank();
  if (!pads || static_cast<int>(pads->size()) != 2 * rank || node.Input(3)) return false;
  std::vector<int64_t> moved(pads->size());
  for (int axis = 0; axis < rank; ++axis)
    for (int side = 0; side < 2; ++side) moved[Moved(axis, rank) + side * rank] = (*pads)[axis + side * rank];
  std::vector<Value*> inputs = node.inputs;
  inputs[0] = x, inputs[1] = graph.AddConstant(Constant::Int64s(moved));
  return ReplaceByLast(node, 0, Insert(&node, "Pad", std::move(inputs), node.attributes));
}

// What a chain of nodes does to channel c: scale[c] * x + shift[c].
struct Affine {
  std::vector<double> scale, shift;
  Node* last = nullptr;
};

// A BatchNormalization of constants, with the Mul and Add of channels that some exporters split off it.
std::optional<Affine> AffineFrom(Graph& graph, Node& node) {
  const auto scale = ReadReals(node.Input(1)), bias = ReadReals(node.Input(2)), mean = ReadReals(node.Input(3)),
             variance = ReadReals(node.Input(4));
  if (node.Int("training_mode") || !OnlyFirstOutput(node) || !scale || !bias || !mean || !variance) return std::nullopt;
  const size_t channels = scale->size();
  if (bias->size() != channels || mean->size() != channels || variance->size() != channels) return std::nullopt;
  Affine affine{{}, {}, &node};
  for (size_t c = 0; c < channels; ++c) {
    affine.scale.push_back((*scale)[c] / std::sqrt((*variance)[c] + static_cast<double>(node.Float("epsilon", 1e-5f))));
    affine.shift.push_back((*bias)[c] - (*mean)[c] * affine.scale[c]);
  }
  while (UsedOnce(affine.last->Output(0))) {
    const Value* y = affine.last->Output(0);
    Node* next = y->users[0];
    const bool mul = next->op->Is("Mul");
    if ((!mul && !next->op->Is("Add")) || !SameType(y, next->Output(0))) break;
    const Value* other = next->Input(0) == y ? next->Input(1) : next->Input(0);
    const auto along = AlongAxis(other, *y->type.shape, 1);
    const auto values = along ? ReadReals(graph.AddConstant(along)) : std::nullopt;  // swept: it gets no use
    if (!values || values->size() != channels) break;
    for (size_t c = 0; c < channels; ++c) {
      if (mul) affine.scale[c] *= (*values)[c];
      affine.shift[c] = mul ? affine.shift[c] * (*values)[c] : affine.shift[c] + (*values)[c];
    }
    affine.last = next;
  }
  return affine;
}

bool MoveBatchNorm(Graph& graph, Node& node, Value* x) {
  const auto affine = AffineFrom(graph, node);
  if (!affine || x->type.dtype != DType::kFloat32) return false;
  const Shape channels{static_cast<int64_t>(affine->scale.size())};
  Node* at = affine->last;
  Value* y = Insert(at, "Mul", {x, graph.AddConstant(MakeReals(DType::kFloat32, channels, affine->scale))});
  y = Insert(at, "Add", {y, graph.AddConstant(MakeReals(DType::kFloat32, channels, affine->shift))});
  return ReplaceByLast(*at, 0, y);
}

bool MoveConcat(Node& node) {
  const int rank = node.Output(0)->type.HasRank() ? node.Output(0)->type.Rank() : 0;
  size_t last = 0;
  for (const Value* input : node.inputs) last += LastForm(input) != nullptr;
  const auto axis = MovedAxis(node.Int("axis"), rank);
  if (2 * last < node.inputs.size() || !axis) return false;
  std::vector<Value*> inputs;
  for (Value* input : node.inputs) inputs.push_back(Last(input, &node));
  return ReplaceByLast(node, 0, Insert(&node, "Concat", std::move(inputs), {{"axis", *axis}}));
}

bool MoveSplit(Graph& graph, Node& node, Value* x) {
  const auto axis = MovedAxis(node.Int("axis"), x->type.Rank());
  if (!axis) return false;
  std::vector<Value*> inputs = node.inputs;
  inputs[0] = x;
  Attributes attributes = node.attributes;
  attributes["axis"] = *axis;
  std::vector<std::string> names;
  for (const Value* output : node.outputs) names.push_back(output ? "" : "-");
  const Node* made = graph.AddNode(*node.op, std::move(inputs), std::move(attributes), names, node.name, &node);
  bool changed = false;
  for (size_t i = 0; i < node.outputs.size(); ++i)
    if (node.outputs[i]) changed |= ReplaceByLast(node, i, made->outputs[i]);
  return changed;
}

// Exporters write a Split of known sizes as Slices, too.
bool MoveSlice(Graph& graph, Node& node, Value* x) {
  const auto starts = ReadInts(node.Input(1)), given = ReadInts(node.Input(3));
  // The four vectors have one type.
  if (!starts || (node.Input(3) && !given) || node.Input(1)->type.dtype != DType::kInt64) return false;
  std::vector<int64_t> axes;
  for (size_t i = 0; i < starts->size(); ++i) {
    const auto axis = MovedAxis(given && i < given->size() ? (*given)[i] : static_cast<int64_t>(i), x->type.Rank());
    if (!axis) return false;
    axes.push_back(*axis);
  }
  std::vector<Value*> inputs = node.inputs;
  inputs.resize(std::max<size_t>(inputs.size(), 4), nullptr);
  inputs[0] = x, inputs[3] = graph.AddConstant(Constant::Int64s(axes));
  return ReplaceByLast(node, 0, Insert(&node, "Slice", std::move(inputs)));
}

// ShuffleNet's exchange between groups: [N, g, c, H, W] of the channels, g and c swapped, and back.
bool MoveShuffle(Graph& graph, Node& node, Value* x) {
  const Value* split = node.Output(0);
  if (!split->type.HasRank() || split->type.Rank() != x->type.Rank() + 1 || !UsedOnce(split)) return false;
  const int rank = x->type.Rank();
  Node* swap = split->users[0];
  std::vector<int64_t> perm = {0, 2, 1};
  for (int i = 3; i <= rank; ++i) perm.push_back(i);
  if (!swap->op->Is("Transpose") || swap->Ints("perm") != perm || !UsedOnce(swap->Output(0))) return false;
  Node* join = swap->Output(0)->users[0];
  if (!join->op->Is("Reshape") || join->Input(0) != swap->Output(0)) return false;
  const std::vector<Dim>&in = *node.Input(0)->type.shape, &groups = *split->type.shape;
  if (!join->Output(0)->type.HasRank() || *join->Output(0)->type.shape != in) return false;
  bool same = groups[0] == in[0] && groups[1].IsConst() && groups[2].IsConst() && in[1].IsConst();
  for (int i = 2; i < rank; ++i) same &= groups[i + 1] == in[i];
  if (!same || groups[1].Const() < 1 || groups[2].Const() < 1) return false;
  std::vector<int64_t> apart(rank - 1, 0), together(rank - 1, 0), swapped;
  apart.push_back(groups[1].Const()), apart.push_back(groups[2].Const());
  together.push_back(in[1].Const());
  for (int i = 0; i < rank - 1; ++i) swapped.push_back(i);
  swapped.push_back(rank), swapped.push_back(rank - 1);
  Value* y = Insert(join, "Reshape", {x, graph.AddConstant(Constant::Int64s(apart))});
  y = Insert(join, "Transpose", {y}, {{"perm", swapped}});
  y = Insert(join, "Reshape", {y, graph.AddConstant(Constant::Int64s(together))});
  return ReplaceByLast(*join, 0, y);
}

bool IsElementwise(const Node& node) {
  static constexpr std::string_view kOps[] = {"Abs",         "Add",
                                              "Cast",        "Ceil",
                                              "Celu",        "Clip",
                                              "Div",         "Elu",
                                              "Erf",         "Exp",
                                              "Floor",       "Gelu",
                                              "Log",         "Max",
                                              "Mean",        "Min",
                                              "HardSigmoid", "Mish",
                                              "Mul",         "Neg",
                                              "PRelu",       "Pow",
                                              "Relu",        "Round",
                                              "Selu",        "Sigmoid",
                                              "HardSwish",   "Softplus",
                                              "Sqrt",        "Softsign",
                                              "Sub",         "Sum",
                                              "Tanh",        "Swish",
                                              "Sign",        "LeakyRelu",
                                              "Reciprocal",  "ThresholdedRelu"};
  return node.op->domain.empty() && std::find(std::begin(kOps), std::end(kOps), node.op->name) != std::end(kOps);
}

// A constant operand that broadcasts to rank `rank`, with its channels last; null where it has no such form.
Value* MovedConstant(Graph& graph, Value* value, int rank) {
  const Shape& shape = value->constant->shape();
  if (shape.rank() > rank || ByteSize(value->type.dtype) == 0 || !value->type.encoding.IsPlain()) return nullptr;
  if (shape.Count() == 1) return value;
  const int shift = rank - shape.rank();
  int64_t wide = -1;
  Shape moved;
  for (int i = 0; i < rank; ++i) moved.push_back(1);
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == 1) continue;
    if (wide >= 0) return nullptr;  // two axes: their order would change
    wide = i + shift;
    moved[static_cast<int>(Moved(wide, rank))] = shape[i];
  }
  const TensorView view = value->constant->View();
  const size_t bytes = static_cast<size_t>(view.Count()) * ByteSize(view.dtype);
  return graph.AddConstant(Constant::Copy(view.dtype, moved, view.data, bytes));
}

bool MoveElementwise(Graph& graph, Node& node) {
  const Value* y = node.Output(0);
  if (!y->type.HasRank() || y->type.Rank() < 3 || !OnlyFirstOutput(node)) return false;
  const int rank = y->type.Rank();
  std::vector<Value*> inputs = node.inputs;
  for (Value*& input : inputs) {
    if (!input || LastForm(input)) continue;
    if (input->IsConstant()) {
      Value* moved = MovedConstant(graph, input, rank);
      if (moved) {
        input = moved;
        continue;
      }
    }
    // Clip's bounds are scalars; of other operands only those of the full rank can be transposed.
    if (!input->type.HasRank() || (input->type.Rank() != rank && input->type.Rank() != 0)) return false;
  }
  for (Value*& input : inputs)
    if (input && input->type.HasRank() && input->type.Rank() == rank && !input->IsConstant())
      input = Last(input, &node);
  return ReplaceByLast(node, 0, Insert(&node, node.op->name, std::move(inputs), node.attributes));
}

bool Continue(Graph& graph, Node& node) {
  const OpDef& op = *node.op;
  if (node.outputs.empty() || !node.Output(0)) return false;
  if (op.Is("Concat")) return MoveConcat(node);
  const bool any = std::any_of(node.inputs.begin(), node.inputs.end(), LastForm);
  if (!any) return false;
  if (IsElementwise(node)) return MoveElementwise(graph, node);
  Value* x = LastForm(node.Input(0));
  if (!x) return false;
  if (op.Is("MaxPool") || op.Is("AveragePool")) return MovePool(node, x);
  if (op.Is("GlobalAveragePool") || op.Is("GlobalMaxPool")) return MoveGlobalPool(graph, node, x);
  if (op.Is("ReduceMean") || op.Is("ReduceMax") || op.Is("ReduceSum")) return MoveReduce(graph, node, x);
  if (op.Is("BatchNormalization")) return MoveBatchNorm(graph, node, x);
  if (op.Is("LRN")) return MoveLrn(node, x);
  if (op.Is("Pad")) return MovePad(graph, node, x);
  if (op.Is("Split")) return MoveSplit(graph, node, x);
  if (op.Is("Slice")) return MoveSlice(graph, node, x);
  if (op.Is("Reshape")) return MoveShuffle(graph, node, x);
  return false;
}

// A device that has the pool has the convolution: they come together.
bool Supported(const PassContext& context) {
  return context.Supports(GetOp("FusedConv", "zig"), DType::kFloat32) &&
         context.Supports(GetOp("ChannelsLastPool", "zig"), DType::kFloat32);
}

// Two Transposes around a single convolution cost more than its order of axes gains.
constexpr int kLeastConvs = 2;

int Run(Graph& graph, PassContext& context) {
  if (!Supported(context)) return 0;
  const std::vector<Node*> nodes = NodesOf(graph);
  if (std::count_if(nodes.begin(), nodes.end(), [](const Node* node) { return MayBeginIsland(*node); }) < kLeastConvs)
    return 0;
  int rewrites = 0;
  for (Node* node : nodes) {
    if (!node->Output(0) || node->Output(0)->IsUnused()) continue;
    rewrites += MayBeginIsland(*node) ? MoveConv(*node) : Continue(graph, *node);
  }
  return rewrites;
}

}  // namespace

const Pass kChannelsLast = {
    .name = "channels_last",
    .exactness = Exactness::kApproximate,
    .bound =
        "2^-20 * sum of |weight * x| of a convolution's output, a mean's likewise: terms are added in another order; "
        "2^-22 * (|scale * x| + |shift|) of a normalisation, whose factors are rounded once",
    .proof = "a Transpose may pass whatever treats elements alike; sums run over the same terms",
    .run = Run,
};

}  // namespace ziggurat
