#include "passes/batch_rules.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "ops/op_def.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

using Rule = Rows (*)(const class Step&);

// What a rule sees of a node.
class Step {
 public:
  Step(const Node& node, int output, SymbolId symbol, const RowsOf& rows_of)
      : node(node), output(output), symbol(symbol), rows_of_(rows_of) {}

  const Node& node;
  const int output;
  const SymbolId symbol;

  bool Has(int i) const { return node.Input(i) != nullptr; }
  Rows In(int i) const { return Has(i) ? rows_of_(node.Input(i)) : Rows::Shared(); }
  int Rank(int i) const { return node.Input(i)->type.HasRank() ? node.Input(i)->type.Rank() : -1; }
  int OutputRank() const { return node.Output(output)->type.HasRank() ? node.Output(output)->type.Rank() : -1; }
  const std::vector<Dim>& Shape(int i) const { return *node.Input(i)->type.shape; }
  const std::vector<Dim>& OutputShape() const { return *node.Output(output)->type.shape; }
  int Axis(int64_t axis, int rank) const { return static_cast<int>(axis < 0 ? axis + rank : axis); }
  // Inputs from `first` on are the same for all rows.
  bool SharedFrom(int first) const {
    for (int i = first; i < static_cast<int>(node.inputs.size()); ++i)
      if (!In(i).IsShared()) return false;
    return true;
  }

 private:
  const RowsOf& rows_of_;
};

// Where input i's rows land in an output that it broadcasts into; Shared where it has none. A value that knows only
// the number of rows must not reach elements.
Rows Broadcast(const Step& s, int i) {
  const Rows rows = s.In(i);
  if (rows.IsShared()) return rows;
  if (!rows.IsRows() || s.Rank(i) < 0 || s.OutputRank() < 0) return Rows::Mixed();
  return Rows::Along(rows.axis + s.OutputRank() - s.Rank(i), rows.block);
}

// Both agree, or one is the same for all rows.
Rows Join(const Rows& a, const Rows& b) {
  if (a.IsShared()) return b;
  if (b.IsShared()) return a;
  return a.IsRows() && b.IsRows() && a.axis == b.axis && a.block == b.block ? a : Rows::Mixed();
}

// A value without rows must not vary along the rows' axis: row 3 of one batch is row 7 of another.
bool SpansRows(const Step& s, int i, const Rows& rows) {
  if (!s.In(i).IsShared() || s.Rank(i) < 0) return !s.In(i).IsRows();
  const int axis = rows.axis - (s.OutputRank() - s.Rank(i));
  return axis >= 0 && !s.Shape(i)[axis].IsConst(1);
}

Rows Elementwise(const Step& s) {
  Rows out = Rows::Shared();
  const int inputs = s.node.op->Is("CastLike") ? 1 : static_cast<int>(s.node.inputs.size());
  for (int i = 0; i < inputs; ++i)
    if (s.Has(i)) out = Join(out, Broadcast(s, i));
  if (out.IsRows())
    for (int i = 0; i < inputs; ++i)
      if (s.Has(i) && SpansRows(s, i, out)) return Rows::Mixed();
  return out;
}

// Samples along axis 0 of the first input; everything else is shared, but a residual that has the output's rows.
Rows PerSample(const Step& s) {
  const Rows rows = s.In(0);
  if (!rows.IsRows() || rows.axis != 0) return Rows::Mixed();
  // MaxPool's indices count through all samples; a normalization in training looks at all of them.
  if (s.output != 0 || s.node.Int("training_mode") != 0) return Rows::Mixed();
  const bool residual = s.node.op->domain == "zig" && s.Has(3);
  for (int i = 1; i < static_cast<int>(s.node.inputs.size()); ++i)
    if (residual && i == 3 ? Join(rows, s.In(3)).kind != Rows::Kind::kRows || s.In(3).IsShared() : !s.In(i).IsShared())
      return Rows::Mixed();
  return rows;
}

