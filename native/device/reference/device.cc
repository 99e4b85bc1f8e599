// The reference device: slow, late and separate on purpose, so that whatever forgets a wait, a copy or an
// initialisation gives a wrong answer in tests rather than on a GPU.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <new>
#include <optional>
#include <thread>

#include "device/registry.h"
#include "ops/op_def.h"

namespace ziggurat {
namespace {

constexpr std::align_val_t kAlignment{64};
// All ones: NaN in every float type, -1 in every signed integer.
constexpr int kPoison = 0xff;

// Reached once; carries the error of the stream that recorded it, so that those who wait for it fail too.
class ReferenceEvent : public Event {
 public:
  void Reach(const std::optional<Error>& error) {
    {
      std::lock_guard lock(mutex_);
      reached_ = true, error_ = error;
    }
    changed_.notify_all();
  }
  std::optional<Error> Await(std::stop_token stop) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [&] { return reached_; }))
      return Error(Code::kCancelled, "the stream was destroyed while it waited");
    return error_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool reached_ = false;
  std::optional<Error> error_;
};

class ReferenceStream : public Stream {
 public:
  explicit ReferenceStream(uint64_t seed) : lateness_(seed), thread_([this](std::stop_token stop) { Loop(stop); }) {}

  // Work not yet begun is dropped; events it would have reached are reached with an error, so nobody waits for ever.
  ~ReferenceStream() override {
    thread_.request_stop();
    thread_.join();
  }

  void Launch(const Kernel& kernel, const KernelContext& context, const Node& node) override {
    Push({[&kernel, context, &node] {
            KernelContext own = context;
            try {
              kernel.Run(own);
            } catch (Error& error) {
              throw error.AtNode(node.op->name, node.name);
            } catch (const std::exception& error) {
              throw Error(Code::kInternal, error.what()).AtNode(node.op->name, node.name);
            }
          },
          nullptr, nullptr});
  }
  void Copy(void* to, const void* from, size_t bytes) override {
    Push({[=] {
            if (bytes) std::memcpy(to, from, bytes);
          },
          nullptr, nullptr});
  }
  std::shared_ptr<Event> Record() override {
    auto event = std::make_shared<ReferenceEvent>();
    Push({nullptr, event, nullptr});
    return event;
  }
  // Null, or another kind of device's event: that device runs its work before it returns.
  void Wait(const std::shared_ptr<Event>& event) override {
    if (auto own = std::dynamic_pointer_cast<ReferenceEvent>(event)) Push({nullptr, nullptr, std::move(own)});
  }
  // The error is reported once; the stream is as new afterwards.
  void Synchronize() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return queue_.empty() && !busy_; });
    if (!error_) return;
    const Error error = *error_;
    error_.reset();
    throw error;
  }

 private:
  struct Item {
    std::function<void()> work;
    std::shared_ptr<ReferenceEvent> reach, await;
  };

  void Push(Item item) {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(item));
    }
    changed_.notify_all();
  }

  void Loop(std::stop_token stop) {
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [&] { return !queue_.empty(); }) && !stop.stop_requested()) {
      Item item = std::move(queue_.front());
      queue_.pop_front();
      busy_ = true;
      std::optional<Error> error = error_;
      lock.unlock();
      BeLate();
      error = Do(item, std::move(error), stop);
      item = {};  // what it captured goes before anyone is told
      lock.lock();
      error_ = std::move(error);
      busy_ = false;
      changed_.notify_all();
    }
    for (Item& item : queue_)
      if (item.reach) item.reach->Reach(Error(Code::kCancelled, "the stream was destroyed before its work was done"));
    queue_.clear();
  }

  // Runs one item unless an error stands; returns the error that stands afterwards: the first one.
  static std::optional<Error> Do(Item& item, std::optional<Error> error, std::stop_token stop) {
    if (item.reach) item.reach->Reach(error);
    if (error) return error;
    if (item.await) return item.await->Await(stop);
    try {
      if (item.work) item.work();
      return std::nullopt;
    } catch (const Error& caught) {
      return caught;
    }
  }

  // From nothing to some 70 microseconds (a sleep of 15 takes that long), differently for each item and stream.
  void BeLate() {
    lateness_ ^= lateness_ << 13, lateness_ ^= lateness_ >> 7, lateness_ ^= lateness_ << 17;
    const uint64_t draw = lateness_ % 16;
    if (draw < 8) return;
    if (draw < 14) return std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(draw));
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Item> queue_;
  bool busy_ = false;
  std::optional<Error> error_;
  uint64_t lateness_;    // the stream's thread's alone
  std::jthread thread_;  // last: it uses all of the above
};

bool IsDeviceTensor(const Value* value) {
  return !value || (value->type.IsTensor() && value->type.dtype != DType::kString);
}

class ReferenceDevice : public Device {
 public:
  std::string_view name() const override { return "reference"; }
  std::string description() const override { return "Reference: scalar kernels of the primitive ops, late on purpose"; }
  bool IsHost() const override { return false; }

  // Primitives only: what has an expansion is run as that, which makes this device the oracle of expansions. Strings,
  // sequences and optionals live on the host.
  std::unique_ptr<Kernel> FindKernel(KernelSite& site) const override {
    const Node& node = site.node();
    if (node.op->expand) return nullptr;
    if (!std::all_of(node.inputs.begin(), node.inputs.end(), IsDeviceTensor)) return nullptr;
    if (!std::all_of(node.outputs.begin(), node.outputs.end(), IsDeviceTensor)) return nullptr;
    return FindPlainKernel(site);
  }

  std::byte* Allocate(size_t bytes) override {
    const size_t size = std::max<size_t>(bytes, 1);
    void* data = ::operator new(size, kAlignment, std::nothrow);
    if (!data) throw Error(Code::kOutOfMemory, "the system refused ", bytes, " bytes to the reference device");
    std::memset(data, kPoison, size);
    return static_cast<std::byte*>(data);
  }
  void Free(std::byte* data, size_t bytes) override {
    if (!data) return;
    std::memset(data, kPoison, bytes);
    ::operator delete(data, kAlignment);
  }
  std::unique_ptr<Stream> NewStream() override {
    return std::make_unique<ReferenceStream>(0x9e3779b97f4a7c15u * ++streams_);
  }

 private:
  std::atomic<uint64_t> streams_{0};
};

}  // namespace

std::unique_ptr<Device> MakeReferenceDevice() { return std::make_unique<ReferenceDevice>(); }

}  // namespace ziggurat
