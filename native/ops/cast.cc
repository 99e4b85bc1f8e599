// Changes of element type.
#include <cmath>

#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

void InferCast(InferContext& c) {
  Choice(c, "round_mode", {"up", "down", "nearest"});
  c.SetOutput(0, Type::Tensor(DTypeAttribute(c, "to", DType::kUndefined), c.InputType(0).shape));
}

// Between integers that hold shapes, and from bools, elements keep their value; a narrowing that would change one is
// not followed (SetContents).
void CastContents(InferContext& c) {
  const DType from = c.InputDType(0);
  if ((IsInteger(from) || from == DType::kBool) && IsShapeType(c.output_types[0].dtype)) return SameContents(c);
  if (from != DType::kFloat32 || !IsShapeType(c.output_types[0].dtype) || !SmallCount(c.InputType(0))) return;
  const auto numbers = c.Floats(0);
  if (!numbers) return;
  std::vector<Dim> out;
  for (float number : *numbers) {
    if (!(std::fabs(number) < 2147483648.0f)) return;
    out.push_back(static_cast<int64_t>(number));
  }
  c.SetContents(0, std::move(out));
}

void InferCastLike(InferContext& c) { c.SetOutput(0, Type::Tensor(c.InputDType(1), c.InputType(0).shape)); }

void ExpandCastLike(Expander& e) {
  Attributes attributes = e.node().attributes;
  attributes["to"] = static_cast<int64_t>(e.In(1)->type.dtype);
  e.Return(0, e.Op("Cast", {e.In(0)}, std::move(attributes)));
}

void InferBitCast(InferContext& c) {
  const DType to = DTypeAttribute(c, "to", DType::kUndefined, kAnyType & ~kStrings), from = c.InputDType(0);
  // Sub-byte elements are held a byte each, but their size is what their names say.
  auto bits = [](DType dtype) -> size_t {
    switch (dtype) {
      case DType::kInt4:
      case DType::kUint4:
      case DType::kFloat4E2M1:
        return 4;
      case DType::kInt2:
      case DType::kUint2:
        return 2;
      case DType::kFloat6E2M3:
      case DType::kFloat6E3M2:
        return 6;
      default:
        return 8 * ByteSize(dtype);
    }
  };
  if (from != DType::kUndefined && bits(from) != bits(to))
    c.Fail("cannot see ", Name(from), " as ", Name(to), ": the sizes differ");
  c.SetOutput(0, Type::Tensor(to, c.InputType(0).shape));
}

}  // namespace

constexpr OpDef kOp_Cast = {
    .name = "Cast",
    .inputs = {{"input"}},
    .attributes = {attr::String("round_mode", "up"), attr::Int("saturate", 1), attr::Required(attr::Int("to"))},
    .infer = InferCast,
    .contents = CastContents,
    .flags = kElementwise,
};
constexpr OpDef kOp_CastLike = {
    .name = "CastLike",
    .inputs = {{"input"}, {"target_type"}},
    .attributes = {attr::String("round_mode", "up"), attr::Int("saturate", 1)},
    .infer = InferCastLike,
    .contents = CastContents,
    .expand = ExpandCastLike,
};
constexpr OpDef kOp_BitCast = {
    .name = "BitCast",
    .inputs = {{"input"}},
    .attributes = {attr::Required(attr::Int("to"))},
    .infer = InferBitCast,
    .flags = kElementwise | kView,
};

}  // namespace ziggurat
