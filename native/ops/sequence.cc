// Sequences of tensors, and values that may be absent.
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// What is true of all elements: one element type, and a shape where all have the same.
Type Common(const InferContext& c, const Type& a, const Type& b) {
  if (a.dtype != b.dtype && a.dtype != DType::kUndefined && b.dtype != DType::kUndefined)
    c.Fail("elements are ", Name(a.dtype), " and ", Name(b.dtype), ", must agree");
  Type out = a;
  if (out.dtype == DType::kUndefined) out.dtype = b.dtype;
  if (a.shape != b.shape) out.shape.reset();
  return out;
}

// Type of an element. Dimensions that are no numbers may differ from one element to the next: each gets its own.
Type Element(InferContext& c, int input) {
  Type type = *c.InputType(input).element;
  if (!type.IsTensor()) return type;
  if (!type.shape) {
    if (c.concrete()) c.NewSymbol("element");
    return type;
  }
  for (Dim& dim : *type.shape)
    if (!dim.IsConst()) dim = c.NewSymbol("element");
  return type;
}

void InferSequenceConstruct(InferContext& c) {
  Type element = c.InputType(0);
  for (int i = 1; i < c.num_inputs(); ++i) element = Common(c, element, c.InputType(i));
  c.SetOutput(0, Type::Sequence(std::move(element)));
}

void InferSequenceEmpty(InferContext& c) {
  c.SetOutput(0, Type::Sequence(Type::Tensor(DTypeAttribute(c, "dtype", DType::kFloat32), std::nullopt)));
}

void InferSequenceInsert(InferContext& c) {
  c.SetOutput(0, Type::Sequence(Common(c, *c.InputType(0).element, c.InputType(1))));
}

void InferSequenceAt(InferContext& c) { c.SetOutput(0, Element(c, 0)); }
void InferSequenceLength(InferContext& c) { c.SetOutput(0, DType::kInt64, {}); }

void InferSplitToSequence(InferContext& c) {
  Type element = Type::Tensor(c.InputDType(0), std::nullopt);
  if (!c.HasRank(0)) return c.SetOutput(0, Type::Sequence(std::move(element)));
  std::vector<Dim> shape = c.InputShape(0);
  const int axis = c.Axis(c.node().Int("axis"), static_cast<int>(shape.size()));
  if (!c.HasInput(1)) {
    if (c.node().Int("keepdims"))
      shape[axis] = 1;
    else
      shape.erase(shape.begin() + axis);
    element.shape = std::move(shape);
    return c.SetOutput(0, Type::Sequence(std::move(element)));
  }
  c.ExpectRank(1, 0, 1);
  const auto sizes = c.Ints(1);
  if (!sizes || sizes->empty()) return c.SetOutput(0, Type::Sequence(std::move(element)));
  const int64_t first = (*sizes)[0];
  if (first < 0) c.Fail("split holds ", first);
  bool same = true;
  for (int64_t size : *sizes) same &= size == first;
  // One number cuts until the axis ends; the last piece may be smaller.
  if (c.HasRank(1) && c.InputType(1).Rank() == 0) {
    if (first == 0) c.Fail("split is 0");
    same = shape[axis].IsConst() && shape[axis].Const() % first == 0;
  }
  if (same) {
    shape[axis] = first;
    element.shape = std::move(shape);
  }
  c.SetOutput(0, Type::Sequence(std::move(element)));
}

void InferConcatFromSequence(InferContext& c) {
  const bool stack = c.node().Int("new_axis") != 0;
  Type type = Element(c, 0);
  if (type.shape) {
    const int rank = type.Rank() + (stack ? 1 : 0);
    const int axis = c.Axis(c.node().Int("axis"), rank);
    if (stack)
      type.shape->insert(type.shape->begin() + axis, c.NewSymbol("joined"));
    else
      (*type.shape)[axis] = c.NewSymbol("joined");
  }
  c.SetOutput(0, std::move(type));
}

