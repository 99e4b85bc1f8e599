// Runs one node on the CPU families' kernels: builds the graph, infers, finds the kernel, launches it.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/isas.h"
#include "cpu/ops/registry.h"
#include "cpu/vector_isas.h"
#include "ops/op_def.h"

namespace ziggurat::cpu {
#define FAMILY(name) std::span<const KernelEntry> name##Kernels();
#include "cpu/ops/families.inc"
#undef FAMILY
}  // namespace ziggurat::cpu

namespace ziggurat::test {

struct HostTensor {
  DType dtype = DType::kUndefined;
  Shape shape;
  std::vector<std::byte> bytes;
  bool constant = false;
  bool absent = false;

  TensorView View() { return {absent ? nullptr : static_cast<void*>(bytes.data()), dtype, shape}; }
  template <typename T>
  T At(int64_t i) const {
    T value;
    std::memcpy(&value, bytes.data() + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    return value;
  }
  template <typename T>
  std::vector<T> Values() const {
    std::vector<T> values(static_cast<size_t>(shape.Count()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = At<T>(static_cast<int64_t>(i));
    return values;
  }
};

template <typename T>
HostTensor Tensor(DType dtype, const Shape& shape, const std::vector<T>& values, bool constant = false) {
  HostTensor tensor{dtype, shape, std::vector<std::byte>(values.size() * sizeof(T)), constant};
  CHECK(static_cast<size_t>(shape.Count()) == values.size());
  if constexpr (std::is_same_v<T, bool>)
    for (size_t i = 0; i < values.size(); ++i) tensor.bytes[i] = std::byte{values[i]};
  else if (!values.empty())
    std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}
inline HostTensor Floats(const Shape& shape, const std::vector<float>& values) {
  return Tensor(DType::kFloat32, shape, values);
}
inline HostTensor RandomFloats(const Shape& shape, uint64_t seed, float lo = -3, float hi = 3) {
  Random random(seed);
  std::vector<float> values(static_cast<size_t>(shape.Count()));
  for (float& value : values) value = random.Uniform(lo, hi);
  return Floats(shape, values);
}
inline HostTensor Ints(const std::vector<int64_t>& values, bool constant = true) {
  return Tensor(DType::kInt64, Shape{static_cast<int64_t>(values.size())}, values, constant);
}
inline HostTensor Absent() {
  HostTensor tensor;
  tensor.absent = true;
  return tensor;
}

class TestWeight final : public PackedWeight {
 public:
  explicit TestWeight(size_t bytes)
      : bytes_(bytes), data_(static_cast<std::byte*>(std::aligned_alloc(64, bytes / 64 * 64 + 64)), &std::free) {
    CHECK(data_);
    std::memset(data_.get(), 0, bytes);
  }
  const std::byte* data() const override { return data_.get(); }
  std::byte* writable() { return data_.get(); }
  size_t bytes() const override { return bytes_; }

 private:
  size_t bytes_;
  std::unique_ptr<std::byte, decltype(&std::free)> data_;
};

class TestSite final : public KernelSite {
 public:
  explicit TestSite(const Node& node) : KernelSite(node) {}
  std::shared_ptr<const PackedWeight> Pack(int, std::string_view, size_t bytes,
                                           FunctionRef<void(std::byte*)> fill) override {
    auto weight = std::make_shared<TestWeight>(bytes);
    fill(weight->writable());
    return weight;
  }
};

inline std::unique_ptr<Kernel> FindInFamilies(KernelSite& site, const cpu::KernelTable& table) {
  const cpu::KernelFamily families[] = {
#define FAMILY(name) &cpu::name##Kernels,
#include "cpu/ops/families.inc"
#undef FAMILY
  };
  for (cpu::KernelFamily family : families)
    for (const cpu::KernelEntry& entry : family())
      if (entry.op == site.node().op->name && entry.domain == site.node().op->domain)
        if (auto kernel = entry.make(site, table)) return kernel;
  return nullptr;
}

// A node with its tensors. Unless they are constant, inputs have symbolic dimensions, so that kernels must take their
// shapes from the launch.
class OneOp {
 public:
  OneOp(std::string_view op, std::vector<HostTensor> inputs, Attributes attributes = {}, int outputs = 1,
        std::string_view domain = "")
      : graph_("test"), inputs_(std::move(inputs)) {
    std::vector<Value*> values;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      HostTensor& input = inputs_[i];
      if (input.absent)
        values.push_back(nullptr);
      else if (input.constant)
        values.push_back(
            graph_.AddConstant(Constant::Copy(input.dtype, input.shape, input.bytes.data(), input.bytes.size())));
      else
        values.push_back(graph_.AddInput(Cat("x", i), Type::Tensor(input.dtype, input.shape)));
    }
    std::vector<std::string> names;
    for (int i = 0; i < outputs; ++i) names.push_back(Cat("y", i));
    node_ = graph_.AddNode(GetOp(op, domain), values, std::move(attributes), names, "node");
  }

  Node& node() { return *node_; }
  std::vector<HostTensor>& inputs() { return inputs_; }

  // The outputs; fails the test where the families have no kernel.
  std::vector<HostTensor> Run(const cpu::KernelTable& table, int threads = 1) {
    TestSite site(*node_);
    const std::unique_ptr<Kernel> kernel = FindInFamilies(site, table);
    CHECK(kernel, "no kernel for ", node_->op->name, " of ", Name(inputs_[0].dtype));
    return Launch(*kernel, threads);
  }

  std::vector<HostTensor> Launch(const Kernel& kernel, int threads = 1) {
    constexpr size_t kGuard = 64;
    std::vector<TensorView> in, out;
    for (HostTensor& input : inputs_) in.push_back(input.View());
    std::vector<HostTensor> outputs;
    for (Value* value : node_->outputs) {
      HostTensor output;
      output.dtype = value->type.dtype;
      if (value->type.IsStatic()) {
        output.shape = value->type.StaticShape();
        output.bytes.assign(static_cast<size_t>(output.shape.Count()) * ByteSize(output.dtype) + kGuard,
                            std::byte{0xcd});
      }
      outputs.push_back(std::move(output));
    }
    for (HostTensor& output : outputs)
      out.push_back({output.bytes.empty() ? nullptr : output.bytes.data(), output.dtype, output.shape});
    ThreadPool pool(threads);
    std::vector<std::byte> scratch(kernel.ScratchBytes(in, out, threads) + 64);
    auto* aligned = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
    const auto allocate = [&](int i, const Shape& shape) {
      outputs[i].shape = shape;
      outputs[i].bytes.assign(static_cast<size_t>(shape.Count()) * ByteSize(outputs[i].dtype) + kGuard,
                              std::byte{0xcd});
      out[i] = {outputs[i].bytes.data(), outputs[i].dtype, shape};
    };
    KernelContext context{in, out, {}, {}, aligned, Team(pool, threads), allocate};
    kernel.Run(context);
    for (HostTensor& output : outputs) {
      const size_t size = output.bytes.size() - kGuard;
      for (size_t i = size; i < output.bytes.size(); ++i)
        CHECK(output.bytes[i] == std::byte{0xcd}, "wrote past the end");
      output.bytes.resize(size);
    }
    return outputs;
  }

 private:
  Graph graph_;
  std::vector<HostTensor> inputs_;
  Node* node_;
};

// float32 [N, C, spatial...] as [N, spatial..., C], and (`back`) the way back.
inline HostTensor MoveChannels(const HostTensor& x, bool back = false) {
  const int rank = x.shape.rank();
  const int64_t items = x.shape[0], channels = x.shape[back ? rank - 1 : 1];
  const int64_t pixels = back ? x.shape.Count(1, rank - 1) : x.shape.Count(2, rank);
  Shape shape{items};
  if (back) shape.push_back(channels);
  for (int i = back ? 1 : 2; i < (back ? rank - 1 : rank); ++i) shape.push_back(x.shape[i]);
  if (!back) shape.push_back(channels);
  std::vector<float> moved(static_cast<size_t>(x.shape.Count()));
  for (int64_t n = 0, at = 0; n < items; ++n)
    for (int64_t i = 0; i < (back ? channels : pixels); ++i)
      for (int64_t j = 0; j < (back ? pixels : channels); ++j, ++at)
        moved[static_cast<size_t>(at)] =
            x.At<float>((n * (back ? pixels : channels) + j) * (back ? channels : pixels) + i);
  return Floats(shape, moved);
}

// Index of output element `i` of `output` in a tensor of `shape` broadcast to it.
inline int64_t BroadcastIndex(int64_t i, const Shape& output, const Shape& shape) {
  int64_t index = 0, step = 1;
  for (int axis = output.rank() - 1, own = shape.rank() - 1; axis >= 0 && own >= 0; --axis, --own) {
    const int64_t at = i % output[axis];
    i /= output[axis];
    if (shape[own] != 1) index += at * step;
    step *= shape[own];
  }
  return index;
}

}  // namespace ziggurat::test