// The product's rows, of matrices whose last two axes may be swapped.
Rows Product(const Step& s, bool swap_a, bool swap_b) {
  const int a_rank = s.Rank(0), b_rank = s.Rank(1), rank = s.OutputRank();
  if (a_rank < 2 || b_rank < 2 || rank < 0) return Rows::Mixed();
  const Rows a = s.In(0), b = s.In(1);
  Rows out = Rows::Shared();
  if (!a.IsShared()) {
    const int inner = swap_a ? a_rank - 2 : a_rank - 1;
    if (!a.IsRows() || a.axis == inner) return Rows::Mixed();
    out = Rows::Along(a.axis >= a_rank - 2 ? rank - 2 : a.axis + rank - a_rank, a.block);
  }
  if (!b.IsShared()) {
    const int inner = swap_b ? b_rank - 1 : b_rank - 2;
    if (!b.IsRows() || b.axis == inner) return Rows::Mixed();
    out = Join(out, Rows::Along(b.axis >= b_rank - 2 ? rank - 1 : b.axis + rank - b_rank, b.block));
  }
  if (!out.IsRows()) return out;
  // Stacked matrices without rows must not be stacked along them.
  for (int i = 0; i < 2; ++i) {
    const int axis = out.axis - (rank - s.Rank(i));
    if (s.In(i).IsShared() && out.axis < rank - 2 && axis >= 0 && !s.Shape(i)[axis].IsConst(1)) return Rows::Mixed();
  }
  return out;
}

Rows MatMul(const Step& s) {
  const bool ours = s.node.op->domain == "zig" || s.node.op->Is("Gemm");
  Rows out = Product(s, ours && s.node.Int("transA") != 0, ours && s.node.Int("transB") != 0);
  if (!out.IsRows()) return out;
  for (int i = 2; i < static_cast<int>(s.node.inputs.size()); ++i) {  // bias and residual, which broadcast
    if (!s.Has(i)) continue;
    out = Join(out, Broadcast(s, i));
    if (!out.IsRows() || SpansRows(s, i, out)) return Rows::Mixed();
  }
  return out;
}

// Rows of A, of products with what is the same for all rows.
Rows SharedMatMul(const Step& s) {
  const Rows rows = s.In(0);
  return rows.IsRows() && s.Rank(0) >= 0 && rows.axis < s.Rank(0) - 1 && s.SharedFrom(1) ? rows : Rows::Mixed();
}

// Works along `axis` only, and keeps the shape or changes it there.
Rows AlongOneAxis(const Step& s, int64_t fallback) {
  const Rows rows = s.In(0);
  if (!rows.IsRows() || s.Rank(0) < 0 || !s.SharedFrom(1)) return Rows::Mixed();
  return s.Axis(s.node.Int("axis", fallback), s.Rank(0)) == rows.axis ? Rows::Mixed() : rows;
}
Rows OverLastByDefault(const Step& s) { return AlongOneAxis(s, -1); }
Rows OverFirstByDefault(const Step& s) { return AlongOneAxis(s, 0); }

Rows Arg(const Step& s) {
  const Rows rows = AlongOneAxis(s, 0);
  if (!rows.IsRows() || s.node.Int("keepdims", 1)) return rows;
  return Rows::Along(rows.axis - (s.Axis(s.node.Int("axis", 0), s.Rank(0)) < rows.axis), rows.block);
}

// Normalizes over the axes from `axis` on.
Rows TrailingAxes(const Step& s) {
  const Rows rows = s.In(0);
  if (!rows.IsRows() || s.Rank(0) < 0 || !s.SharedFrom(1)) return Rows::Mixed();
  const int axis = s.Axis(s.node.Int("axis", -1), s.Rank(0));
  if (rows.axis >= axis) return Rows::Mixed();
  for (int i = 1; i < static_cast<int>(s.node.inputs.size()); ++i)
    if (s.Has(i) && (s.Rank(i) < 0 || s.Rank(i) > s.Rank(0) - rows.axis - 1)) return Rows::Mixed();
  return rows;
}

Rows Reduce(const Step& s) {
  const Rows rows = s.In(0);
  if (!rows.IsRows() || s.Rank(0) < 0) return Rows::Mixed();
  auto axes = s.Has(1) ? ReadInts(s.node.Input(1)) : std::vector<int64_t>{};
  if (!axes) return Rows::Mixed();
  if (axes->empty()) return s.node.Int("noop_with_empty_axes") ? rows : Rows::Mixed();
  int before = 0;
  for (int64_t axis : *axes) {
    const int resolved = s.Axis(axis, s.Rank(0));
    if (resolved == rows.axis) return Rows::Mixed();
    before += resolved < rows.axis;
  }
  return Rows::Along(rows.axis - (s.node.Int("keepdims", 1) ? 0 : before), rows.block);
}

