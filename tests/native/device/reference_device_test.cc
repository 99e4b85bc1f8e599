// Order, lateness, events, errors and shutdown of the reference device.
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <thread>

#include "device/plain_run.h"

namespace ziggurat {
namespace {

using test::LooseNode;

// A kernel that does what a test says.
class Doing : public Kernel {
 public:
  explicit Doing(std::function<void()> work) : work_(std::move(work)) {}
  std::string_view name() const override { return "doing"; }
  void Run(KernelContext&) const override { work_(); }

 private:
  std::function<void()> work_;
};

struct Fixture {
  ThreadPool pool{1};
  std::unique_ptr<Device> device = MakeReferenceDevice();
  LooseNode node{"Add", {}};
  KernelContext context{{}, {}, {}, {}, nullptr, Team(pool, 1), allocate};

  static constexpr auto allocate = [](int, const Shape&) {};
};

TEST(reference_work_runs_in_order_after_launch_returned) {
  Fixture f;
  std::vector<int> seen;
  std::atomic<bool> open{false};
  const Doing gate([&] {
    while (!open) std::this_thread::yield();
  });
  const Doing first([&] { seen.push_back(1); }), second([&] { seen.push_back(2); });
  auto stream = f.device->NewStream();
  stream->Launch(gate, f.context, f.node.node);
  stream->Launch(first, f.context, f.node.node);
  stream->Launch(second, f.context, f.node.node);
  CHECK(seen.empty());  // nothing can have run: the gate is shut
  open = true;
  stream->Synchronize();
  CHECK(seen == (std::vector<int>{1, 2}));
}

TEST(reference_copies_run_in_order_with_launches) {
  Fixture f;
  int source = 1, target = 0;
  const Doing change([&] { source = 2; });
  auto stream = f.device->NewStream();
  stream->Launch(change, f.context, f.node.node);
  stream->Copy(&target, &source, sizeof(int));
  stream->Copy(nullptr, nullptr, 0);
  stream->Synchronize();
  CHECK(target == 2);
}

TEST(reference_event_holds_another_stream_until_it_is_reached) {
  Fixture f;
  for (int round = 0; round < 50; ++round) {
    int value = 0, seen = -1;
    const Doing write([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      value = 7;
    });
    const Doing read([&] { seen = value; });
    auto writer = f.device->NewStream(), reader = f.device->NewStream();
    writer->Launch(write, f.context, f.node.node);
    reader->Wait(writer->Record());
    reader->Launch(read, f.context, f.node.node);
    reader->Synchronize();
    CHECK(seen == 7);
    writer->Synchronize();
  }
}

TEST(reference_first_error_sticks_names_the_node_and_skips_what_follows) {
  Fixture f;
  bool ran = false;
  const Doing fail([] { throw Error(Code::kInvalidArgument, "index 9 is out of range"); });
  const Doing fail_later([] { throw Error(Code::kInternal, "second"); }), touch([&] { ran = true; });
  f.node.node.name = "broken";
  auto stream = f.device->NewStream();
  stream->Launch(fail, f.context, f.node.node);
  stream->Launch(fail_later, f.context, f.node.node);
  stream->Launch(touch, f.context, f.node.node);
  try {
    stream->Synchronize();
    CHECK(false, "no error");
  } catch (const Error& error) {
    CHECK(error.code() == Code::kInvalidArgument && error.node() == "broken" && error.op() == "Add", error.what());
  }
  CHECK(!ran);
  stream->Launch(touch, f.context, f.node.node);  // reported once, the stream is usable again
  stream->Synchronize();
  CHECK(ran);
}

TEST(reference_error_travels_with_an_event) {
  Fixture f;
  bool ran = false;
  const Doing fail([] { throw std::runtime_error("not one of ours"); });
  const Doing touch([&] { ran = true; });
  auto failing = f.device->NewStream(), waiting = f.device->NewStream();
  failing->Launch(fail, f.context, f.node.node);
  waiting->Wait(failing->Record());
  waiting->Launch(touch, f.context, f.node.node);
  CHECK_ERROR(Code::kInternal, waiting->Synchronize());
  CHECK(!ran);
  CHECK_ERROR(Code::kInternal, failing->Synchronize());
}

TEST(reference_stream_with_work_pending_shuts_down_and_frees_those_who_wait) {
  Fixture f;
  std::atomic<bool> started{false}, open{false};
  bool ran = false;
  const Doing gate([&] {
    started = true;
    while (!open) std::this_thread::yield();
  });
  const Doing touch([&] { ran = true; });
  auto waiting = f.device->NewStream();
  auto busy = f.device->NewStream();
  busy->Launch(gate, f.context, f.node.node);
  busy->Launch(touch, f.context, f.node.node);
  waiting->Wait(busy->Record());
  waiting->Launch(touch, f.context, f.node.node);
  while (!started) std::this_thread::yield();
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    open = true;
  });
  busy.reset();
  opener.join();
  CHECK_ERROR(Code::kCancelled, waiting->Synchronize());
  CHECK(!ran);
}

