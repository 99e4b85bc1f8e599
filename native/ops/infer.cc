#include "ops/infer.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace ziggurat {
namespace {

template <typename T>
std::vector<int64_t> Widen(const TensorView& view) {
  const T* data = view.As<T>();
  return {data, data + view.Count()};
}

// Elements of an integer or bool tensor; nullopt for other types.
std::optional<std::vector<int64_t>> ReadInts(const TensorView& view) {
  switch (view.dtype) {
    case DType::kInt64:
      return Widen<int64_t>(view);
    case DType::kInt32:
      return Widen<int32_t>(view);
    case DType::kUint64:
      return Widen<uint64_t>(view);
    case DType::kUint32:
      return Widen<uint32_t>(view);
    case DType::kInt16:
      return Widen<int16_t>(view);
    case DType::kUint16:
      return Widen<uint16_t>(view);
    case DType::kInt8:
    case DType::kInt4:
    case DType::kInt2:
      return Widen<int8_t>(view);
    case DType::kUint8:
    case DType::kUint4:
    case DType::kUint2:
    case DType::kBool:
      return Widen<uint8_t>(view);
    default:
      return std::nullopt;
  }
}

float FromSixteenBits(DType dtype, uint16_t bits) {
  if (dtype == DType::kBFloat16) return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  float value = exponent == 0    ? std::ldexp(static_cast<float>(fraction), -24)
                : exponent == 31 ? (fraction ? NAN : INFINITY)
                                 : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  return bits & 0x8000 ? -value : value;
}

}  // namespace

InferContext::InferContext(const Node& node) : node_(node), concrete_(false) {
  output_types.resize(node.outputs.size());
  output_contents.resize(node.outputs.size());
}

InferContext::InferContext(const Node& node, std::span<const TensorView> views)
    : node_(node), concrete_(true), views_(views) {
  output_types.resize(node.outputs.size());
  output_contents.resize(node.outputs.size());
  concrete_types_.reserve(node.inputs.size());
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value* value = node.inputs[i];
    if (!value || i >= views.size() || !value->type.IsTensor()) {
      concrete_types_.push_back(value ? value->type : Type());
    } else {
      concrete_types_.push_back(Type::Tensor(value->type.dtype, views[i].shape));
      concrete_types_.back().encoding = value->type.encoding;
    }
  }
}

const Type& InferContext::InputType(int i) const {
  const Value* value = node_.Input(i);
  if (!value) throw Error(Code::kInternal, "absent input ", i, " was asked for its type");
  return concrete_ ? concrete_types_[i] : value->type;
}

std::optional<TensorView> InferContext::Known(int i) const {
  const Value* value = node_.Input(i);
  if (!value || !value->type.IsTensor() || !value->type.encoding.IsPlain()) return std::nullopt;
  if (concrete_ && i < static_cast<int>(views_.size()) && (views_[i].data || views_[i].Count() == 0)) return views_[i];
  if (value->IsConstant()) return value->constant->View();
  return std::nullopt;
}

std::optional<std::vector<int64_t>> InferContext::Ints(int i) const {
  if (HasRank(i) && std::any_of(InputShape(i).begin(), InputShape(i).end(), [](const Dim& d) { return d.IsConst(0); }))
    return std::vector<int64_t>();  // no elements: all of them are known
  if (std::optional<TensorView> view = Known(i)) return ReadInts(*view);
  const Value* value = node_.Input(i);
  if (!value || !value->contents || concrete_) return std::nullopt;
  std::vector<int64_t> out;
  for (const Dim& dim : *value->contents) {
    if (!dim.IsConst()) return std::nullopt;
    out.push_back(dim.Const());
  }
  return out;
}

std::optional<std::vector<Dim>> InferContext::Contents(int i) const {
  const Value* value = node_.Input(i);
  if (!value) return std::nullopt;
  if (!concrete_ && value->contents) return value->contents;
  if (!concrete_ && value->IsConstant() && value->constant->shape().Count() > static_cast<int64_t>(kMaxContents))
    return std::nullopt;
  std::optional<std::vector<int64_t>> numbers = Ints(i);
  if (!numbers) return std::nullopt;
  return std::vector<Dim>(numbers->begin(), numbers->end());
}

std::optional<std::vector<float>> InferContext::Floats(int i) const {
  std::optional<TensorView> view = Known(i);
  if (!view) return std::nullopt;
  if (view->dtype == DType::kFloat32) return std::vector<float>(view->As<float>(), view->As<float>() + view->Count());
  if (view->dtype == DType::kFloat64) return std::vector<float>(view->As<double>(), view->As<double>() + view->Count());
  if (view->dtype == DType::kFloat16 || view->dtype == DType::kBFloat16) {
    std::vector<float> out;
    for (int64_t k = 0; k < view->Count(); ++k) out.push_back(FromSixteenBits(view->dtype, view->As<uint16_t>()[k]));
    return out;
  }
  return std::nullopt;
}