Rows Transpose(const Step& s) {
  const Rows rows = s.In(0);
  if (!rows.IsRows() || s.Rank(0) < 0) return Rows::Mixed();
  const std::vector<int64_t> perm = s.node.Ints("perm");
  if (perm.empty()) return Rows::Along(s.Rank(0) - 1 - rows.axis, rows.block);
  for (size_t i = 0; i < perm.size(); ++i)
    if (perm[i] == rows.axis) return Rows::Along(static_cast<int>(i), rows.block);
  return Rows::Mixed();
}

// The elements keep their order. Extents of one aside, what stood before the rows' axis must stay; then the axis that
// follows starts with the rows, and takes up as many places a row as its extent says.
Rows View(const Step& s) {
  const Rows rows = s.In(0);
  if (!rows.IsRows() || s.Rank(0) < 0 || s.OutputRank() < 0) return Rows::Mixed();
  const auto &from = s.Shape(0), &to = s.OutputShape();
  size_t j = 0;
  auto skip_ones = [&] {
    while (j < to.size() && to[j].IsConst(1)) ++j;
  };
  for (int i = 0; i < rows.axis; ++i) {
    if (from[i].IsConst(1)) continue;
    skip_ones();
    if (j == to.size() || !(to[j] == from[i])) return Rows::Mixed();
    ++j;
  }
  skip_ones();
  const auto block = j < to.size() ? BlockOf(to[j], s.symbol) : std::nullopt;
  return block ? Rows::Along(static_cast<int>(j), *block) : Rows::Mixed();
}

Rows Concat(const Step& s) {
  Rows out = Rows::Shared();
  for (int i = 0; i < static_cast<int>(s.node.inputs.size()); ++i) {
    if (!s.In(i).IsRows() || s.Rank(i) < 0) return Rows::Mixed();
    out = Join(out, s.In(i));
  }
  return out.IsRows() && s.Axis(s.node.Int("axis"), s.Rank(0)) != out.axis ? out : Rows::Mixed();
}

// Changes extents of listed axes; the rows' axis must not be among them.
Rows Slice(const Step& s) {
  const Rows rows = s.In(0);
  if (!rows.IsRows() || s.Rank(0) < 0 || !s.SharedFrom(1)) return Rows::Mixed();
  const auto axes = ReadInts(s.node.Input(3));
  if (!axes) return Rows::Mixed();
  for (int64_t axis : *axes)
    if (s.Axis(axis, s.Rank(0)) == rows.axis) return Rows::Mixed();
  return rows;
}

Rows Pad(const Step& s) {
  const Rows rows = s.In(0);
  const auto pads = ReadInts(s.node.Input(1));
  if (!rows.IsRows() || !pads || s.Has(3) || !s.SharedFrom(1)) return Rows::Mixed();
  const size_t rank = pads->size() / 2;
  if (static_cast<int>(rank) != s.Rank(0)) return Rows::Mixed();
  return (*pads)[rows.axis] == 0 && (*pads)[rank + rows.axis] == 0 ? rows : Rows::Mixed();
}

Rows Gather(const Step& s) {
  const Rows data = s.In(0), indices = s.In(1);
  if (s.Rank(0) < 0 || s.Rank(1) < 0) return Rows::Mixed();
  const int axis = s.Axis(s.node.Int("axis", 0), s.Rank(0));
  if (data.IsShared() && indices.IsRows()) return Rows::Along(axis + indices.axis, indices.block);
  if (!data.IsRows() || !indices.IsShared() || axis == data.axis) return Rows::Mixed();
  return Rows::Along(data.axis < axis ? data.axis : data.axis + s.Rank(1) - 1, data.block);
}

Rows GatherElements(const Step& s) {
  const Rows rows = Join(s.In(0), s.In(1));
  if (!s.In(0).IsRows() || !s.In(1).IsRows() || !rows.IsRows() || s.Rank(0) < 0) return Rows::Mixed();
  return s.Axis(s.node.Int("axis", 0), s.Rank(0)) == rows.axis ? Rows::Mixed() : rows;
}

