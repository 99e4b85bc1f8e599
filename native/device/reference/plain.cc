#include "device/reference/plain.h"

#include <algorithm>

#include "device/registry.h"
#include "device/sequence.h"
#include "ops/op_def.h"

namespace ziggurat {
namespace plain {
namespace {

constexpr std::span<const PlainOp> (*kFamilies[])() = {
    ElementwiseOps, UnaryOps,  CastOps, ReduceOps, ScanOps, MoveOps,     ShapeOps,  GatherOps,
    MatrixOps,      EinsumOps, ConvOps, PoolOps,   NormOps, QuantizeOps, ResizeOps, SortOps,
    RandomOps,      SignalOps, RnnOps,  VisionOps, TextOps, SequenceOps};

std::span<const PlainOp> FindFamily(const OpDef& op) {
  auto knows = [&](std::span<const PlainOp> family) {
    return std::any_of(family.begin(), family.end(), [&](const PlainOp& known) { return known.name == op.name; });
  };
  if (op.domain == "zig" && knows(LanguageOps())) return LanguageOps();
  if (op.domain.empty())
    for (const auto& family : kFamilies)
      if (knows(family())) return family();
  return {};
}

class PlainKernel : public Kernel {
 public:
  PlainKernel(const PlainOp& op, const Node& node) : name_("plain." + std::string(op.name)), run_(op.run) {
    node_.op = node.op;
    node_.name = node.name;
    node_.attributes = node.attributes;
    if (const Value* first = node.Input(0)) kind_ = first->type.kind, encoding_ = first->type.encoding;
    for (char c : node.Output(0) ? node.Output(0)->name : node.name)  // FNV-1a
      salt_ = (salt_ ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  std::string_view name() const override { return name_; }
  void Run(KernelContext& context) const override { run_(Args{node_, context, kind_, encoding_, salt_}); }

 private:
  std::string name_;
  void (*run_)(const Args&);
  Kind kind_ = Kind::kTensor;
  Encoding encoding_;
  uint64_t salt_ = 0xcbf29ce484222325u;
  Node node_;  // op, name and attributes only: the graph may change after the kernel was found
};

}  // namespace

const TensorView& Args::In(int i) const {
  if (!Has(i)) throw Error(Code::kInvalidArgument, "input ", i, " is missing");
  return context.inputs[i];
}

TensorView& Args::Out(int i) const {
  ZIGGURAT_CHECK(i < outputs());
  TensorView& out = context.outputs[i];
  // Inference left the shape to a kernel that takes it as given: inputs that it could not read.
  if (!out.data && HasOut(i) && out.Count() > 0)
    throw Error(Code::kInvalidArgument, "the inputs do not tell the shape of output ", i);
  return out;
}

TensorView& Args::Shaped(int i, const Shape& shape) const {
  ZIGGURAT_CHECK(i < outputs());
  TensorView& out = context.outputs[i];
  if (out.data == nullptr) return context.Allocate(i, shape);
  ZIGGURAT_CHECK(out.shape == shape);
  return out;
}

const SequenceValue* Args::Sequence(int i) const {
  if (i >= static_cast<int>(context.input_objects.size()) || !context.input_objects[i]) return nullptr;
  return context.input_objects[i]->sequence.get();
}

void Args::SetSequence(int i, std::shared_ptr<SequenceValue> value) const {
  ZIGGURAT_CHECK(i < static_cast<int>(context.output_objects.size()) && context.output_objects[i]);
  context.output_objects[i]->sequence = std::move(value);
}

std::vector<int64_t> Args::Ints(std::string_view name, size_t count, int64_t fallback) const {
  std::vector<int64_t> values = node.Ints(name);
  if (values.empty()) values.assign(count, fallback);
  if (values.size() != count)
    throw Error(Code::kInvalidArgument, "attribute ", name, " has ", values.size(), " numbers, not ", count);
  return values;
}

std::vector<int64_t> Args::IntsIn(int i) const { return Has(i) ? LoadAll<int64_t>(In(i)) : std::vector<int64_t>{}; }

int Axis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank)
    throw Error(Code::kInvalidArgument, "axis ", axis, " is out of range for rank ", rank);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

}  // namespace plain

std::unique_ptr<Kernel> FindPlainKernel(KernelSite& site) {
  const Node& node = site.node();
  for (const plain::PlainOp& op : plain::FindFamily(*node.op))
    if (op.name == node.op->name) return std::make_unique<plain::PlainKernel>(op, node);
  return nullptr;
}

}  // namespace ziggurat
