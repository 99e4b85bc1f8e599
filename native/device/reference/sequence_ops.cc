// Sequences and optionals. A sequence, once made, is never changed: each op makes a new list of shared elements.
#include "device/reference/moves.h"
#include "device/reference/plain.h"
#include "device/sequence.h"

namespace ziggurat::plain {
namespace {

const SequenceValue& Need(const Args& args, int i) {
  const SequenceValue* sequence = args.Sequence(i);
  if (!sequence) throw Error(Code::kInvalidArgument, "input ", i, " has no value");
  return *sequence;
}

std::shared_ptr<SequenceValue> NewSequence() { return std::make_shared<SequenceValue>(); }

int64_t Position(const Args& args, int input, int64_t fallback, int64_t limit) {
  return Index(args.IntIn(input, fallback), limit);
}

void SequenceConstruct(const Args& args) {
  auto made = NewSequence();
  for (int i = 0; i < args.inputs(); ++i) made->elements.push_back(CopyElement(args.In(i)));
  args.SetSequence(0, made);
}

void SequenceEmpty(const Args& args) { args.SetSequence(0, NewSequence()); }

void SequenceInsert(const Args& args) {
  auto made = std::make_shared<SequenceValue>(Need(args, 0));
  const int64_t size = static_cast<int64_t>(made->elements.size());
  int64_t at = args.IntIn(2, size);
  if (at < -size || at > size)
    throw Error(Code::kInvalidArgument, "position ", at, " is out of range for a sequence of ", size);
  if (at < 0) at += size;
  made->elements.insert(made->elements.begin() + at, CopyElement(args.In(1)));
  args.SetSequence(0, made);
}

void SequenceErase(const Args& args) {
  auto made = std::make_shared<SequenceValue>(Need(args, 0));
  made->elements.erase(made->elements.begin() + Position(args, 1, -1, static_cast<int64_t>(made->elements.size())));
  args.SetSequence(0, made);
}

void GiveTensor(const Args& args, const TensorView& tensor) {
  if (const DType dtype = args.context.outputs[0].dtype; args.HasOut(0) && dtype != tensor.dtype)
    throw Error(Code::kInvalidArgument, "element of type ", Name(tensor.dtype), " where ", Name(dtype), " is expected");
  // Memory is there already where the types told the shape.
  if (const TensorView& out = args.context.outputs[0]; out.data && !(out.shape == tensor.shape))
    throw Error(Code::kInvalidArgument, "element of shape ", tensor.shape, " where ", out.shape, " is expected");
  const TensorView& out = args.Shaped(0, tensor.shape);
  CopyRun(tensor, 0, out, 0, tensor.Count());
}

void SequenceAt(const Args& args) {
  const SequenceValue& sequence = Need(args, 0);
  GiveTensor(args, sequence.elements[Position(args, 1, 0, static_cast<int64_t>(sequence.elements.size()))].tensor);
}

void SequenceLength(const Args& args) {
  StoreOne<int64_t>(args.Out(0), 0, static_cast<int64_t>(Need(args, 0).elements.size()));
}

// The lengths of the parts: one each, given one by one, or chunks of a scalar with a smaller last one.
std::vector<int64_t> PartLengths(const Args& args, int64_t size) {
  if (!args.Has(1)) return std::vector<int64_t>(static_cast<size_t>(size), 1);
  std::vector<int64_t> lengths = args.IntsIn(1);
  if (args.In(1).shape.rank() == 0) {
    const int64_t chunk = lengths[0];
    if (chunk < 1) throw Error(Code::kInvalidArgument, "split ", chunk, " must be positive");
    lengths.clear();
    for (int64_t at = 0; at < size; at += chunk) lengths.push_back(std::min(chunk, size - at));
  }
  int64_t total = 0;
  for (int64_t length : lengths)
    if (length < 0 || __builtin_add_overflow(total, length, &total)) total = -1;
  if (total != size) throw Error(Code::kInvalidArgument, "the parts of split do not add up to the axis of ", size);
  return lengths;
}

void SplitToSequence(const Args& args) {
  const TensorView& in = args.In(0);
  const int axis = Axis(args.Int("axis", 0), in.shape.rank());
  const AxisView view(in.shape, axis);
  const bool drop = !args.Has(1) && args.Int("keepdims", 1) == 0;
  auto made = NewSequence();
  int64_t at = 0;
  for (int64_t length : PartLengths(args, view.size)) {
    Shape shape;
    for (int i = 0; i < in.shape.rank(); ++i)
      if (i != axis || !drop) shape.push_back(i == axis ? length : in.shape[i]);
    SequenceElement element = NewElement(in.dtype, shape);
    for (int64_t o = 0; o < view.outer; ++o)
      CopyRun(in, (o * view.size + at) * view.inner, element.tensor, o * length * view.inner, length * view.inner);
    at += length;
    made->elements.push_back(std::move(element));
  }
  args.SetSequence(0, made);
}

void ConcatFromSequence(const Args& args) {
  const std::vector<SequenceElement>& elements = Need(args, 0).elements;
  if (elements.empty()) throw Error(Code::kInvalidArgument, "ConcatFromSequence of an empty sequence");
  const bool new_axis = args.Int("new_axis", 0) != 0;
  const Shape& first = elements[0].tensor.shape;
  const int axis = Axis(args.Int("axis"), first.rank() + new_axis);
  // Each element seen as [outer, run]; runs follow one another.
  Shape shape;
  for (int i = 0; i < first.rank() + new_axis; ++i) shape.push_back(i == axis ? 0 : first[i - (new_axis && i > axis)]);
  for (const SequenceElement& element : elements) {
    const Shape& own = element.tensor.shape;
    bool fits = own.rank() == first.rank() && element.tensor.dtype == elements[0].tensor.dtype;
    for (int i = 0; fits && i < own.rank(); ++i) fits = own[i] == first[i] || (i == axis && !new_axis);
    if (!fits)
      throw Error(Code::kInvalidArgument, "elements of shapes ", first, " and ", own, " cannot be concatenated");
    shape[axis] += new_axis ? 1 : own[axis];
  }
  const TensorView& out = args.Shaped(0, shape);
  const int64_t outer = shape.Count(0, axis), row = outer ? shape.Count() / outer : 0;
  int64_t at = 0;
  for (const SequenceElement& element : elements) {
    const int64_t run = outer ? element.tensor.Count() / outer : 0;
    for (int64_t o = 0; o < outer; ++o) CopyRun(element.tensor, o * run, out, o * row + at, run);
    at += run;
  }
}

void MakeOptional(const Args& args) {
  auto made = NewSequence();
  if (const SequenceValue* sequence = args.Sequence(0)) {
    SequenceElement element;
    element.sequence = std::make_shared<SequenceValue>(*sequence);
    made->elements.push_back(std::move(element));
  } else if (args.Has(0)) {
    made->elements.push_back(CopyElement(args.In(0)));
  }
  args.SetSequence(0, made);
}

void OptionalHasElement(const Args& args) {
  bool has = args.Has(0);
  if (const SequenceValue* value = args.Sequence(0)) has = args.kind != Kind::kOptional || !value->elements.empty();
  StoreOne<uint64_t>(args.Out(0), 0, has);
}

void OptionalGetElement(const Args& args) {
  const SequenceValue* value = args.Sequence(0);
  if (!value) return GiveTensor(args, args.In(0));
  if (args.kind != Kind::kOptional) return args.SetSequence(0, std::make_shared<SequenceValue>(*value));
  if (value->elements.empty()) throw Error(Code::kInvalidArgument, "the optional has no element");
  const SequenceElement& element = value->elements[0];
  if (element.sequence) return args.SetSequence(0, std::make_shared<SequenceValue>(*element.sequence));
  GiveTensor(args, element.tensor);
}

constexpr PlainOp kOps[] = {
    {"SequenceConstruct", SequenceConstruct},
    {"SequenceEmpty", SequenceEmpty},
    {"SequenceInsert", SequenceInsert},
    {"SequenceErase", SequenceErase},
    {"SequenceAt", SequenceAt},
    {"SequenceLength", SequenceLength},
    {"SplitToSequence", SplitToSequence},
    {"ConcatFromSequence", ConcatFromSequence},
    {"Optional", MakeOptional},
    {"OptionalHasElement", OptionalHasElement},
    {"OptionalGetElement", OptionalGetElement},
};

}  // namespace

std::span<const PlainOp> SequenceOps() { return kOps; }

}  // namespace ziggurat::plain
