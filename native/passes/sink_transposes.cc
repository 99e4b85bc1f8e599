// A transposition behind a view or an element-wise node of another one meets it: of two, one is left or none.
//
//   [b,h,w,c] -> Transpose -> [b,c,h,w] -> Reshape -> [b,c,hw] -> Transpose -> [b,hw,c]     is a Reshape
//
// So features of a picture become tokens, and tokens features again, where convolutions have their channels last.
#include <algorithm>

#include "ops/op_def.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

using Dims = std::vector<Dim>;

std::vector<int64_t> Permutation(const Node& node) {
  std::vector<int64_t> perm = node.Ints("perm");
  if (perm.empty())
    for (int i = node.Input(0)->type.Rank() - 1; i >= 0; --i) perm.push_back(i);
  return perm;
}

bool IsOneElement(const Value* value) { return value->IsConstant() && value->constant->shape().Count() == 1; }

// A node that gives each element what it makes of it alone, read by the transposition only.
bool IsElementwiseOfOne(const Node& node) {
  if (!node.op->Is(kElementwise) || node.op->Is(kRandom) || node.outputs.size() != 1) return false;
  const Value *input = node.Input(0), *output = node.Output(0);
  if (!input || input->IsConstant() || !SameShape(input, output) || !UsedOnce(output)) return false;
  return std::all_of(node.inputs.begin() + 1, node.inputs.end(),
                     [](const Value* other) { return !other || IsOneElement(other); });
}

// Neighbouring dimensions [x0, x1) of one shape that hold the elements of [y0, y1) of the other.
struct Block {
  size_t x0, x1, y0, y1;
};

// The smallest such blocks, in order; nullopt where they cannot be told.
std::optional<std::vector<Block>> BlocksOf(const Dims& x, const Dims& y) {
  std::vector<Block> blocks;
  size_t i = 0, j = 0;
  while (i < x.size() && j < y.size()) {
    Block block{i, i + 1, j, j + 1};
    Dim a = x[i], b = y[j];
    while (!(a == b)) {
      if (a.IsConst(0) || b.IsConst(0)) return std::nullopt;
      if (ExactDiv(b, a) && block.x1 < x.size()) {
        a = a * x[block.x1++];
      } else if (ExactDiv(a, b) && block.y1 < y.size()) {
        b = b * y[block.y1++];
      } else {
        return std::nullopt;
      }
    }
    blocks.push_back(block);
    i = block.x1, j = block.y1;
  }
  return i == x.size() && j == y.size() ? std::optional(blocks) : std::nullopt;
}

// A Reshape of the source and a Transpose that do what Transpose, view and Transpose did.
struct Meeting {
  Dims shape;
  std::vector<int64_t> perm;
};

// The view between them goes from `x`, the source's axes as `inner` orders them, to `y`. A block of it must be a block
// of the source's neighbouring axes too: then the source can be viewed so first.
std::optional<Meeting> Meet(const Dims& source, const std::vector<int64_t>& inner, const Dims& y,
                            const std::vector<int64_t>& outer) {
  Dims x;
  for (int64_t axis : inner) x.push_back(source[static_cast<size_t>(axis)]);
  auto blocks = BlocksOf(x, y);
  if (!blocks) return std::nullopt;
  for (const Block& block : *blocks)
    for (size_t i = block.x0 + 1; i < block.x1; ++i)
      if (inner[i] != inner[i - 1] + 1) return std::nullopt;
  std::sort(blocks->begin(), blocks->end(),
            [&](const Block& one, const Block& other) { return inner[one.x0] < inner[other.x0]; });
  Meeting out;
  std::vector<int64_t> place(y.size());  // of y's axes in the viewed source
  for (const Block& block : *blocks)
    for (size_t j = block.y0; j < block.y1; ++j) {
      place[j] = static_cast<int64_t>(out.shape.size());
      out.shape.push_back(y[j]);
    }
  for (int64_t axis : outer) out.perm.push_back(place[static_cast<size_t>(axis)]);
  return out;
}

// `meeting` applied to the source before `node`; null where the view cannot be written.
Value* Apply(Node& node, Value* source, const Meeting& meeting) {
  Value* value = ViewAs(node, source, meeting.shape);
  const bool in_order = std::is_sorted(meeting.perm.begin(), meeting.perm.end());
  return !value || in_order ? value : Insert(&node, "Transpose", {value}, {{"perm", meeting.perm}});
}

int Sink(Graph& graph, Node& node) {
  std::vector<Node*> between;  // element-wise nodes, from this transposition back
  Value* value = node.Input(0);
  const auto here = [&](const Value* of) { return of->producer && of->producer->graph == &graph; };
  bool moved = false;
  Dims y = *value->type.shape;
  // Views and element-wise nodes in any order: views keep the elements' order, so only the last one's shape matters.
  for (; here(value); value = value->producer->Input(0)) {
    if (IsElementwiseOfOne(*value->producer))
      between.push_back(value->producer);
    else if (!IsViewOf(value->producer, value))
      break;
    moved = true;
    if (!value->producer->Input(0)->type.HasRank()) return 0;
  }
  if (!moved || !here(value) || !value->producer->op->Is("Transpose")) return 0;
  Value* source = value->producer->Input(0);
  if (!source->type.HasRank() || source == node.Output(0)) return 0;
  const auto meeting = Meet(*source->type.shape, Permutation(*value->producer), y, Permutation(node));
  Value* made = meeting ? Apply(node, source, *meeting) : nullptr;
  if (!made) return 0;
  for (auto step = between.rbegin(); step != between.rend(); ++step) {
    std::vector<Value*> inputs = (*step)->inputs;
    inputs[0] = made;
    made = graph.AddNode(*(*step)->op, std::move(inputs), (*step)->attributes, {""}, (*step)->name, &node)->outputs[0];
  }
  return made->type.shape == node.Output(0)->type.shape ? Replace(node.Output(0), made) : 0;
}

int Run(Graph& graph, PassContext&) {
  int rewrites = 0;
  for (Node* node : NodesOf(graph))
    if (node->op->Is("Transpose") && !node->Output(0)->IsUnused() && node->Input(0)->type.HasRank())
      rewrites += Sink(graph, *node);
  return rewrites;
}

}  // namespace

const Pass kSinkTransposes = {
    .name = "sink_transposes",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof =
        "a view of neighbouring axes and an element-wise node change nothing of an element's place among the others",
    .run = Run,
    .repeat = true,
};

}  // namespace ziggurat
