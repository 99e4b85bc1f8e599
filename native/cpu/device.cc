#include "cpu/device.h"

#include <cstdlib>
#include <cstring>
#include <map>

#include "cpu/ops/registry.h"
#include "device/registry.h"

namespace ziggurat::cpu {

#define FAMILY(name) std::span<const KernelEntry> name##Kernels();
#include "cpu/ops/families.inc"
#undef FAMILY

namespace {

// A launch has run when Launch returns, so there is nothing to wait for.
class InlineStream : public Stream {
 public:
  void Launch(const Kernel& kernel, const KernelContext& context, const Node& node) override {
    KernelContext own = context;
    try {
      kernel.Run(own);
    } catch (Error& error) {
      throw error.AtNode(node.op->name, node.name);
    }
  }
  void Copy(void* to, const void* from, size_t bytes) override {
    if (bytes) std::memcpy(to, from, bytes);
  }
  std::shared_ptr<Event> Record() override { return nullptr; }
  void Wait(const std::shared_ptr<Event>&) override {}
  void Synchronize() override {}
};

class CpuDevice : public Device {
 public:
  explicit CpuDevice(const KernelTable& table) : table_(table) {
    const KernelFamily families[] = {
#define FAMILY(name) &name##Kernels,
#include "cpu/ops/families.inc"
#undef FAMILY
        nullptr};
    for (KernelFamily family : families)
      if (family)
        for (const KernelEntry& entry : family()) factories_[{entry.domain, entry.op}].push_back(entry.make);
  }

  std::string_view name() const override { return "cpu"; }
  std::string description() const override { return Cat("CPU, ", table_.isa); }
  bool IsHost() const override { return true; }

  std::unique_ptr<Kernel> FindKernel(KernelSite& site) const override {
    const OpDef& op = *site.node().op;
    if (auto found = factories_.find({op.domain, op.name}); found != factories_.end())
      for (KernelFactory make : found->second)
        if (auto kernel = make(site, table_)) return kernel;
    return FindPlainKernel(site);
  }

  std::byte* Allocate(size_t bytes) override {
    void* data = std::aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (!data) throw Error(Code::kOutOfMemory, "the system refused ", bytes, " bytes");
    return static_cast<std::byte*>(data);
  }
  void Free(std::byte* data, size_t) override { std::free(data); }
  std::unique_ptr<Stream> NewStream() override { return std::make_unique<InlineStream>(); }

 private:
  const KernelTable& table_;
  std::map<std::pair<std::string_view, std::string_view>, std::vector<KernelFactory>> factories_;
};

}  // namespace

std::unique_ptr<Device> MakeCpuDevice(const KernelTable& table) { return std::make_unique<CpuDevice>(table); }

}  // namespace ziggurat::cpu