// Repeats: of rows, elsewhere; of what is the same for all rows, also along them.
Rows Expand(const Step& s) {
  if (s.OutputRank() < 0 || s.Rank(0) < 0) return Rows::Mixed();
  if (!s.In(0).IsShared()) return Broadcast(s, 0);
  for (int axis = 0; axis < s.OutputRank(); ++axis)
    if (const auto block = BlockOf(s.OutputShape()[axis], s.symbol)) {
      const Rows rows = Rows::Along(axis, *block);
      return SpansRows(s, 0, rows) ? Rows::Mixed() : rows;
    }
  return Rows::Mixed();
}

// What is the same for all rows, whole once for each of them.
Rows Tile(const Step& s) {
  if (!s.In(0).IsShared() || s.OutputRank() < 0 || s.OutputRank() != s.Rank(0)) return Rows::Mixed();
  for (int axis = 0; axis < s.OutputRank(); ++axis)
    if (const auto block = BlockOf(s.OutputShape()[axis], s.symbol))
      return *block == s.Shape(0)[axis] ? Rows::Along(axis, *block) : Rows::Mixed();
  return Rows::Mixed();
}

// Sums along one axis, a constant.
Rows CumSum(const Step& s) {
  const Rows rows = s.In(0);
  const auto axis = ReadInts(s.node.Input(1));
  if (!rows.IsRows() || s.Rank(0) < 0 || !axis || axis->size() != 1) return Rows::Mixed();
  return s.Axis((*axis)[0], s.Rank(0)) == rows.axis ? Rows::Mixed() : rows;
}

Rows ConstantOfShape(const Step& s) {
  for (int axis = 0; axis < s.OutputRank(); ++axis)
    if (const auto block = BlockOf(s.OutputShape()[axis], s.symbol)) return Rows::Along(axis, *block);
  return Rows::Mixed();
}

Rows ShapeOf(const Step& s) {
  return Mentions(s.node.Input(0)->type, s.symbol) || !s.node.Input(0)->type.HasRank() ? Rows::Sized() : Rows::Shared();
}

Rows OneHot(const Step& s) {
  if (!s.In(0).IsRows() || !s.SharedFrom(1) || s.Rank(0) < 0) return Rows::Mixed();
  const int axis = s.Axis(s.node.Int("axis", -1), s.Rank(0) + 1);
  return Rows::Along(s.In(0).axis + (axis <= s.In(0).axis), s.In(0).block);
}

// X is [steps, batch, features]; initial states are [directions, batch, hidden].
Rows Recurrent(const Step& s) {
  const Rows rows = s.In(0);
  if (!rows.IsRows() || rows.axis != 1 || s.node.Int("layout") != 0) return Rows::Mixed();
  for (int i = 1; i < static_cast<int>(s.node.inputs.size()); ++i) {
    if (!s.Has(i)) continue;
    const bool lengths = i == 4, state = i == 5 || i == 6;
    if (lengths || state) {
      if (!s.In(i).IsRows() || s.In(i).axis != (lengths ? 0 : 1) || s.In(i).block != rows.block) return Rows::Mixed();
    } else if (!s.In(i).IsShared()) {
      return Rows::Mixed();
    }
  }
  return Rows::Along(s.output == 0 ? 2 : 1, rows.block);
}

// Batch is axis 0 of queries, keys, values and what is cached; a mask may be the same for all rows.
Rows Attention(const Step& s) {
  const Rows rows = s.In(0);
  if (!rows.IsRows() || rows.axis != 0) return Rows::Mixed();
  for (int i = 1; i < static_cast<int>(s.node.inputs.size()); ++i) {
    if (!s.Has(i)) continue;
    const bool mask = i == 3;
    if (mask && s.In(i).IsShared() && (s.Rank(i) == 2 || (s.Rank(i) == 4 && s.Shape(i)[0].IsConst(1)))) continue;
    if (!s.In(i).IsRows() || s.In(i).axis != 0 || s.In(i).block != rows.block) return Rows::Mixed();
    if (mask && s.Rank(i) != 4) return Rows::Mixed();
  }
  return rows;
}

// Queries, keys and values have their batch at the same place; the bias, of up to four dimensions, at its first.
Rows FusedAttention(const Step& s) {
  const Rows rows = s.In(0);
  if (!rows.IsRows() || rows.axis != (s.node.Int("sequence_first") ? 1 : 0)) return Rows::Mixed();
  for (int i : {1, 2})
    if (!s.In(i).IsRows() || s.In(i).axis != rows.axis || s.In(i).block != rows.block) return Rows::Mixed();
  if (!s.Has(3)) return rows;
  const bool is_whole = s.Rank(3) == 4 && !s.Shape(3)[0].IsConst(1);
  if (s.In(3).IsShared()) return is_whole || s.Rank(3) < 0 ? Rows::Mixed() : rows;
  return is_whole && s.In(3).IsRows() && s.In(3).axis == 0 && s.In(3).block == rows.block ? rows : Rows::Mixed();
}