// The type a text names, as the standard writes it, "seq(tensor(float))", or as graphs print it,
// "sequence(float32[*])". A shape is not taken over: what comes may have another.
Type ParseType(const InferContext& c, std::string_view text) {
  auto inside = [&](std::string_view prefix) -> std::optional<std::string_view> {
    if (!text.starts_with(prefix) || !text.ends_with(")")) return std::nullopt;
    return text.substr(prefix.size(), text.size() - prefix.size() - 1);
  };
  for (const char* prefix : {"seq(", "sequence("})
    if (const auto element = inside(prefix)) return Type::Sequence(ParseType(c, *element));
  if (const auto element = inside("optional(")) return Type::Optional(ParseType(c, *element));
  std::string_view name = inside("tensor(").value_or(text.substr(0, text.find('[')));
  name = name == "float" ? "float32" : name == "double" ? "float64" : name;
  if (const auto dtype = DTypeFromName(name)) return Type::Tensor(*dtype, std::nullopt);
  c.Fail("attribute 'type' is '", text, "', which names no type");
}

void InferOptional(InferContext& c) {
  if (c.HasInput(0)) return c.SetOutput(0, Type::Optional(c.InputType(0)));
  if (!c.node().Has("type")) c.Fail("has neither an input nor attribute 'type'");
  Type type = ParseType(c, c.node().String("type"));
  c.SetOutput(0, type.kind == Kind::kOptional ? type : Type::Optional(std::move(type)));
}

void InferOptionalHasElement(InferContext& c) { c.SetOutput(0, DType::kBool, {}); }

// Tensors and sequences count as optionals that are there.
void InferOptionalGetElement(InferContext& c) {
  if (c.InputType(0).kind != Kind::kOptional) return c.CopyType(0);
  c.SetOutput(0, Element(c, 0));
}

}  // namespace

constexpr OpDef kOp_SequenceConstruct = {
    .name = "SequenceConstruct",
    .inputs = {{"inputs", kClassic, 'T', Param::kMany}},
    .infer = InferSequenceConstruct,
};
constexpr OpDef kOp_SequenceEmpty = {
    .name = "SequenceEmpty",
    .attributes = {attr::Int("dtype")},
    .infer = InferSequenceEmpty,
};
constexpr OpDef kOp_SequenceInsert = {
    .name = "SequenceInsert",
    .inputs = {{"input_sequence", kClassic, 0, Param::kOne, Param::kSequence},
               {"tensor", kClassic},
               {"position", kIndices, 0, Param::kOptional}},
    .infer = InferSequenceInsert,
};
constexpr OpDef kOp_SequenceLength = {
    .name = "SequenceLength",
    .inputs = {{"input_sequence", kClassic, 0, Param::kOne, Param::kSequence}},
    .infer = InferSequenceLength,
};
constexpr OpDef kOp_SplitToSequence = {
    .name = "SplitToSequence",
    .inputs = {{"input", kClassic}, {"split", kIndices, 0, Param::kOptional}},
    .attributes = {attr::Int("axis", 0), attr::Int("keepdims", 1)},
    .infer = InferSplitToSequence,
};
constexpr OpDef kOp_Optional = {
    .name = "Optional",
    .inputs = {{"input", kAnyType, 0, Param::kOptional, Param::kAnything}},
    .attributes = {attr::String("type")},
    .infer = InferOptional,
};
constexpr OpDef kOp_OptionalHasElement = {
    .name = "OptionalHasElement",
    .inputs = {{"input", kAnyType, 0, Param::kOptional, Param::kAnything}},
    .infer = InferOptionalHasElement,
};
constexpr OpDef kOp_SequenceErase = {
    .name = "SequenceErase",
    .inputs = {{"input_sequence", kClassic, 0, Param::kOne, Param::kSequence},
               {"position", kIndices, 0, Param::kOptional}},
    .infer = SameAsFirst,
};
constexpr OpDef kOp_SequenceAt = {
    .name = "SequenceAt",
    .inputs = {{"input_sequence", kClassic, 0, Param::kOne, Param::kSequence}, {"position", kIndices}},
    .infer = InferSequenceAt,
    .flags = kKernelShaped,
};
constexpr OpDef kOp_ConcatFromSequence = {
    .name = "ConcatFromSequence",
    .inputs = {{"input_sequence", kClassic, 0, Param::kOne, Param::kSequence}},
    .attributes = {attr::Required(attr::Int("axis")), attr::Int("new_axis", 0)},
    .infer = InferConcatFromSequence,
    .flags = kKernelShaped,
};
constexpr OpDef kOp_OptionalGetElement = {
    .name = "OptionalGetElement",
    .inputs = {{"input", kAnyType, 0, Param::kOne, Param::kAnything}},
    .infer = InferOptionalGetElement,
    .flags = kKernelShaped,
};

}  // namespace ziggurat
