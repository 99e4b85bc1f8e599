// Element-wise ops of one input. All are primitives.
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

void NegatedContents(InferContext& c) {
  if (!IsShapeType(c.InputDType(0))) return;
  auto contents = c.Contents(0);
  if (!contents) return;
  for (Dim& dim : *contents) dim = Dim(0) - dim;
  c.SetContents(0, std::move(*contents));
}

}  // namespace

constexpr OpDef kOp_Abs = {
    .name = "Abs",
    .inputs = {{"X", kNumbers}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Acos = {
    .name = "Acos",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Acosh = {
    .name = "Acosh",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Asin = {
    .name = "Asin",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Asinh = {
    .name = "Asinh",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Atan = {
    .name = "Atan",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Atanh = {
    .name = "Atanh",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_BitwiseNot = {
    .name = "BitwiseNot",
    .inputs = {{"X", kIntegers}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Ceil = {
    .name = "Ceil",
    .inputs = {{"X", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Cos = {
    .name = "Cos",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Cosh = {
    .name = "Cosh",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Erf = {
    .name = "Erf",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Exp = {
    .name = "Exp",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Floor = {
    .name = "Floor",
    .inputs = {{"X", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Log = {
    .name = "Log",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Neg = {
    .name = "Neg",
    .inputs = {{"X", kSigned}},
    .infer = SameAsFirst,
    .contents = NegatedContents,
    .flags = kElementwise,
};
constexpr OpDef kOp_Not = {
    .name = "Not",
    .inputs = {{"X", kBools}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Reciprocal = {
    .name = "Reciprocal",
    .inputs = {{"X", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Relu = {
    .name = "Relu",
    .inputs = {{"X", kSigned}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Round = {
    .name = "Round",
    .inputs = {{"X", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Sigmoid = {
    .name = "Sigmoid",
    .inputs = {{"X", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Sign = {
    .name = "Sign",
    .inputs = {{"input", kNumbers}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Sin = {
    .name = "Sin",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Sinh = {
    .name = "Sinh",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Sqrt = {
    .name = "Sqrt",
    .inputs = {{"X", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Tan = {
    .name = "Tan",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_Tanh = {
    .name = "Tanh",
    .inputs = {{"input", kFloats}},
    .infer = SameAsFirst,
    .flags = kElementwise,
};
constexpr OpDef kOp_IsInf = {
    .name = "IsInf",
    .inputs = {{"X", kFloats | kFloat8s}},
    .attributes = {attr::Int("detect_negative", 1), attr::Int("detect_positive", 1)},
    .infer = FirstToBool,
    .flags = kElementwise,
};
constexpr OpDef kOp_IsNaN = {
    .name = "IsNaN",
    .inputs = {{"X", kFloats | kFloat8s}},
    .infer = FirstToBool,
    .flags = kElementwise,
};

}  // namespace ziggurat
