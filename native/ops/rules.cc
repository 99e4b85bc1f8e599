#include "ops/rules.h"

namespace ziggurat {

void SameAsFirst(InferContext& c) { c.CopyType(0); }

std::optional<std::vector<Dim>> BroadcastOf(const InferContext& c, int first, int last) {
  std::vector<Dim> shape;
  for (int i = first; i < last; ++i) {
    if (!c.HasInput(i)) continue;
    if (!c.HasRank(i)) return std::nullopt;
    shape = c.BroadcastShapes(shape, c.InputShape(i));
  }
  return shape;
}

void BroadcastInputs(InferContext& c) {
  c.SetOutput(0, Type::Tensor(c.InputDType(0), BroadcastOf(c, 0, c.num_inputs())));
}

void BroadcastToBool(InferContext& c) { c.SetOutput(0, Type::Tensor(DType::kBool, BroadcastOf(c, 0, c.num_inputs()))); }

void FirstToBool(InferContext& c) { c.SetOutput(0, Type::Tensor(DType::kBool, c.InputType(0).shape)); }

void SameContents(InferContext& c) {
  if (auto contents = c.Contents(0)) c.SetContents(0, std::move(*contents));
}

DType DTypeAttribute(const InferContext& c, std::string_view name, DType fallback, DTypeSet allowed) {
  const int64_t number = c.node().Int(name, static_cast<int64_t>(fallback));
  if (number < 1 || number > 28) c.Fail("attribute '", name, "' is ", number, ", which is no element type");
  const DType dtype = static_cast<DType>(number);
  if (!Contains(allowed, dtype))
    c.Fail("attribute '", name, "' is ", Name(dtype), ", expected one of ", ToString(allowed));
  return dtype;
}

std::optional<int64_t> SmallCount(const Type& type) {
  if (!type.IsTensor() || !type.HasRank() || !type.IsStatic()) return std::nullopt;
  const int64_t count = type.StaticShape().Count();
  if (count > static_cast<int64_t>(InferContext::kMaxContents)) return std::nullopt;
  return count;
}

std::string Choice(const InferContext& c, std::string_view name, std::initializer_list<std::string_view> allowed) {
  std::string value = c.node().String(name);
  std::string list;
  for (std::string_view candidate : allowed) {
    if (value == candidate) return value;
    list += Cat(list.empty() ? "" : ", ", candidate);
  }
  c.Fail("attribute '", name, "' is '", value, "', expected one of ", list);
}

}  // namespace ziggurat
