// Ops that make tensors from shapes and scalars, and ops whose output's shape their input's values decide.
#include <cmath>
#include <numeric>

#include "device/reference/moves.h"
#include "device/reference/plain.h"

namespace ziggurat::plain {
namespace {

void ShapeOf(const Args& args) {
  const Shape& shape = args.In(0).shape;
  const int64_t rank = shape.rank();
  const auto resolve = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank); };
  const int64_t start = resolve(args.Int("start", 0)), end = args.node.Has("end") ? resolve(args.Int("end")) : rank;
  ZIGGURAT_CHECK(args.Out(0).Count() == std::max<int64_t>(end - start, 0));
  for (int64_t i = start; i < end; ++i) args.Out(0).As<int64_t>()[i - start] = shape[static_cast<int>(i)];
}

void Size(const Args& args) { StoreOne<int64_t>(args.Out(0), 0, args.In(0).Count()); }

void ConstantOfShape(const Args& args) {
  const std::shared_ptr<Constant> value = args.node.Tensor("value");
  Fill(value ? value->View() : TensorView{}, 0, args.Out(0), 0, args.Out(0).Count());
}

// The value attribute that is set; scalars and lists become tensors of rank 0 and 1.
void ConstantValue(const Args& args) {
  const TensorView& out = args.Out(0);
  const Node& node = args.node;
  if (const std::shared_ptr<Constant> value = node.Tensor("value"))
    return CopyRun(value->View(), 0, out, 0, out.Count());
  const auto store = [&](const auto& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      if constexpr (std::is_same_v<std::decay_t<decltype(values[i])>, std::string>)
        out.As<std::string>()[i] = values[i];
      else if constexpr (std::is_same_v<std::decay_t<decltype(values[i])>, float>)
        out.As<float>()[i] = values[i];
      else
        out.As<int64_t>()[i] = values[i];
    }
  };
  if (node.Has("value_float")) return store(std::vector<float>{node.Float("value_float")});
  if (node.Has("value_int")) return store(std::vector<int64_t>{node.Int("value_int")});
  if (node.Has("value_string")) return store(std::vector<std::string>{node.String("value_string")});
  if (node.Has("value_floats")) return store(node.Floats("value_floats"));
  if (node.Has("value_ints")) return store(node.Ints("value_ints"));
  if (node.Has("value_strings")) return store(node.Strings("value_strings"));
  throw Error(Code::kUnsupported, "Constant without a dense value");
}

void Range(const Args& args) {
  const TensorView& out = args.Out(0);
  const int64_t count = out.Count();
  if (IsFloat(out.dtype)) {
    const double start = LoadOne<double>(args.In(0)), delta = LoadOne<double>(args.In(2));
    for (int64_t i = 0; i < count; ++i) StoreOne<double>(out, i, start + static_cast<double>(i) * delta);
    return;
  }
  const int64_t start = LoadOne<int64_t>(args.In(0)), delta = LoadOne<int64_t>(args.In(2));
  for (int64_t i = 0; i < count; ++i) StoreOne<int64_t>(out, i, WrapAdd(start, WrapMul(i, delta)));
}

void EyeLike(const Args& args) {
  const TensorView& out = args.Out(0);
  if (out.shape.rank() != 2) throw Error(Code::kInvalidArgument, "EyeLike needs rank 2, not ", out.shape.rank());
  const int64_t rows = out.shape[0], columns = out.shape[1];
  const int64_t k = std::clamp(args.Int("k", 0), -rows, columns);
  Fill({}, 0, out, 0, out.Count());
  for (int64_t r = std::max<int64_t>(0, -k); r < rows && r + k < columns; ++r)
    StoreOne<uint64_t>(out, r * columns + r + k, 1);
}

void OneHot(const Args& args) {
  const TensorView &indices = args.In(0), &values = args.In(2), &out = args.Out(0);
  const int axis = Axis(args.Int("axis", -1), indices.shape.rank() + 1);
  const AxisView view(out.shape, axis);
  if (values.Count() != 2) throw Error(Code::kInvalidArgument, "values has ", values.Count(), " elements, not 2");
  ZIGGURAT_CHECK(out.Count() == indices.Count() * view.size);
  Fill(values, 0, out, 0, out.Count());
  const int64_t count = indices.Count();
  for (int64_t i = 0; i < count; ++i) {
    int64_t index = LoadOne<int64_t>(indices, i);
    if (index < 0) index += view.size;
    if (index < 0 || index >= view.size) continue;
    const int64_t o = i / view.inner, k = i % view.inner;
    Fill(values, 1, out, (o * view.size + index) * view.inner + k, 1);
  }
}

void NonZero(const Args& args) {
  const TensorView& in = args.In(0);
  const int rank = in.shape.rank();
  std::vector<int64_t> found;
  const int64_t count = in.Count();
  for (int64_t i = 0; i < count; ++i) {
    const bool set =
        in.dtype == DType::kString ? !in.As<const std::string>()[i].empty() : LoadOne<Complex>(in, i) != Complex(0, 0);
    if (set) found.push_back(i);
  }
  const int64_t n = static_cast<int64_t>(found.size());
  int64_t* out = args.Shaped(0, Shape{rank, n}).As<int64_t>();
  const Strides strides = ContiguousStrides(in.shape);
  for (int axis = 0; axis < rank; ++axis)
    for (int64_t k = 0; k < n; ++k) out[axis * n + k] = found[k] / strides[axis] % in.shape[axis];
}

void Compress(const Args& args) {
  TensorView in = args.In(0);
  if (!args.node.Has("axis")) in.shape = Shape{in.Count()};
  const int axis = Axis(args.Int("axis", 0), in.shape.rank());
  std::vector<int64_t> kept;
  const uint8_t* condition = args.In(1).As<const uint8_t>();
  for (int64_t i = 0; i < std::min(args.In(1).Count(), in.shape[axis]); ++i)
    if (condition[i]) kept.push_back(i);
  Shape shape = in.shape;
  shape[axis] = static_cast<int64_t>(kept.size());
  const TensorView out = args.Shaped(0, shape);
  const AxisView view(in.shape, axis);
  for (int64_t o = 0; o < view.outer; ++o)
    for (size_t k = 0; k < kept.size(); ++k)
      CopyRun(in, (o * view.size + kept[k]) * view.inner, out,
              (o * static_cast<int64_t>(kept.size()) + static_cast<int64_t>(k)) * view.inner, view.inner);
}

constexpr PlainOp kOps[] = {
    {"Shape", ShapeOf},          {"Size", Size},       {"ConstantOfShape", ConstantOfShape},
    {"Constant", ConstantValue}, {"Range", Range},     {"EyeLike", EyeLike},
    {"OneHot", OneHot},          {"NonZero", NonZero}, {"Compress", Compress},
};

}  // namespace

std::span<const PlainOp> ShapeOps() { return kOps; }

}  // namespace ziggurat::plain
