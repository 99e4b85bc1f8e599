// Element-wise ops of two or more inputs, with broadcasting; and the arithmetic of shapes in the making.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// The contents of input i, repeated to `count` elements where it has one; nullopt where they are not known.
std::optional<std::vector<Dim>> ContentsOf(const InferContext& c, int i, int64_t count) {
  auto contents = c.Contents(i);
  if (!contents) return std::nullopt;
  if (contents->size() == 1) contents->resize(count, contents->front());
  // An input with as many elements as the output has them in the same order; others are truly broadcast.
  if (static_cast<int64_t>(contents->size()) != count) return std::nullopt;
  return contents;
}

using Rule = std::optional<Dim> (*)(const InferContext& c, const Dim& a, const Dim& b);

void Combine(InferContext& c, Rule rule) {
  const auto count = SmallCount(c.output_types[0]);
  if (!count || !IsShapeType(c.InputDType(0))) return;
  auto result = ContentsOf(c, 0, *count);
  for (int i = 1; result && i < c.num_inputs(); ++i) {
    const auto other = ContentsOf(c, i, *count);
    if (!other) return;
    for (int64_t k = 0; k < *count; ++k) {
      const std::optional<Dim> element = rule(c, (*result)[k], (*other)[k]);
      if (!element) return;
      (*result)[k] = *element;
    }
  }
  if (result) c.SetContents(0, std::move(*result));
}

std::optional<Dim> Quotient(const InferContext&, const Dim& a, const Dim& b) {
  if (b.IsConst(0)) return std::nullopt;
  if (a.IsConst() && b.IsConst()) {
    if (b.IsConst(-1)) return Dim(0) - a;
    return Dim(a.Const() / b.Const());  // towards zero, as tensors divide
  }
  // For what is not negative both roundings agree.
  if (a.IsNonNegative() && b.IsNonNegative()) return FloorDiv(a, b);
  return ExactDiv(a, b);
}

std::optional<Dim> Remainder(const InferContext& c, const Dim& a, const Dim& b) {
  if (b.IsConst(0)) return std::nullopt;
  const bool same_sign = a.IsNonNegative() && b.IsNonNegative();
  if (c.node().Int("fmod") && !same_sign) return std::nullopt;
  return Mod(a, b);
}

// 1 or 0 where the comparison is decided for every shape.
std::optional<bool> Decided(const Dim& a, const Dim& b) {
  if (a == b) return true;
  if (a.IsConst() && b.IsConst()) return false;
  // A dimension is never -1, the mark of "keep" in Expand and Reshape.
  if (a.IsConst() && a.Const() < 0 && b.IsNonNegative()) return false;
  if (b.IsConst() && b.Const() < 0 && a.IsNonNegative()) return false;
  return std::nullopt;
}

void EqualContents(InferContext& c) {
  Combine(c, [](const InferContext&, const Dim& a, const Dim& b) -> std::optional<Dim> {
    const auto equal = Decided(a, b);
    return equal ? std::optional<Dim>(*equal ? 1 : 0) : std::nullopt;
  });
}

void InferWhere(InferContext& c) { c.SetOutput(0, Type::Tensor(c.InputDType(1), BroadcastOf(c, 0, 3))); }

void WhereContents(InferContext& c) {
  const auto count = SmallCount(c.output_types[0]);
  if (!count || !IsShapeType(c.InputDType(1))) return;
  const auto condition = ContentsOf(c, 0, *count), yes = ContentsOf(c, 1, *count), no = ContentsOf(c, 2, *count);
  if (!yes || !no) return;
  std::vector<Dim> result;
  for (int64_t k = 0; k < *count; ++k) {
    if ((*yes)[k] == (*no)[k])
      result.push_back((*yes)[k]);
    else if (condition && (*condition)[k].IsConst())
      result.push_back((*condition)[k].IsConst(0) ? (*no)[k] : (*yes)[k]);
    else
      return;
  }
  c.SetContents(0, std::move(result));
}

void DivContents(InferContext& c) { Combine(c, Quotient); }
void ModContents(InferContext& c) { Combine(c, Remainder); }

void InferBitShift(InferContext& c) {
  Choice(c, "direction", {"LEFT", "RIGHT"});
  BroadcastInputs(c);
}

template <Dim (*Operation)(const Dim&, const Dim&)>
void Contents(InferContext& c) {
  Combine(c, [](const InferContext&, const Dim& a, const Dim& b) -> std::optional<Dim> { return Operation(a, b); });
}

Dim Plus(const Dim& a, const Dim& b) { return a + b; }
Dim Minus(const Dim& a, const Dim& b) { return a - b; }
Dim Times(const Dim& a, const Dim& b) { return a * b; }
Dim Larger(const Dim& a, const Dim& b) { return Max(a, b); }
Dim Smaller(const Dim& a, const Dim& b) { return Min(a, b); }

void ExpandSum(Expander& e) {
  Value* sum = e.Wide(e.In(0));
  for (size_t i = 1; i < e.node().inputs.size(); ++i) sum = e.Op("Add", {sum, e.Wide(e.In(i))});
  e.Return(0, sum);
}

void ExpandMean(Expander& e) {
  Value* sum = e.Wide(e.In(0));
  for (size_t i = 1; i < e.node().inputs.size(); ++i) sum = e.Op("Add", {sum, e.Wide(e.In(i))});
  e.Return(0, e.Op("Div", {sum, e.ScalarLike(sum, static_cast<double>(e.node().inputs.size()))}));
}

// Not "not less": comparisons with NaN are false.
void ExpandGreaterOrEqual(Expander& e) {
  e.Return(0, e.Op("Or", {e.Op("Greater", {e.In(0), e.In(1)}), e.Op("Equal", {e.In(0), e.In(1)})}));
}

