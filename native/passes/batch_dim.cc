#include "passes/batch_dim.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "ops/op_def.h"
#include "passes/batch_rules.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

class Prover {
 public:
  Prover(const Graph& graph, SymbolId symbol) : graph_(graph), symbol_(symbol) {}

  RowProof Run() {
    RowProof proof;
    for (const Value* input : graph_.inputs()) {
      const Rows rows = OfInput(*input);
      if (rows.kind == Rows::Kind::kMixed)
        return Refuse(Cat("input '", input->name, "' is ", graph_.ToString(input->type)));
      rows_[input] = rows;
      proof.input_axes.push_back(rows.axis);
    }
    for (const auto& node : graph_.nodes()) Visit(*node);
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      const Rows rows = Find(graph_.outputs()[i]);
      if (!rows.IsRows() || !rows.block.IsConst(1))
        return Refuse(reason_.empty() ? Cat("output '", graph_.output_names()[i], "' has no row for each ", Name())
                                      : reason_);
      proof.output_axes.push_back(rows.axis);
    }
    proof.independent = !proof.output_axes.empty();
    return proof;
  }

 private:
  std::string Name() const { return Cat("'", graph_.symbols()[symbol_].name, "'"); }
  static RowProof Refuse(std::string reason) {
    RowProof proof;
    proof.reason = std::move(reason);
    return proof;
  }

  Rows OfInput(const Value& input) const {
    if (!Mentions(input.type, symbol_)) return Rows::Shared();
    if (!input.type.IsTensor()) return Rows::Mixed();
    int axis = -1;
    for (int i = 0; i < input.type.Rank(); ++i) {
      const Dim& dim = (*input.type.shape)[i];
      if (!Mentions(dim, symbol_)) continue;
      if (axis >= 0 || !(dim == Dim::Symbol(symbol_))) return Rows::Mixed();
      axis = i;
    }
    return Rows::Along(axis, 1);
  }

  Rows Find(const Value* value) const {
    if (value->IsConstant()) return Rows::Shared();
    auto found = rows_.find(value);
    return found == rows_.end() ? Rows::Mixed() : found->second;
  }

  // A subgraph's uses of outer values count as the node's.
  void CollectInputs(const Graph& graph, std::vector<const Value*>& out) const {
    for (const auto& inner : graph.nodes()) {
      for (const Value* input : inner->inputs)
        if (input && rows_.contains(input)) out.push_back(input);
      for (const auto& [name, attribute] : inner->attributes)
        if (const auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) CollectInputs(**subgraph, out);
    }
    for (const Value* output : graph.outputs())
      if (rows_.contains(output)) out.push_back(output);
  }

  std::vector<const Value*> Inputs(const Node& node) const {
    std::vector<const Value*> inputs;
    for (const Value* input : node.inputs)
      if (input) inputs.push_back(input);
    for (const auto& [name, attribute] : node.attributes)
      if (const auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) CollectInputs(**subgraph, inputs);
    return inputs;
  }

  void Visit(const Node& node) {
    const std::vector<const Value*> inputs = Inputs(node);
    auto any = [&](Rows::Kind kind) {
      return std::any_of(inputs.begin(), inputs.end(), [&](const Value* input) { return Find(input).kind == kind; });
    };
    const bool mixed = any(Rows::Kind::kMixed), rows = any(Rows::Kind::kRows), sized = any(Rows::Kind::kSized);
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const Value* output = node.outputs[i];
      if (!output) continue;
      Rows result = Rows::Mixed();
      if (!mixed && !IsRandom(node) && !node.op->effects.size()) {
        result = RowsAfter(node, static_cast<int>(i), symbol_, [this](const Value* value) { return Find(value); });
        if (result.kind == Rows::Kind::kMixed && !rows)
          result = sized || Mentions(output->type, symbol_) ? Rows::Sized() : Rows::Shared();
      }
      if (IsKnownWithout(*output)) result = Rows::Shared();
      rows_[output] = Checked(std::move(result), output->type);
      if (rows_[output].kind == Rows::Kind::kMixed && !mixed && reason_.empty())
        reason_ = Cat(node.op->name, " '", node.name.empty() ? output->name : node.name,
                      "' is not proved to keep rows of ", Name(), " apart");
    }
  }

  // Elements that are numbers and dimensions of inputs other than the rows': a sequence length, asked of a tensor of
  // rows. A dimension that shows while a model runs may depend on what is in the rows.
  bool IsKnownWithout(const Value& value) const {
    if (!value.contents) return false;
    std::set<SymbolId> symbols;
    for (const Dim& dim : *value.contents) dim.CollectSymbols(symbols);
    return std::none_of(symbols.begin(), symbols.end(), [&](SymbolId id) {
      return id == symbol_ || graph_.symbols()[static_cast<size_t>(id)].input < 0;
    });
  }

  // The type must say the same: the rows' axis is a multiple of the symbol, no other dimension knows it.
  Rows Checked(Rows rows, const Type& type) const {
    if (rows.IsShared() && Mentions(type, symbol_)) return Rows::Sized();
    if (!rows.IsRows()) return rows;
    if (!type.IsTensor() || !type.HasRank() || rows.axis < 0 || rows.axis >= type.Rank()) return Rows::Mixed();
    for (int i = 0; i < type.Rank(); ++i) {
      const Dim& dim = (*type.shape)[i];
      if (i != rows.axis && Mentions(dim, symbol_)) return Rows::Mixed();
      if (i == rows.axis && BlockOf(dim, symbol_) != rows.block) return Rows::Mixed();
    }
    return rows;
  }

  const Graph& graph_;
  const SymbolId symbol_;
  std::unordered_map<const Value*, Rows> rows_;
  std::string reason_;
};

}  // namespace

RowProof ProveRowsIndependent(const Graph& graph, SymbolId symbol) { return Prover(graph, symbol).Run(); }

SymbolId BatchSymbol(const Graph& graph) {
  for (const Value* input : graph.inputs()) {
    if (!input->type.IsTensor() || !input->type.HasRank() || input->type.Rank() == 0) continue;
    std::set<SymbolId> symbols;
    (*input->type.shape)[0].CollectSymbols(symbols);
    if (symbols.size() == 1 && (*input->type.shape)[0] == Dim::Symbol(*symbols.begin())) return *symbols.begin();
  }
  return -1;
}

}  // namespace ziggurat
