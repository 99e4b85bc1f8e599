// The contract between the runtime and a device: find kernels at load, launch them in order on streams.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/thread_pool.h"
#include "ir/graph.h"
#include "ops/op_def.h"
#include "tensor/view.h"

namespace ziggurat {

// State that outlives a run: a growing buffer, a KV pool. Kernels of ops that declare an effect get it.
class Resource {
 public:
  virtual ~Resource() = default;
  virtual std::string_view kind() const = 0;
  // A mark of the state now, and the way back to it: a run that fails leaves its resources as it found them.
  virtual int64_t Checkpoint() const = 0;
  virtual void Restore(int64_t checkpoint) = 0;
  // A resource serves one run at a time.
  std::atomic<bool> in_use{false};
};

// Values that are not plain tensors travel beside the tensors.
struct SequenceValue;
struct ObjectValue {
  std::shared_ptr<SequenceValue> sequence;  // sequences; an optional is a sequence of none or one
  std::shared_ptr<Resource> resource;
};

// One launch of a kernel. Everything it points to stays valid until the launch has run.
class KernelContext {
 public:
  std::span<const TensorView> inputs;           // data null: absent, packed into the kernel, or not a tensor
  std::span<TensorView> outputs;                // data null: absent, or to be asked for with Allocate
  std::span<ObjectValue* const> input_objects;  // empty span: all are tensors; null entries: that one is
  std::span<ObjectValue* const> output_objects;
  std::byte* scratch = nullptr;  // Kernel::ScratchBytes() bytes, 64-byte aligned
  Team team;
  FunctionRef<void(int output, const Shape& shape)> allocate;

  // For kernels that learn an output's shape by running (kKernelShaped ops): takes its memory, once per output.
  TensorView& Allocate(int output, const Shape& shape) {
    allocate(output, shape);
    return outputs[output];
  }
};

// A prepared kernel: found for one node at load, launched many times, from several threads at once.
class Kernel {
 public:
  virtual ~Kernel() = default;
  // For the plan: "gemm.f32.avx512", "reference.Unique".
  virtual std::string_view name() const = 0;
  virtual void Run(KernelContext& context) const = 0;
  // `inputs` and `outputs` carry types and shapes only. Asked once per shape bucket or run; `workers` = team size.
  virtual size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                              int workers) const {
    (void)inputs, (void)outputs, (void)workers;
    return 0;
  }
  // The input whose memory output `output` may take over when it is that input's last use and sizes agree; -1: none.
  virtual int InPlaceInput(int output) const {
    (void)output;
    return -1;
  }
  // False where input `i`'s elements were packed at load, so that the runtime need not keep them.
  virtual bool NeedsInput(int i) const {
    (void)i;
    return true;
  }
  // Operations of one launch, for profiles; 0: not counted.
  virtual double Flops(std::span<const TensorView> inputs, std::span<const TensorView> outputs) const {
    (void)inputs, (void)outputs;
    return 0;
  }
};

// Packed weights, shared by content: two kernels that pack the same constant the same way hold one copy.
class PackedWeight {
 public:
  virtual ~PackedWeight() = default;
  virtual const std::byte* data() const = 0;
  virtual size_t bytes() const = 0;
};

// What a device may use while it prepares a kernel for a node.
class KernelSite {
 public:
  explicit KernelSite(const Node& node) : node_(node) {}
  virtual ~KernelSite() = default;

  const Node& node() const { return node_; }
  // The elements of a constant input; nullopt if it is not constant (or absent). Where a model is only measured, a
  // large one has no data: elements of weights are looked at while they are packed.
  virtual std::optional<TensorView> ConstantInput(int i) const {
    const Value* value = node_.Input(i);
    if (!value || !value->IsConstant()) return std::nullopt;
    return value->constant->View();
  }
  // Packs constant input `i`; `packing` names the layout completely (kind, tile sizes). `fill` writes `bytes` bytes
  // (zeroed, 64-byte aligned, huge pages) and is skipped where that packing of that constant exists already.
  virtual std::shared_ptr<const PackedWeight> Pack(int i, std::string_view packing, size_t bytes,
                                                   FunctionRef<void(std::byte*)> fill) = 0;

 private:
  const Node& node_;
};

class Event {
 public:
  virtual ~Event() = default;
};

// Work in order. A call may return before its work has run; the first error sticks and is thrown by Synchronize,
// naming the step that failed; later work is skipped.
class Stream {
 public:
  virtual ~Stream() = default;
  // `context` is copied; what it points to must live until the launch has run. `node` names it in errors.
  virtual void Launch(const Kernel& kernel, const KernelContext& context, const Node& node) = 0;
  virtual void Copy(void* to, const void* from, size_t bytes) = 0;
  // Marks this point; another stream's Wait holds its later work until the mark is reached.
  virtual std::shared_ptr<Event> Record() = 0;
  virtual void Wait(const std::shared_ptr<Event>& event) = 0;
  virtual void Synchronize() = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string_view name() const = 0;
  virtual std::string description() const = 0;
  // True if the host may read and write its memory, and a launch has run when Launch returns.
  virtual bool IsHost() const = 0;
  // A kernel for the node as typed, or null: the runtime then expands the op or runs it on the CPU. Never throws for
  // "not supported"; throws kInvalidModel where the node itself is wrong.
  virtual std::unique_ptr<Kernel> FindKernel(KernelSite& site) const = 0;
  virtual std::byte* Allocate(size_t bytes) = 0;  // 64-byte aligned; throws kOutOfMemory
  virtual void Free(std::byte* data, size_t bytes) = 0;
  virtual std::unique_ptr<Stream> NewStream() = 0;
};

}  // namespace ziggurat