struct Entry {
  std::string_view op;
  Rule rule;
};

constexpr Entry kRules[] = {
    {"MatMul", MatMul},
    {"Gemm", MatMul},
    {"FusedMatMul", MatMul},
    {"SharedMatMul", SharedMatMul},
    {"Conv", PerSample},
    {"FusedConv", PerSample},
    {"ConvTranspose", PerSample},
    {"ConvInteger", PerSample},
    {"MaxPool", PerSample},
    {"AveragePool", PerSample},
    {"LpPool", PerSample},
    {"GlobalMaxPool", PerSample},
    {"GlobalAveragePool", PerSample},
    {"GlobalLpPool", PerSample},
    {"BatchNormalization", PerSample},
    {"InstanceNormalization", PerSample},
    {"GroupNormalization", PerSample},
    {"LRN", PerSample},
    {"ChannelsLastLRN", PerSample},
    {"ChannelsLastPool", PerSample},
    {"DepthToSpace", PerSample},
    {"SpaceToDepth", PerSample},
    {"Resize", PerSample},
    {"Upsample", PerSample},
    {"Softmax", OverLastByDefault},
    {"LogSoftmax", OverLastByDefault},
    {"Hardmax", OverLastByDefault},
    {"TopK", OverLastByDefault},
    {"LpNormalization", OverLastByDefault},
    {"Split", OverFirstByDefault},
    {"ArgMax", Arg},
    {"ArgMin", Arg},
    {"LayerNormalization", TrailingAxes},
    {"RMSNormalization", TrailingAxes},
    {"ReduceL1", Reduce},
    {"ReduceL2", Reduce},
    {"ReduceLogSum", Reduce},
    {"ReduceLogSumExp", Reduce},
    {"ReduceMax", Reduce},
    {"ReduceMean", Reduce},
    {"ReduceMin", Reduce},
    {"ReduceProd", Reduce},
    {"ReduceSum", Reduce},
    {"ReduceSumSquare", Reduce},
    {"Transpose", Transpose},
    {"Reshape", View},
    {"Flatten", View},
    {"Squeeze", View},
    {"Unsqueeze", View},
    {"Identity", View},
    {"Concat", Concat},
    {"Slice", Slice},
    {"Pad", Pad},
    {"Gather", Gather},
    {"GatherElements", GatherElements},
    {"Expand", Expand},
    {"Tile", Tile},
    {"CumSum", CumSum},
    {"ConstantOfShape", ConstantOfShape},
    {"Shape", ShapeOf},
    {"Size", ShapeOf},
    {"OneHot", OneHot},
    {"LSTM", Recurrent},
    {"GRU", Recurrent},
    {"RNN", Recurrent},
    {"Attention", Attention},
    {"FusedAttention", FusedAttention},
};

}  // namespace

bool Mentions(const Dim& dim, SymbolId symbol) {
  std::set<SymbolId> symbols;
  dim.CollectSymbols(symbols);
  return symbols.contains(symbol);
}

bool Mentions(const Type& type, SymbolId symbol) {
  if (type.element && Mentions(*type.element, symbol)) return true;
  return type.shape &&
         std::any_of(type.shape->begin(), type.shape->end(), [&](const Dim& dim) { return Mentions(dim, symbol); });
}

std::optional<Dim> BlockOf(const Dim& dim, SymbolId symbol) {
  if (!Mentions(dim, symbol)) return std::nullopt;
  const auto block = ExactDiv(dim, Dim::Symbol(symbol));
  return block && !Mentions(*block, symbol) ? block : std::nullopt;
}

Rows RowsAfter(const Node& node, int output, SymbolId symbol, const RowsOf& rows_of) {
  const Step step(node, output, symbol, rows_of);
  for (const Entry& entry : kRules)
    if (entry.op == node.op->name && (node.op->domain.empty() || node.op->domain == "zig")) return entry.rule(step);
  return node.op->Is(kElementwise) ? Elementwise(step) : Rows::Mixed();
}

}  // namespace ziggurat
