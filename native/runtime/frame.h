// What one run changes: where each slot's bytes are now, the memory behind them, and what ends the run early.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "device/sequence.h"
#include "memory/arena.h"
#include "runtime/engine.h"
#include "runtime/layout.h"

namespace ziggurat {

// Asked for by the caller; polled before each step.
struct RunLimits {
  const std::atomic<bool>* cancelled = nullptr;
  std::optional<std::chrono::steady_clock::time_point> deadline;

  void Poll() const {
    if (cancelled && cancelled->load(std::memory_order_relaxed)) throw Error(Code::kCancelled, "the run was cancelled");
    if (deadline && std::chrono::steady_clock::now() > *deadline)
      throw Error(Code::kDeadlineExceeded, "the deadline passed while the model was running");
  }
};

struct Frame;

struct StepProfile {
  const Step* step;
  double microseconds;
  double flops;
  size_t bytes;  // of inputs and outputs
};

// Sees each kernel's step of a run before and after it, all work done.
class StepWatch {
 public:
  virtual ~StepWatch() = default;
  virtual void Before(const Frame& frame, const Step& step) = 0;
  virtual void After(const Frame& frame, const Step& step) = 0;
};

// Memory of devices other than the host, freed together.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  ~DeviceMemory() {
    for (const Block& block : blocks_) block.device->Free(block.data, block.bytes);
  }
  std::byte* Allocate(Device& device, size_t bytes) {
    blocks_.push_back({&device, device.Allocate(bytes), bytes});
    return blocks_.back().data;
  }

 private:
  struct Block {
    Device* device;
    std::byte* data;
    size_t bytes;
  };
  std::vector<Block> blocks_;
};

// Shared by all frames of one run. Streams die before the memory that their work may still touch.
struct RunScope {
  Engine& engine;
  ThreadPool::Lease& lease;
  Team team;
  RunLimits limits;
  std::vector<StepProfile>* profile = nullptr;
  StepWatch* watch = nullptr;
  DeviceMemory device_memory;
  std::vector<std::shared_ptr<void>> keep;  // strings
  std::vector<Reservation> reservations;
  std::vector<std::unique_ptr<Stream>> streams = {};  // by device

  // Before each step: ends the run, or makes room for others.
  void Poll() {
    limits.Poll();
    lease.GiveWay([this] { limits.Poll(); });
  }
  void Synchronize() {
    for (auto& stream : streams) stream->Synchronize();
  }
};

// An output: its elements, and what keeps them alive.
struct Output {
  TensorView view;
  std::shared_ptr<void> owner;
  ObjectValue object;
};

struct Frame {
  Frame(const Plan& plan, RunScope& scope, Frame* parent, Arena& arena);

  const Plan& plan;
  RunScope& scope;
  Frame* parent;
  Arena* arena;                          // host memory for dynamic slots
  std::vector<TensorView> views;         // by slot
  std::vector<ObjectValue> objects;      // by slot; empty if no slot is an object
  std::vector<TensorView> io;            // by step: inputs, then outputs; late launches look here
  std::vector<ObjectValue*> io_objects;  // likewise; empty if no slot is an object
  std::vector<std::byte*> scratch;       // by device, for static steps
  std::span<const Branches> branches;    // of the layout that the frame was set up with
  std::vector<Output> outputs;           // by graph output, of the outermost frame

  // Memory for `slot` at `shape`, where the plan puts it; sets the slot's view.
  void Take(int slot, const Shape& shape);
  // A block of the caller's for graph output `index`.
  void TakeOutput(int index, int slot, const Shape& shape);
};

// Runs all steps of the frame's plan; its inputs' views are set. Throws the first error; streams may then hold work.
void Execute(Frame& frame);
void ExecuteIf(Frame& frame, const Step& step);
void ExecuteLoop(Frame& frame, const Step& step);
void ExecuteScan(Frame& frame, const Step& step);

// Copies elements of one type and count, strings included.
void CopyElements(const TensorView& from, const TensorView& to);

}  // namespace ziggurat
