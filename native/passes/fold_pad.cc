// A Pad with zeros around the pixels becomes pads of the Conv that reads it.
#include <cmath>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

// Whether the Pad's value is the zero that convolutions pad with. -0.0 is not: it could turn a sum of -0.0 around.
bool PadsWithZero(const Node& pad) {
  const Value* value = pad.Input(2);
  if (!value) return true;
  const auto zero = UniformReal(value);
  return zero && *zero == 0 && !std::signbit(*zero);
}

// Pads before and after each spatial axis, as Conv orders them; nothing where the Pad does anything else.
std::optional<std::vector<int64_t>> SpatialPads(const Node& pad, int rank) {
  if (pad.String("mode", "constant") != "constant" || pad.Input(3) || !PadsWithZero(pad)) return std::nullopt;
  const auto pads = ReadInts(pad.Input(1));
  if (!pads || static_cast<int>(pads->size()) != 2 * rank) return std::nullopt;
  std::vector<int64_t> spatial;
  for (int i = 0; i < 2 * rank; ++i) {
    if ((*pads)[i] < 0 || (i % rank < 2 && (*pads)[i] != 0)) return std::nullopt;
    if (i % rank >= 2) spatial.push_back((*pads)[i]);
  }
  return spatial;
}

bool Fold(Graph& graph, Node& conv) {
  Value* padded = conv.Input(0);
  Node* pad = padded->producer;
  const std::string auto_pad = conv.String("auto_pad", "NOTSET");
  if (!pad || !pad->op->Is("Pad") || !UsedOnce(padded) || !padded->type.HasRank()) return false;
  if (!IsRealType(padded->type.dtype) || (auto_pad != "NOTSET" && auto_pad != "VALID")) return false;
  const int rank = padded->type.Rank();
  auto pads = SpatialPads(*pad, rank);
  if (!pads || rank < 3) return false;
  const std::vector<int64_t> own = auto_pad == "VALID" ? std::vector<int64_t>{} : conv.Ints("pads");
  for (size_t i = 0; i < own.size() && i < pads->size(); ++i) (*pads)[i] += own[i];
  std::vector<Value*> inputs = conv.inputs;
  inputs[0] = pad->Input(0);
  Attributes attributes = conv.attributes;
  attributes.erase("auto_pad");
  attributes["pads"] = *pads;
  Value* made = graph.AddNode(*conv.op, std::move(inputs), std::move(attributes), {""}, conv.name, &conv)->outputs[0];
  return Replace(conv.Output(0), made);
}

int Run(Graph& graph, PassContext&) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph))
    if (node->op->Is("Conv") && node->Input(0)) rewrites += Fold(graph, *node);
  return rewrites;
}

}  // namespace

const Pass kFoldPad = {
    .name = "fold_pad",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "a convolution multiplies the zeros it pads with like any value, so it sums the same products",
    .run = Run,
};

}  // namespace ziggurat
