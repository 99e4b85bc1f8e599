// If, Loop and Scan: their types follow from their subgraphs', which follow from theirs.
#include <algorithm>

#include "base/function_ref.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// At run time the runtime itself runs the subgraphs and learns the shapes from them.
void TypesAsLoaded(InferContext& c) {
  for (int i = 0; i < c.num_outputs(); ++i) {
    if (!c.HasOutput(i)) continue;
    const Type& type = c.node().Output(i)->type;
    if (!type.IsTensor() || !type.HasRank() || !type.IsStatic()) c.NewSymbol("");
    c.SetOutput(i, type);
  }
}

// What is true of both: dimensions that differ become `unknown(axis)`, ranks that differ unknown. Fails where element
// types or kinds differ.
// (A template over `unknown` would instantiate itself without end: each level's lambda is another type.)
using Unknown = FunctionRef<std::optional<Dim>(int axis)>;
Type Merge(const InferContext& c, const Type& a, const Type& b, std::string_view what, Unknown unknown) {
  if (a == b) return a;
  // What is there where something may be absent.
  if (a.kind == Kind::kOptional && a.element->kind == b.kind)
    return Type::Optional(Merge(c, *a.element, b, what, unknown));
  if (a.kind != b.kind) c.Fail(what, " are of different kinds");
  if (a.element && b.element) {
    auto nothing = [](int) { return std::optional<Dim>(); };
    const Type element = Merge(c, *a.element, *b.element, what, nothing);
    return a.kind == Kind::kSequence ? Type::Sequence(element) : Type::Optional(element);
  }
  if (!a.IsTensor()) return a;
  if (a.dtype != b.dtype && a.dtype != DType::kUndefined && b.dtype != DType::kUndefined)
    c.Fail(what, " are ", Name(a.dtype), " and ", Name(b.dtype), ", must agree");
  Type out = Type::Tensor(a.dtype == DType::kUndefined ? b.dtype : a.dtype, std::nullopt);
  if (!a.HasRank() || !b.HasRank() || a.Rank() != b.Rank()) return out;
  std::vector<Dim> shape;
  for (int i = 0; i < a.Rank(); ++i) {
    std::optional<Dim> dim = (*a.shape)[i];
    if (!(*dim == (*b.shape)[i])) dim = unknown(i);
    if (!dim) return out;  // elements of a sequence may each have another size: no symbol says that
    shape.push_back(*dim);
  }
  out.shape = std::move(shape);
  return out;
}

void InferIf(InferContext& c) {
  if (c.concrete()) return TypesAsLoaded(c);
  c.ExpectRank(0, 0, 1);
  const auto yes = c.node().Subgraph("then_branch"), no = c.node().Subgraph("else_branch");
  for (const auto& branch : {yes, no})
    if (static_cast<int>(branch->outputs().size()) != c.num_outputs())
      c.Fail("a branch has ", branch->outputs().size(), " outputs, the node ", c.num_outputs());
  // Captured values may have got other types since the branches were built.
  yes->InferAll();
  no->InferAll();
  for (int i = 0; i < c.num_outputs(); ++i) {
    auto unknown = [&](int) { return std::optional<Dim>(c.NewSymbol("branch")); };
    c.SetOutput(i, Merge(c, yes->outputs()[i]->type, no->outputs()[i]->type, Cat("branches' outputs ", i), unknown));
  }
}

// The type with every dimension that only the body knows replaced by a new symbol.
Type Outside(InferContext& c, Type type, const std::set<SymbolId>& known) {
  if (!type.IsTensor() || !type.shape) return type;
  for (Dim& dim : *type.shape) {
    std::set<SymbolId> used;
    dim.CollectSymbols(used);
    if (!std::includes(known.begin(), known.end(), used.begin(), used.end())) dim = c.NewSymbol("looped");
  }
  return type;
}

// Symbols that mean the same outside the body: those of graph inputs and of the node's own inputs.
std::set<SymbolId> KnownSymbols(const InferContext& c) {
  std::set<SymbolId> known;
  const auto& symbols = c.node().graph->symbols();
  for (size_t i = 0; i < symbols.size(); ++i)
    if (symbols[i].input >= 0) known.insert(static_cast<SymbolId>(i));
  for (int i = 0; i < c.num_inputs(); ++i) {
    if (!c.HasInput(i)) continue;
    if (c.HasRank(i))
      for (const Dim& dim : c.InputShape(i)) dim.CollectSymbols(known);
    if (const auto contents = c.Contents(i))
      for (const Dim& dim : *contents) dim.CollectSymbols(known);
  }
  return known;
}

// The carried values of a loop: body inputs [first_in, ...) receive what body outputs [first_out, ...) give.
struct Carried {
  Graph& body;
  int first_in, first_out, count;
};

