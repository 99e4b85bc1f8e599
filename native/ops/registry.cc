// Finding ops by name, and checking nodes against their descriptors.
#include <algorithm>
#include <array>

#include "ops/infer.h"
#include "ops/op_list.h"

namespace ziggurat {
namespace {

struct Entry {
  std::string_view domain, name;
  const OpDef* op;
  constexpr bool operator<(const Entry& other) const {
    return domain != other.domain ? domain < other.domain : name < other.name;
  }
};

constexpr Entry kUnsorted[] = {
#define OP(Name) {"", #Name, &kOp_##Name},
#define ZIG_OP(Name) {"zig", #Name, &kOp_Zig##Name},
#define ML_OP(Name) {"ai.onnx.ml", #Name, &kOp_Ml##Name},
#define TRAINING_OP(Name) {"ai.onnx.preview.training", #Name, &kOp_Training##Name},
#include "ops/op_list.inc"
#undef OP
#undef ZIG_OP
#undef ML_OP
#undef TRAINING_OP
};

constexpr auto kEntries = [] {
  std::array<Entry, std::size(kUnsorted)> entries{};
  std::copy(std::begin(kUnsorted), std::end(kUnsorted), entries.begin());
  std::sort(entries.begin(), entries.end());
  return entries;
}();

// "A" or "input 3" for error texts.
std::string InputName(const OpDef& op, int i) {
  const Param* formal = op.Formal(i);
  if (!formal || formal->form == Param::kMany) return Cat("input ", i);
  return Cat("input ", formal->name);
}

std::string_view KindName(AttributeKind kind) {
  constexpr std::string_view kNames[] = {"an int", "a float", "a string", "ints",
                                         "floats", "strings", "a tensor", "a graph"};
  return kNames[static_cast<size_t>(kind)];
}

std::string_view KindName(Kind kind) {
  constexpr std::string_view kNames[] = {"a tensor", "a sequence",      "an optional",
                                         "a map",    "a sparse tensor", "a resource"};
  return kNames[static_cast<size_t>(kind)];
}

// The element type that the formal's type set speaks about; kUndefined where it is not known.
DType ElementType(const Type& type) {
  const Type* inner = &type;
  while (!inner->IsTensor() && inner->element) inner = inner->element.get();
  return inner->IsTensor() ? inner->dtype : DType::kUndefined;
}

bool Accepts(Param::Takes takes, Kind kind) {
  switch (takes) {
    case Param::kTensor:
      return kind == Kind::kTensor;
    case Param::kSequence:
      return kind == Kind::kSequence;
    case Param::kOptionalValue:
      return kind == Kind::kOptional;
    case Param::kResource:
      return kind == Kind::kResource;
    case Param::kAnything:
      return true;
  }
  return false;
}

// Kinds, element types, and that inputs of one group agree.
void CheckInputTypes(const Node& node) {
  const OpDef& op = *node.op;
  std::array<int, 128> first;  // per group letter: the first input of that group
  first.fill(-1);
  for (int i = 0; i < static_cast<int>(node.inputs.size()); ++i) {
    const Value* value = node.Input(i);
    const Param* formal = op.Formal(i);
    if (!value || !formal) continue;
    if (!Accepts(formal->takes, value->type.kind))
      throw Error(Code::kInvalidModel, InputName(op, i), " cannot be ", KindName(value->type.kind));
    if (!value->type.encoding.IsPlain() && !formal->encoded)
      throw Error(Code::kInvalidModel, InputName(op, i), " cannot be an encoded tensor; zig.Dequantize decodes it");
    const DType dtype = ElementType(value->type);
    if (dtype == DType::kUndefined || formal->takes == Param::kAnything) continue;
    if (!Contains(formal->types, dtype))
      throw Error(Code::kInvalidModel, InputName(op, i), " is ", Name(dtype), ", expected ", ToString(formal->types));
    if (!formal->group) continue;
    int& other = first[static_cast<unsigned char>(formal->group) & 127];
    if (other < 0) {
      other = i;
    } else if (const DType before = ElementType(node.inputs[other]->type); before != dtype) {
      throw Error(Code::kInvalidModel, InputName(op, other), " is ", Name(before), " and ", InputName(op, i), " is ",
                  Name(dtype), ", must agree");
    }
  }
}

void CheckAttributes(const Node& node) {
  for (const auto& [name, value] : node.attributes) {
    const AttributeSpec* spec = node.op->FindAttribute(name);
    if (!spec) throw Error(Code::kInvalidModel, "has no attribute '", name, "'");
    // An empty list carries no kind of its own in the file format.
    if (KindOf(value) != spec->kind)
      throw Error(Code::kInvalidModel, "attribute '", name, "' is ", KindName(KindOf(value)), ", expected ",
                  KindName(spec->kind));
    const bool null = (KindOf(value) == AttributeKind::kTensor && !std::get<std::shared_ptr<Constant>>(value)) ||
                      (KindOf(value) == AttributeKind::kGraph && !std::get<std::shared_ptr<Graph>>(value));
    if (null) throw Error(Code::kInvalidModel, "attribute '", name, "' holds nothing");
  }
  for (const AttributeSpec& spec : node.op->attributes)
    if (spec.required && !node.Has(spec.name))
      throw Error(Code::kInvalidModel, "attribute '", spec.name, "' is required");
}

void CheckCounts(const Node& node) {
  const OpDef& op = *node.op;
  const int inputs = static_cast<int>(node.inputs.size()), outputs = static_cast<int>(node.outputs.size());
  const int least = op.MinInputs(), most = op.MaxInputs();
  if (inputs < least || (most >= 0 && inputs > most))
    throw Error(Code::kInvalidModel, "has ", inputs, " inputs, expected ", least,
                most == least ? std::string() : (most < 0 ? " or more" : Cat(" to ", most)));
  if (outputs < op.min_outputs || (op.max_outputs >= 0 && outputs > op.max_outputs))
    throw Error(Code::kInvalidModel, "has ", outputs, " outputs, expected ", op.min_outputs,
                op.max_outputs == op.min_outputs ? std::string()
                                                 : (op.max_outputs < 0 ? " or more" : Cat(" to ", op.max_outputs)));
  for (int i = 0; i < inputs; ++i) {
    const Param* formal = op.Formal(i);
    if (!node.inputs[i] && formal && formal->form == Param::kOne)
      throw Error(Code::kInvalidModel, InputName(op, i), " is required");
  }
}

void InferContents(InferContext& context) {
  const OpDef& op = *context.node().op;
  if (!op.contents) return;
  try {
    op.contents(context);
  } catch (const Error&) {
    // Arithmetic beyond 64 bits: the tensor wraps around, the expression is merely not known.
    for (auto& contents : context.output_contents) contents.reset();
  }
}

// Types for a node whose shapes contradict each other: what was said before, otherwise a tensor of the first input's
// element type.
void LeaveUnknown(InferContext& context) {
  const DType dtype = context.num_inputs() && context.HasInput(0) ? context.InputDType(0) : DType::kUndefined;
  for (int i = 0; i < context.num_outputs(); ++i) {
    Type& type = context.output_types[i];
    if (!type.IsTensor() || type.dtype == DType::kUndefined) type = Type::Tensor(dtype, std::nullopt);
    type.shape.reset();
    context.output_contents[i].reset();
  }
}

}  // namespace

const OpDef* FindOp(std::string_view domain, std::string_view name) {
  if (domain == "ai.onnx") domain = "";
  const Entry wanted{domain, name, nullptr};
  const auto found = std::lower_bound(kEntries.begin(), kEntries.end(), wanted);
  return found != kEntries.end() && found->name == name && found->domain == domain ? found->op : nullptr;
}

const OpDef& GetOp(std::string_view name, std::string_view domain) {
  const OpDef* op = FindOp(domain, name);
  if (!op) throw Error(Code::kInternal, "no op ", domain, domain.empty() ? "" : ".", name);
  return *op;
}

std::vector<const OpDef*> AllOps() {
  std::vector<const OpDef*> ops;
  for (const Entry& entry : kEntries) ops.push_back(entry.op);
  return ops;
}

std::optional<Attribute> AttributeSpec::Default() const {
  if (!fallback.present) return std::nullopt;
  if (kind == AttributeKind::kInt) return fallback.integer;
  if (kind == AttributeKind::kFloat) return fallback.number;
  return std::string(fallback.text);
}

int OpDef::MinInputs() const {
  // Trailing optional inputs may be left out; one before a required input only absent.
  int least = 0, position = 0;
  for (const Param& param : inputs) {
    ++position;
    if (param.form == Param::kOne) least = position;
    if (param.form == Param::kMany) least = std::max(least, position - 1 + param.least);
  }
  if (!inputs.size() || std::prev(inputs.end())->form != Param::kMany) return least;
  return std::prev(inputs.end())->least == 0 ? least : std::max(least, position - 1 + std::prev(inputs.end())->least);
}

int OpDef::MaxInputs() const {
  return inputs.size() && std::prev(inputs.end())->form == Param::kMany ? -1 : static_cast<int>(inputs.size());
}

const Param* OpDef::Formal(int i) const {
  const int count = static_cast<int>(inputs.size());
  if (i < count) return inputs.begin() + i;
  return MaxInputs() < 0 ? inputs.begin() + count - 1 : nullptr;
}

const AttributeSpec* OpDef::FindAttribute(std::string_view attribute) const {
  for (const AttributeSpec& spec : attributes)
    if (attribute == spec.name) return &spec;
  return nullptr;
}

bool OpDef::IsShapeInput(int i) const {
  return std::find(shape_inputs.begin(), shape_inputs.end(), i) != shape_inputs.end();
}

void CheckSignature(const Node& node) {
  try {
    CheckCounts(node);
    CheckAttributes(node);
  } catch (Error& error) {
    error.AtNode(node.op->name, node.name);
    throw;
  }
}

void InferTypes(Node& node) {
  try {
    CheckInputTypes(node);
    InferContext context(node);
    try {
      node.op->infer(context);
      InferContents(context);
    } catch (const Error& error) {
      // A branch that never runs may hold what could not run (exporters guard Squeeze with If); running it tells.
      const bool guarded = node.graph->parent() && error.code() == Code::kInvalidModel && !node.op->Is(kControlFlow);
      // So does it of arithmetic that is too large for an expression.
      if (!guarded && error.code() != Code::kInvalidArgument) throw;
      LeaveUnknown(context);
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (!node.outputs[i]) continue;
      node.outputs[i]->type = std::move(context.output_types[i]);
      node.outputs[i]->contents = std::move(context.output_contents[i]);
    }
  } catch (Error& error) {
    error.AtNode(node.op->name, node.name);
    throw;
  }
}

std::string ToString(DTypeSet set) {
  std::string out;
  for (int i = 1; IsValidDType(i); ++i)
    if (Contains(set, static_cast<DType>(i))) out += Cat(out.empty() ? "" : ", ", Name(static_cast<DType>(i)));
  return out;
}

}  // namespace ziggurat