TEST(reference_stream_destroyed_while_it_waits_for_an_event_that_never_comes) {
  Fixture f;
  std::atomic<bool> open{false};
  const Doing gate([&] {
    while (!open) std::this_thread::yield();
  });
  auto never = f.device->NewStream(), waiting = f.device->NewStream();
  never->Launch(gate, f.context, f.node.node);
  waiting->Wait(never->Record());
  waiting.reset();
  open = true;
  never->Synchronize();
}

TEST(reference_memory_is_aligned_and_poisoned) {
  auto device = MakeReferenceDevice();
  std::byte* data = device->Allocate(256);
  CHECK(reinterpret_cast<uintptr_t>(data) % 64 == 0);
  for (int i = 0; i < 64; ++i) CHECK(std::isnan(reinterpret_cast<float*>(data)[i]));
  device->Free(data, 256);
  device->Free(device->Allocate(0), 0);
  CHECK(!device->IsHost() && device->name() == "reference");
}

TEST(reference_takes_primitives_only_and_no_strings) {
  auto device = MakeReferenceDevice();
  const auto finds = [&](std::string_view op, DType dtype, bool expands) {
    LooseNode loose(op, {});
    if (expands) loose.op.expand = [](Expander&) {};
    loose.node.inputs = {loose.Add(Type::Tensor(dtype, Shape{2}))};
    loose.node.outputs = {loose.Add(Type::Tensor(dtype, Shape{2}))};
    test::TestSite site(loose.node);
    return device->FindKernel(site) != nullptr;
  };
  CHECK(finds("Identity", DType::kFloat32, false));
  CHECK(!finds("Softmax", DType::kFloat32, true));
  CHECK(!finds("Identity", DType::kString, false));
  CHECK(!finds("NoSuchOp", DType::kFloat32, false));
}

TEST(reference_runs_a_plain_kernel) {
  Fixture f;
  LooseNode loose("Add", {});
  const test::Host a = test::Floats({2}, {1, 2}), b = test::Floats({1}, {10});
  loose.node.inputs = {loose.Add(Type::Tensor(DType::kFloat32, Shape{2})),
                       loose.Add(Type::Tensor(DType::kFloat32, Shape{1}))};
  loose.node.outputs = {loose.Add(Type::Tensor(DType::kFloat32, Shape{2}))};
  test::TestSite site(loose.node);
  const auto kernel = f.device->FindKernel(site);
  CHECK(kernel && kernel->name() == "plain.Add");
  auto* out = reinterpret_cast<float*>(f.device->Allocate(8));
  std::vector<TensorView> in{a.view(), b.view()}, outs{{out, DType::kFloat32, Shape{2}}};
  auto stream = f.device->NewStream();
  f.context.inputs = in, f.context.outputs = outs;
  stream->Launch(*kernel, f.context, loose.node);
  float result[2];
  stream->Copy(result, out, 8);
  stream->Synchronize();
  CHECK(result[0] == 11 && result[1] == 12);
  f.device->Free(reinterpret_cast<std::byte*>(out), 8);
}

}  // namespace
}  // namespace ziggurat