void SetCarriedTypes(const Carried& carried, const std::vector<Type>& types) {
  for (int i = 0; i < carried.count; ++i) carried.body.inputs()[carried.first_in + i]->type = types[i];
}

// Makes every carried tensor's dimensions unknown; where that was done already, its rank.
bool Loosen(const InferContext& c, const Carried& carried, std::vector<Type>& types, bool ranks) {
  bool changed = false;
  for (int i = 0; i < carried.count; ++i) {
    Type& type = types[i];
    if (!type.IsTensor() || !type.shape) continue;
    changed = true;
    if (ranks) {
      type.shape.reset();
      continue;
    }
    const std::string& name = carried.body.inputs()[carried.first_in + i]->name;
    for (size_t axis = 0; axis < type.shape->size(); ++axis)
      (*type.shape)[axis] = c.node().graph->NamedSymbol(Cat(name, ".carried", axis), -1, -1);
  }
  return changed;
}

// Types the body until what it carries out fits what it carries in: a dimension that changes from one turn to the
// next becomes a symbol. Each turn of this loop loosens at least one dimension, or is the last.
void TypeBody(InferContext& c, const Carried& carried, std::vector<Type> types) {
  int loosened = 0;
  constexpr int kTurns = 64;
  for (int turn = 0;; ++turn) {
    SetCarriedTypes(carried, types);
    try {
      carried.body.InferAll();
    } catch (const Error&) {
      // The first turn's shapes may be too special for the body (an empty tensor that grows).
      if (loosened == 2 || !Loosen(c, carried, types, loosened == 1)) throw;
      ++loosened;
      continue;
    }
    bool stable = true;
    for (int i = 0; i < carried.count; ++i) {
      const Value* in = carried.body.inputs()[carried.first_in + i];
      auto unknown = [&](int axis) {
        return std::optional<Dim>(c.node().graph->NamedSymbol(Cat(in->name, ".carried", axis), -1, -1));
      };
      Type merged =
          Merge(c, types[i], carried.body.outputs()[carried.first_out + i]->type, Cat("carried values ", i), unknown);
      if (merged == types[i]) continue;
      types[i] = std::move(merged);
      stable = false;
    }
    if (stable) return;
    if (turn >= kTurns && !Loosen(c, carried, types, true)) c.Fail("the types of carried values do not settle");
  }
}

const Value* ThroughIdentity(const Value* value) {
  while (value->producer && value->producer->op->Is("Identity")) value = value->producer->Input(0);
  return value;
}

bool IsTrue(const Value* value) {
  return value->contents && value->contents->size() == 1 && (*value->contents)[0].IsConst(1);
}

// How often a Loop runs, where that does not depend on what it computes.
std::optional<Dim> TripCount(const InferContext& c, Graph& body) {
  if (!c.HasInput(0)) return std::nullopt;
  const auto trips = c.Contents(0);
  if (!trips || trips->size() != 1) return std::nullopt;
  const Value* next = ThroughIdentity(body.outputs()[0]);
  const bool goes_on = IsTrue(next) || next == body.inputs()[1];
  const bool starts = !c.HasInput(1) || IsTrue(ThroughIdentity(c.node().Input(1)));
  if (!goes_on || !starts) return std::nullopt;
  return Max((*trips)[0], 0);
}

void CheckCounts(const InferContext& c, const Graph& body, size_t inputs, size_t least_outputs, int given) {
  if (body.inputs().size() != inputs) c.Fail("the body has ", body.inputs().size(), " inputs, expected ", inputs);
  if (body.outputs().size() < least_outputs)
    c.Fail("the body has ", body.outputs().size(), " outputs, expected at least ", least_outputs);
  if (c.num_outputs() > given) c.Fail("the node has ", c.num_outputs(), " outputs, the body gives ", given);
}

void ExpectTensors(const InferContext& c, const Graph& body, size_t first, std::string_view what) {
  for (size_t i = first; i < body.outputs().size(); ++i)
    if (!body.outputs()[i]->type.IsTensor()) c.Fail(what, " ", i - first, " of the body is not a tensor");
}

void ExpectCondition(const InferContext& c, const Type& type) {
  if (!type.IsTensor() || type.dtype != DType::kBool) c.Fail("the body's condition is not a boolean tensor");
}