void InferContext::SetOutput(int i, Type type) {
  if (!HasOutput(i)) return;
  if (type.shape) {
    if (type.Rank() > kMaxRank)
      throw Error(Code::kUnsupported, "output ", i, " would have rank ", type.Rank(), ", the most is ", kMaxRank);
    for (const Dim& dim : *type.shape)
      if (dim.IsConst() && dim.Const() < 0)
        Fail("output ", i, " would have shape ", ToString(*this, *type.shape), ", which is negative");
  }
  output_types[i] = std::move(type);
}

void InferContext::SetContents(int i, std::vector<Dim> contents) {
  if (!HasOutput(i) || contents.size() > kMaxContents) return;
  // Tensors wrap around where expressions do not: what leaves the type's range is not followed.
  if (output_types[i].dtype == DType::kInt32)
    for (const Dim& dim : contents)
      if (dim.IsConst() && dim.Const() != static_cast<int32_t>(dim.Const())) return;
  output_contents[i] = std::move(contents);
}

Dim InferContext::NewSymbol(std::string_view hint) {
  if (concrete_) {
    kernel_sets_shape = true;
    return 0;
  }
  std::string owner = node_.name;
  for (const Value* output : node_.outputs)
    if (output) {
      owner = output->name;  // unique, so inferring this node again finds the same symbol
      break;
    }
  std::string name = Cat(owner, ".", hint);
  if (symbols_made_++) name += Cat(symbols_made_);
  Graph& root = node_.graph->root();
  // A model may have given this very name to a dimension of an input: that one is another symbol.
  for (bool taken = true; taken;) {
    taken = false;
    for (const Symbol& symbol : root.symbols())
      if (symbol.input >= 0 && symbol.name == name) taken = true;
    if (taken) name += "'";
  }
  return node_.graph->NamedSymbol(name, -1, -1);
}

std::vector<Dim> InferContext::NewSymbols(std::string_view hint, int count) {
  if (count > kMaxRank) throw Error(Code::kUnsupported, "a rank of ", count, ", the most is ", kMaxRank);
  std::vector<Dim> out;
  for (int i = 0; i < count; ++i) out.push_back(NewSymbol(hint));
  return out;
}

int InferContext::Axis(int64_t axis, int rank) const {
  if (axis < -rank || axis >= rank) Fail("axis ", axis, " is out of range for rank ", rank);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

std::vector<int> InferContext::Axes(const std::vector<int64_t>& axes, int rank) const {
  if (axes.size() > static_cast<size_t>(rank)) Fail(axes.size(), " axes are given, the rank is ", rank);
  std::vector<int> out;
  for (int64_t axis : axes) {
    const int resolved = Axis(axis, rank);
    if (std::find(out.begin(), out.end(), resolved) != out.end()) Fail("axis ", resolved, " is given twice");
    out.push_back(resolved);
  }
  return out;
}

void InferContext::ExpectRank(int i, int least, int most) const {
  if (!HasRank(i)) return;
  const int rank = InputType(i).Rank();
  if (rank >= least && rank <= most) return;
  const Param* formal = node_.op->Formal(i);
  Fail("input ", formal ? formal->name : "?", " has rank ", rank, ", expected ", least,
       most == least ? "" : (most >= kMaxRank ? " or more" : Cat(" to ", most)));
}

Dim InferContext::Same(const Dim& a, const Dim& b, std::string_view what) const {
  if (a == b) return a;
  if (a.IsConst() && b.IsConst()) Fail(what, " are ", a.Const(), " and ", b.Const(), ", must be equal");
  return b.IsConst() ? b : a;
}

std::vector<Dim> InferContext::BroadcastShapes(const std::vector<Dim>& a, const std::vector<Dim>& b) const {
  const size_t rank = std::max(a.size(), b.size());
  std::vector<Dim> out(rank, Dim(1));
  for (size_t i = 0; i < rank; ++i) {
    const Dim x = i + a.size() >= rank ? a[i + a.size() - rank] : Dim(1);
    const Dim y = i + b.size() >= rank ? b[i + b.size() - rank] : Dim(1);
    if (x == y || y.IsConst(1)) {
      out[i] = x;
    } else if (x.IsConst(1)) {
      out[i] = y;
    } else if (x.IsConst() && y.IsConst()) {
      Fail("shapes ", ToString(*this, a), " and ", ToString(*this, b), " do not broadcast");
    } else {
      // A number other than 1 decides: the symbol can only be it, or 1.
      out[i] = x.IsConst() ? x : y.IsConst() ? y : Broadcast(x, y);
    }
  }
  return out;
}

std::string ToString(const InferContext& c, const std::vector<Dim>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    out += Cat(i ? "," : "", shape[i].IsConst() ? Cat(shape[i].Const()) : c.node().graph->ToString(shape[i]));
  return out + "]";
}

Dim Product(const std::vector<Dim>& shape, size_t first, size_t last) {
  Dim product = 1;
  for (size_t i = first; i < last && i < shape.size(); ++i) product = product * shape[i];
  return product;
}

}  // namespace ziggurat