void ExpandLessOrEqual(Expander& e) {
  e.Return(0, e.Op("Or", {e.Op("Less", {e.In(0), e.In(1)}), e.Op("Equal", {e.In(0), e.In(1)})}));
}

}  // namespace

constexpr OpDef kOp_Add = {
    .name = "Add",
    .inputs = {{"A", kNumbers, 'T'}, {"B", kNumbers, 'T'}},
    .infer = BroadcastInputs,
    .contents = Contents<Plus>,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_Sub = {
    .name = "Sub",
    .inputs = {{"A", kNumbers, 'T'}, {"B", kNumbers, 'T'}},
    .infer = BroadcastInputs,
    .contents = Contents<Minus>,
    .flags = kElementwise,
};
constexpr OpDef kOp_Mul = {
    .name = "Mul",
    .inputs = {{"A", kNumbers, 'T'}, {"B", kNumbers, 'T'}},
    .infer = BroadcastInputs,
    .contents = Contents<Times>,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_Div = {
    .name = "Div",
    .inputs = {{"A", kNumbers, 'T'}, {"B", kNumbers, 'T'}},
    .infer = BroadcastInputs,
    .contents = DivContents,
    .flags = kElementwise,
};
constexpr OpDef kOp_Mod = {
    .name = "Mod",
    .inputs = {{"A", kNumbers, 'T'}, {"B", kNumbers, 'T'}},
    .attributes = {attr::Int("fmod", 0)},
    .infer = BroadcastInputs,
    .contents = ModContents,
    .flags = kElementwise,
};
constexpr OpDef kOp_Max = {
    .name = "Max",
    .inputs = {{"data_0", kNumbers, 'T', Param::kMany}},
    .infer = BroadcastInputs,
    .contents = Contents<Larger>,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_Min = {
    .name = "Min",
    .inputs = {{"data_0", kNumbers, 'T', Param::kMany}},
    .infer = BroadcastInputs,
    .contents = Contents<Smaller>,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_Sum = {
    .name = "Sum",
    .inputs = {{"data_0", kFloats, 'T', Param::kMany}},
    .infer = BroadcastInputs,
    .expand = ExpandSum,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_Mean = {
    .name = "Mean",
    .inputs = {{"data_0", kFloats, 'T', Param::kMany}},
    .infer = BroadcastInputs,
    .expand = ExpandMean,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_Pow = {
    .name = "Pow",
    .inputs = {{"X", kFloats | kIndices}, {"Y", kNumbers}},
    .infer = BroadcastInputs,
    .flags = kElementwise,
};
constexpr OpDef kOp_BitShift = {
    .name = "BitShift",
    .inputs = {{"X", kIntegers, 'T'}, {"Y", kIntegers, 'T'}},
    .attributes = {attr::Required(attr::String("direction"))},
    .infer = InferBitShift,
    .flags = kElementwise,
};
constexpr OpDef kOp_BitwiseAnd = {
    .name = "BitwiseAnd",
    .inputs = {{"A", kIntegers, 'T'}, {"B", kIntegers, 'T'}},
    .infer = BroadcastInputs,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_BitwiseOr = {
    .name = "BitwiseOr",
    .inputs = {{"A", kIntegers, 'T'}, {"B", kIntegers, 'T'}},
    .infer = BroadcastInputs,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_BitwiseXor = {
    .name = "BitwiseXor",
    .inputs = {{"A", kIntegers, 'T'}, {"B", kIntegers, 'T'}},
    .infer = BroadcastInputs,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_And = {
    .name = "And",
    .inputs = {{"A", kBools, 'T'}, {"B", kBools, 'T'}},
    .infer = BroadcastToBool,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_Or = {
    .name = "Or",
    .inputs = {{"A", kBools, 'T'}, {"B", kBools, 'T'}},
    .infer = BroadcastToBool,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_Xor = {
    .name = "Xor",
    .inputs = {{"A", kBools, 'T'}, {"B", kBools, 'T'}},
    .infer = BroadcastToBool,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_Equal = {
    .name = "Equal",
    .inputs = {{"A", kNumbers | kBools | kStrings, 'T'}, {"B", kNumbers | kBools | kStrings, 'T'}},
    .infer = BroadcastToBool,
    .contents = EqualContents,
    .flags = kElementwise | kCommutative,
};
constexpr OpDef kOp_Greater = {
    .name = "Greater",
    .inputs = {{"A", kNumbers, 'T'}, {"B", kNumbers, 'T'}},
    .infer = BroadcastToBool,
    .flags = kElementwise,
};
constexpr OpDef kOp_Less = {
    .name = "Less",
    .inputs = {{"A", kNumbers, 'T'}, {"B", kNumbers, 'T'}},
    .infer = BroadcastToBool,
    .flags = kElementwise,
};
constexpr OpDef kOp_GreaterOrEqual = {
    .name = "GreaterOrEqual",
    .inputs = {{"A", kNumbers, 'T'}, {"B", kNumbers, 'T'}},
    .infer = BroadcastToBool,
    .expand = ExpandGreaterOrEqual,
    .flags = kElementwise,
};
constexpr OpDef kOp_LessOrEqual = {
    .name = "LessOrEqual",
    .inputs = {{"A", kNumbers, 'T'}, {"B", kNumbers, 'T'}},
    .infer = BroadcastToBool,
    .expand = ExpandLessOrEqual,
    .flags = kElementwise,
};
constexpr OpDef kOp_Where = {
    .name = "Where",
    .inputs = {{"condition", kBools}, {"X", kClassic, 'T'}, {"Y", kClassic, 'T'}},
    .infer = InferWhere,
    .contents = WhereContents,
    .flags = kElementwise,
};

}  // namespace ziggurat