void InferLoop(InferContext& c) {
  if (c.concrete()) return TypesAsLoaded(c);
  for (int i : {0, 1}) c.ExpectRank(i, 0, 1);
  Graph& body = *c.node().Subgraph("body");
  const int carried = std::max(c.num_inputs() - 2, 0);
  CheckCounts(c, body, carried + 2, carried + 1, static_cast<int>(body.outputs().size()) - 1);
  body.inputs()[0]->type = Type::Tensor(DType::kInt64, Shape{});
  body.inputs()[1]->type = Type::Tensor(DType::kBool, Shape{});
  std::vector<Type> types;
  for (int i = 0; i < carried; ++i) {
    if (!c.HasInput(i + 2)) c.Fail("carried value ", i, " has no initial value");
    types.push_back(c.InputType(i + 2));
  }
  TypeBody(c, {body, 2, 1, carried}, std::move(types));
  ExpectCondition(c, body.outputs()[0]->type);
  ExpectTensors(c, body, static_cast<size_t>(carried) + 1, "scan output");
  const std::set<SymbolId> known = KnownSymbols(c);
  const std::optional<Dim> trips = TripCount(c, body);
  const Dim count = trips ? *trips : c.NewSymbol("trips");
  for (int i = 0; i < c.num_outputs(); ++i) {
    // With no turn at all, a carried value is the initial one: the body's input has the type of both.
    const Type& in = i < carried ? body.inputs()[i + 2]->type : body.outputs()[i + 1]->type;
    const Type& out = body.outputs()[i + 1]->type;
    Type type = Outside(c, in.kind == out.kind ? in : out, known);
    if (i >= carried && type.shape) type.shape->insert(type.shape->begin(), count);
    c.SetOutput(i, std::move(type));
  }
}

// One axis a scan input or output, from an attribute that defaults to 0.
int64_t AxisOf(const InferContext& c, std::string_view name, int i, int count) {
  const std::vector<int64_t> axes = c.node().Ints(name);
  if (axes.empty()) return 0;
  if (static_cast<int>(axes.size()) != count) c.Fail(name, " has ", axes.size(), " values, expected ", count);
  return axes[i];
}

void InferScan(InferContext& c) {
  if (c.concrete()) return TypesAsLoaded(c);
  Graph& body = *c.node().Subgraph("body");
  const int64_t scanned = c.node().Int("num_scan_inputs");
  if (scanned < 1 || scanned > c.num_inputs()) c.Fail("num_scan_inputs is ", scanned, " of ", c.num_inputs());
  const int scans = static_cast<int>(scanned), states = c.num_inputs() - scans;
  const int stacked = static_cast<int>(body.outputs().size()) - states;
  CheckCounts(c, body, c.num_inputs(), states, static_cast<int>(body.outputs().size()));
  std::optional<Dim> length;
  for (int i = 0; i < scans; ++i) {
    Type type = c.InputType(states + i);
    if (!type.IsTensor()) c.Fail("scan input ", i, " is not a tensor");
    if (type.shape) {
      const int axis = c.Axis(AxisOf(c, "scan_input_axes", i, scans), type.Rank());
      const Dim size = (*type.shape)[axis];
      length = length ? c.Same(*length, size, "lengths of scanned inputs") : size;
      type.shape->erase(type.shape->begin() + axis);
    }
    body.inputs()[states + i]->type = std::move(type);
  }
  std::vector<Type> types;
  for (int i = 0; i < states; ++i) types.push_back(c.InputType(i));
  TypeBody(c, {body, 0, 0, states}, std::move(types));
  ExpectTensors(c, body, static_cast<size_t>(states), "scan output");
  const std::set<SymbolId> known = KnownSymbols(c);
  for (int i = 0; i < c.num_outputs(); ++i) {
    Type type = Outside(c, i < states ? body.inputs()[i]->type : body.outputs()[i]->type, known);
    if (i >= states && type.shape) {
      const int axis = c.Axis(AxisOf(c, "scan_output_axes", i - states, stacked), type.Rank() + 1);
      type.shape->insert(type.shape->begin() + axis, length ? *length : c.NewSymbol("scanned"));
    }
    c.SetOutput(i, std::move(type));
  }
}

}  // namespace

constexpr OpDef kOp_If = {
    .name = "If",
    .inputs = {{"cond", kBools}},
    .max_outputs = -1,
    .attributes = {attr::Graph("else_branch"), attr::Graph("then_branch")},
    .infer = InferIf,
    .flags = kControlFlow | kKernelShaped,
};
constexpr OpDef kOp_Loop = {
    .name = "Loop",
    .inputs = {{"M", kInt64s, 0, Param::kOptional},
               {"cond", kBools, 0, Param::kOptional},
               {"v_initial", kAnyType, 0, Param::kMany, Param::kAnything, 0}},
    .max_outputs = -1,
    .attributes = {attr::Graph("body")},
    .infer = InferLoop,
    .flags = kControlFlow | kKernelShaped,
};
constexpr OpDef kOp_Scan = {
    .name = "Scan",
    .inputs = {{"initial_state_and_scan_inputs", kAnyType, 0, Param::kMany}},
    .max_outputs = -1,
    .attributes = {attr::Graph("body"), attr::Required(attr::Int("num_scan_inputs")), attr::Ints("scan_input_axes"),
                   attr::Ints("scan_input_directions"), attr::Ints("scan_output_axes"),
                   attr::Ints("scan_output_directions")},
    .infer = InferScan,
    .flags = kControlFlow | kKernelShaped,
};

}  // namespace ziggurat
