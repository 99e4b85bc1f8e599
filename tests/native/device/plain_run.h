// Runs one plain kernel on host tensors: what the runtime does around a kernel, reduced to a function call.
#pragma once

#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "check.h"
#include "device/registry.h"
#include "device/sequence.h"
#include "ops/op_def.h"
#include "tensor/half.h"

namespace ziggurat::test {

// A host tensor that owns its elements.
struct Host {
  SequenceElement element;
  const TensorView& view() const { return element.tensor; }
  template <typename T>
  std::vector<T> As() const {
    const T* data = view().As<const T>();
    return std::vector<T>(data, data + view().Count());
  }
};

template <typename T>
Host Make(DType dtype, const Shape& shape, std::vector<T> values) {
  Host host{NewElement(dtype, shape)};
  CHECK(static_cast<int64_t>(values.size()) == shape.Count());
  for (size_t i = 0; i < values.size(); ++i) host.element.tensor.As<T>()[i] = values[i];
  return host;
}
inline Host Floats(const Shape& shape, std::vector<float> values) {
  return Make(DType::kFloat32, shape, std::move(values));
}
inline Host Ints(const Shape& shape, std::vector<int64_t> values) {
  return Make(DType::kInt64, shape, std::move(values));
}
inline Host Strings(const Shape& shape, std::vector<std::string> values) {
  return Make(DType::kString, shape, std::move(values));
}
inline Host Bools(const Shape& shape, std::vector<uint8_t> values) {
  return Make(DType::kBool, shape, std::move(values));
}

class TestSite : public KernelSite {
 public:
  using KernelSite::KernelSite;
  std::shared_ptr<const PackedWeight> Pack(int, std::string_view, size_t, FunctionRef<void(std::byte*)>) override {
    throw Error(Code::kInternal, "plain kernels pack nothing");
  }
};

// A node outside any graph.
struct LooseNode {
  OpDef op;
  Node node;
  std::deque<Value> values;

  LooseNode(std::string_view name, Attributes attributes) {
    op.name = name;
    node.op = &op;
    node.name = "n";
    node.attributes = std::move(attributes);
  }
  LooseNode(const LooseNode&) = delete;
  Value* Add(Type type) {
    values.emplace_back();
    values.back().name = "v" + std::to_string(values.size());
    values.back().type = std::move(type);
    return &values.back();
  }
};

// An output as the runtime would have it: known type and shape, or one whose shape the kernel tells.
struct Wanted {
  DType dtype;
  Shape shape;
  bool shaped_by_kernel = false;
};

inline std::vector<Host> Run(std::string_view op, const std::vector<Host>& inputs, const std::vector<Wanted>& wanted,
                             Attributes attributes = {}) {
  LooseNode loose(op, std::move(attributes));
  std::vector<TensorView> in, out;
  for (const Host& host : inputs) {
    in.push_back(host.view());
    const bool absent = host.view().dtype == DType::kUndefined;
    loose.node.inputs.push_back(absent ? nullptr : loose.Add(Type::Tensor(host.view().dtype, host.view().shape)));
  }
  std::vector<Host> results(wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    loose.node.outputs.push_back(loose.Add(Type::Tensor(wanted[i].dtype, std::nullopt)));
    if (!wanted[i].shaped_by_kernel) results[i].element = NewElement(wanted[i].dtype, wanted[i].shape);
    out.push_back(wanted[i].shaped_by_kernel ? TensorView{nullptr, wanted[i].dtype, {}} : results[i].view());
  }
  TestSite site(loose.node);
  const std::unique_ptr<Kernel> kernel = FindPlainKernel(site);
  CHECK(kernel, "no plain kernel for ", op);
  ThreadPool pool(1);
  auto allocate = [&](int i, const Shape& shape) {
    results[i].element = NewElement(wanted[i].dtype, shape);
    out[i] = results[i].view();
  };
  KernelContext context{in, out, {}, {}, nullptr, Team(pool, 1), allocate};
  kernel->Run(context);
  return results;
}

inline Host Run1(std::string_view op, const std::vector<Host>& inputs, DType dtype, const Shape& shape,
                 Attributes attributes = {}) {
  return std::move(Run(op, inputs, {{dtype, shape}}, std::move(attributes))[0]);
}

inline const Host kAbsent{};

}  // namespace ziggurat::test
