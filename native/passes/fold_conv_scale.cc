// Folds what follows a convolution and is affine in each channel - BatchNormalization, Mul, Add and Sub of constants -
// into its weights and bias, computed in float64 and rounded once.
#include <cmath>

#include "passes/epilogue.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

// channel c becomes scale[c] * x + shift[c]
struct Affine {
  std::vector<double> scale, shift;
};

std::optional<std::vector<double>> Channels(const Value* value, const Value* output, Graph& graph) {
  const auto along = AlongAxis(value, *output->type.shape, 1);
  if (!along) return std::nullopt;
  const Value* holder = graph.AddConstant(along);  // swept: it gets no use
  return ReadReals(holder);
}

std::optional<Affine> OfBatchNorm(const Node& node) {
  if (node.Int("training_mode", 0) != 0) return std::nullopt;
  for (size_t i = 1; i < node.outputs.size(); ++i)
    if (node.outputs[i] && !node.outputs[i]->IsUnused()) return std::nullopt;
  const auto scale = ReadReals(node.Input(1)), bias = ReadReals(node.Input(2)), mean = ReadReals(node.Input(3)),
             variance = ReadReals(node.Input(4));
  if (!scale || !bias || !mean || !variance) return std::nullopt;
  const size_t channels = scale->size();
  if (bias->size() != channels || mean->size() != channels || variance->size() != channels) return std::nullopt;
  const double epsilon = node.Float("epsilon", 1e-5f);
  Affine affine;
  for (size_t c = 0; c < channels; ++c) {
    affine.scale.push_back((*scale)[c] / std::sqrt((*variance)[c] + epsilon));
    affine.shift.push_back((*bias)[c] - (*mean)[c] * affine.scale[c]);
  }
  return affine;
}

std::optional<Affine> AffineOf(const Node& node, const Value* input, bool has_bias) {
  if (node.op->Is("BatchNormalization")) return node.Input(0) == input ? OfBatchNorm(node) : std::nullopt;
  const bool mul = node.op->Is("Mul"), add = node.op->Is("Add"), sub = node.op->Is("Sub") && node.Input(0) == input;
  // An Add to a convolution without bias costs no rounding as its bias: fuse_conv does that.
  if ((!mul && !add && !sub) || (add && !has_bias) || !SameShape(input, node.Output(0))) return std::nullopt;
  const Value* other = node.Input(0) == input ? node.Input(1) : node.Input(0);
  auto values = Channels(other, input, *node.graph);
  if (!values) return std::nullopt;
  if (mul) return Affine{*values, std::vector<double>(values->size(), 0.0)};
  if (sub)
    for (double& value : *values) value = -value;
  return Affine{std::vector<double>(values->size(), 1.0), *values};
}

// The output channel of each element of W: its first axis for Conv; for ConvTranspose the second, within the group
// of the first.
int64_t ChannelOf(int64_t element, const Shape& weights, int64_t group, bool transposed) {
  const int64_t inner = weights.Count(2, weights.rank());
  const int64_t first = element / (inner * weights[1]), second = element / inner % weights[1];
  return transposed ? first / (weights[0] / group) * weights[1] + second : first;
}

bool Fold(Graph& graph, Node& node) {
  Value *output = node.Output(0), *weights = node.Input(1), *bias = node.Input(2);
  if (!output || !IsRealType(output->type.dtype) || !output->type.HasRank() || !UsedOnce(output)) return false;
  if (!weights->IsConstant() || (bias && !bias->IsConstant()) || weights->constant->shape().rank() < 3) return false;
  Node* next = output->users[0];
  const auto affine = AffineOf(*next, output, bias != nullptr);
  if (!affine || next->Output(0)->type.dtype != output->type.dtype) return false;

  const Shape& shape = weights->constant->shape();
  const int64_t group = node.Int("group", 1);
  const bool transposed = node.op->Is("ConvTranspose");
  const int64_t channels = transposed ? shape[1] * group : shape[0];
  if (static_cast<int64_t>(affine->scale.size()) != channels || group < 1 || shape.Count() == 0) return false;
  if (transposed && shape[0] % group != 0) return false;
  auto scaled = ReadReals(weights), shifted = bias ? ReadReals(bias) : std::vector<double>(channels, 0.0);
  if (!scaled || !shifted || static_cast<int64_t>(shifted->size()) != channels) return false;
  for (size_t i = 0; i < scaled->size(); ++i)
    (*scaled)[i] *= affine->scale[ChannelOf(static_cast<int64_t>(i), shape, group, transposed)];
  for (int64_t c = 0; c < channels; ++c) (*shifted)[c] = (*shifted)[c] * affine->scale[c] + affine->shift[c];

  const DType dtype = weights->type.dtype;
  std::vector<Value*> inputs = {node.Input(0), graph.AddConstant(MakeReals(dtype, shape, *scaled), weights->name)};
  const bool scale_only = !bias && next->op->Is("Mul");
  if (!scale_only) inputs.push_back(graph.AddConstant(MakeReals(dtype, Shape{channels}, *shifted)));
  Node* made = graph.AddNode(*node.op, std::move(inputs), node.attributes, {""}, node.name, &node);
  // Many layers are folded before the first is packed: what was read from the file must not wait for that.
  weights->constant->Drop();
  return Replace(next->Output(0), made->Output(0));
}

int Run(Graph& graph, PassContext&) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph))
    if (node->op->Is("Conv") || node->op->Is("ConvTranspose")) rewrites += Fold(graph, *node);
  return rewrites;
}

}  // namespace

const Pass kFoldConvScale = {
    .name = "fold_conv_scale",
    .exactness = Exactness::kApproximate,
    .bound = "2^-22 * (sum of |weight * x| * |scale| + |shift|) of a float32 output: each weight is rounded once more",
    .proof = "convolution is linear: scaling an output channel scales its weights; padding stays zero",
    .run = Run,
    .repeat = true,
};

}  // namespace ziggurat
