#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/allowance.h"
#include "base/error.h"
#include "base/line.h"

namespace ziggurat {
namespace {

using Clock = std::chrono::steady_clock;

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// The rounding and denormal control of this thread. Workers compute under their caller's.
uint32_t FloatControl() {
#if defined(__x86_64__)
  return _mm_getcsr() & ~0x3fu;  // without the sticky exception flags
#else
  return 0;
#endif
}
void SetFloatControl([[maybe_unused]] uint32_t control) {
#if defined(__x86_64__)
  if (FloatControl() != control) _mm_setcsr(control);
#endif
}

int CurrentCpu() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// CPU time of all threads of this process.
std::chrono::nanoseconds ProcessTime() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// The CPUs the pool was made with, to steer a worker off its caller's CPU. On small machines Linux does not look for
// an idle CPU when it wakes a thread while the load is high (SIS_UTIL), so a worker that once shared its caller's CPU
// can stay there for tens of milliseconds, runnable and starved by a caller that never blocks.
class Placement {
 public:
  Placement() {
#if defined(__linux__)
    CPU_ZERO(&allowed_);
    known_ = sched_getaffinity(0, sizeof allowed_, &allowed_) == 0 && CPU_COUNT(&allowed_) > 1;
#endif
  }
  // Lets `thread` run anywhere but on `cpu`. A hint: failure changes nothing but speed.
  void Avoid([[maybe_unused]] pthread_t thread, [[maybe_unused]] int cpu) const {
#if defined(__linux__)
    if (!known_ || cpu < 0 || cpu >= CPU_SETSIZE) return;
    cpu_set_t others = allowed_;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) > 0) pthread_setaffinity_np(thread, sizeof others, &others);
#endif
  }

 private:
#if defined(__linux__)
  cpu_set_t allowed_;
#endif
  bool known_ = false;
};

// Tasks that lie side by side, for one worker first of all. Left as the stack had it until a job sets it.
struct alignas(64) Span {
  int64_t next;
  int64_t end;

  std::atomic_ref<int64_t> Next() { return std::atomic_ref<int64_t>(next); }
};

// One ParallelFor. Lives on its caller's stack, so nobody may touch it after `pending` has reached zero.
//
// Each worker begins with a part of the tasks that is its own in every job, and takes others' only then: steps cut
// their rows alike, so that a core mostly reads what it wrote itself, out of its own cache.
struct Job {
  static constexpr int kMostSpans = 64;  // beyond, workers share them

  Job(FunctionRef<void(int64_t, int)> body, int64_t tasks, int workers)
      : fn(body), count(workers < kMostSpans ? workers : kMostSpans), float_control(FloatControl()) {
    for (int i = 0; i < count; ++i) {
      spans[i].next = Start(tasks, i);
      spans[i].end = Start(tasks, i + 1);
    }
  }

  // `home` tells one thread from the others, in all jobs.
  void Work(int worker, size_t home) noexcept {
    try {
      for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
        Span& span = spans[(home + i) % static_cast<size_t>(count)];
        while (span.Next().load(std::memory_order_relaxed) < span.end) {
          const int64_t task = span.Next().fetch_add(1, std::memory_order_relaxed);
          if (task < span.end) fn(task, worker);
        }
      }
    } catch (...) {
      if (!failed.exchange(true, std::memory_order_relaxed)) error = std::current_exception();
      for (int i = 0; i < count; ++i) spans[i].Next().store(spans[i].end, std::memory_order_relaxed);
    }
  }

  FunctionRef<void(int64_t, int)> fn;
  const int count;
  const uint32_t float_control;
  Span spans[kMostSpans];
  alignas(64) std::atomic<int> pending{0};  // recruited workers that have not finished
  std::atomic<bool> failed{false};
  std::exception_ptr error;  // written by whoever set `failed`; read after `pending` is zero

 private:
  int64_t Start(int64_t tasks, int64_t i) const { return tasks / count * i + std::min(i, tasks % count); }
};

// A worker's mailbox. A caller that wins kIdle or kSleeping -> kClaimed owns the fields below until it stores kReady;
// the worker that wins kReady -> kBusy runs the job; the caller that wins kReady -> kIdle has taken it back, so that
// no caller waits for a worker that the OS has not scheduled yet.
enum State : uint32_t { kIdle, kSleeping, kClaimed, kReady, kBusy, kStop };
struct alignas(64) Mailbox {
  std::atomic<uint32_t> state{kIdle};
  Job* job = nullptr;
  int worker = 0;
  std::atomic<int> cpu{-1};  // where the worker last looked for mail; -1 before it ever ran
  int avoided_cpu = -1;      // guarded by kClaimed

  bool Move(uint32_t from, uint32_t to) {
    return state.load(std::memory_order_relaxed) == from &&
           state.compare_exchange_strong(from, to, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
};

}  // namespace

struct ThreadPool::Impl {
  // The pools whose tasks this thread is inside of, innermost first: a nested call must run inline. It is per thread
  // by nature, and never outlives the call that pushed it.
  struct Frame {
    const Impl* pool;
    const Frame* outer;
  };
  static thread_local const Frame* innermost;
  struct Entered {
    explicit Entered(const Impl* pool) : frame{pool, innermost} { innermost = &frame; }
    ~Entered() { innermost = frame.outer; }
    Frame frame;
  };

  Impl(int threads, std::chrono::microseconds spin) : mailboxes(threads - 1), spin_time(spin), granted(threads) {
    workers.reserve(mailboxes.size());
    // Signals are for the threads of the embedding process; workers inherit the full mask.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      for (Mailbox& mailbox : mailboxes) workers.emplace_back([this, &mailbox] { Serve(mailbox); });
    } catch (const std::exception& error) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      Stop();
      throw Error(Code::kOutOfMemory, "could start only ", workers.size() + 1, " of ", threads,
                  " threads: ", error.what());
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~Impl() { Stop(); }

  void Stop() {
    for (size_t i = 0; i < workers.size(); ++i) {
      // A worker may still be on its way from kBusy to kIdle after its last job.
      while (!mailboxes[i].Move(kIdle, kStop) && !mailboxes[i].Move(kSleeping, kStop)) Pause();
      mailboxes[i].state.notify_one();
      workers[i].join();
    }
  }

  // How many threads may compute now, callers included.
  int Allowed() {
    const int whole = granted.load(std::memory_order_relaxed);
    if (!extra.load(std::memory_order_relaxed)) return whole;
    return whole + allowance.Open(Clock::now(), [] { return ProcessTime(); });
  }

  // How many workers may help now: the first of the mailboxes.
  int Helpers() {
    const int callers = std::max(1, leases.load(std::memory_order_relaxed) + line.Length());
    return std::max(0, std::min(static_cast<int>(mailboxes.size()) + 1, Allowed()) - callers);
  }

  // Whether one more run may compute. The first in line asks.
  bool Enter() {
    if (queue && leases.load(std::memory_order_relaxed) >= Allowed()) return false;
    leases.fetch_add(1, std::memory_order_relaxed);
    return true;
  }

  // Whether more runs compute than may, now that the allowance is used up.
  bool Crowded() { return leases.load(std::memory_order_relaxed) > Allowed(); }

  // Spins for work as long as more is likely to come soon, then sleeps. Returns at kReady or kStop. One whom the
  // callers leave no CPU sleeps at once.
  uint32_t AwaitMail(Mailbox& mailbox) {
    const bool spins = spin.load(std::memory_order_relaxed) && &mailbox - mailboxes.data() < Helpers();
    const Clock::time_point end = Clock::now() + (spins ? spin_time : std::chrono::microseconds(0));
    for (uint32_t round = 1;; ++round) {
      const uint32_t state = mailbox.state.load(std::memory_order_acquire);
      if (state == kReady || state == kStop) return state;
      // Reading the clock costs as much as a few pauses; the limit need not be exact.
      if (round % 16 == 0) mailbox.cpu.store(CurrentCpu(), std::memory_order_relaxed);
      if (round % 16 == 0 && state == kIdle && Clock::now() >= end && mailbox.Move(kIdle, kSleeping))
        mailbox.state.wait(kSleeping, std::memory_order_acquire);
      else
        Pause();
    }
  }

  void Serve(Mailbox& mailbox) {
#if defined(__linux__)
    pthread_setname_np(pthread_self(), "ziggurat-pool");
#endif
    while (AwaitMail(mailbox) != kStop) {
      if (!mailbox.Move(kReady, kBusy)) continue;
      Job* job = mailbox.job;
      const uint32_t own_control = FloatControl();
      SetFloatControl(job->float_control);
      {
        Entered entered(this);
        job->Work(mailbox.worker, Index(mailbox) + 1);
      }
      SetFloatControl(own_control);
      // Idle first: the caller's next job must find this worker free.
      mailbox.state.store(kIdle, std::memory_order_release);
      job->pending.fetch_sub(1, std::memory_order_release);
    }
  }

  size_t Index(const Mailbox& mailbox) const { return static_cast<size_t>(&mailbox - mailboxes.data()); }

  // For a mailbox held at kClaimed, whose worker is asleep or did not begin: gets it off the caller's CPU.
  void Steer(Mailbox& mailbox, int caller_cpu) {
    const int cpu = mailbox.cpu.load(std::memory_order_relaxed);
    if (mailbox.avoided_cpu == caller_cpu || (cpu != caller_cpu && cpu != -1)) return;
    mailbox.avoided_cpu = caller_cpu;
    placement.Avoid(workers[Index(mailbox)].native_handle(), caller_cpu);
  }

  // Hands the job to up to `wanted` free workers among the first `helpers`, those that still spin first.
  void Recruit(Job& job, int wanted, int helpers) {
    int recruited = 0;
    for (uint32_t from : {kIdle, kSleeping}) {
      for (size_t i = 0; i < static_cast<size_t>(helpers) && recruited < wanted; ++i) {
        Mailbox& mailbox = mailboxes[i];
        if (!mailbox.Move(from, kClaimed)) continue;
        if (from == kSleeping) Steer(mailbox, CurrentCpu());
        mailbox.job = &job;
        mailbox.worker = ++recruited;
        job.pending.fetch_add(1, std::memory_order_relaxed);
        mailbox.state.store(kReady, std::memory_order_release);
        if (from == kSleeping) mailbox.state.notify_one();
      }
    }
  }

  // Takes the job back from workers that have not begun.
  void Recall(Job& job) {
    for (Mailbox& mailbox : mailboxes) {
      // kClaimed keeps the mailbox ours while we look whose job it holds.
      if (!mailbox.Move(kReady, kClaimed)) continue;
      const bool ours = mailbox.job == &job;
      if (ours) Steer(mailbox, CurrentCpu());
      mailbox.state.store(ours ? kIdle : kReady, std::memory_order_release);
      if (ours) job.pending.fetch_sub(1, std::memory_order_relaxed);
    }
  }

  void Join(Job& job) {
    if (job.pending.load(std::memory_order_acquire) == 0) return;
    Recall(job);
    // The rest are inside their last task. If that takes long, the OS may have put one off its CPU: make room.
    const Clock::time_point end = Clock::now() + spin_time;
    for (uint32_t round = 1; job.pending.load(std::memory_order_acquire) != 0; ++round) {
      if (round % 64 == 0 && Clock::now() >= end)
        std::this_thread::yield();
      else
        Pause();
    }
  }

  bool InsideTask() const {
    for (const Frame* frame = innermost; frame; frame = frame->outer)
      if (frame->pool == this) return true;
    return false;
  }

  std::vector<Mailbox> mailboxes;
  std::vector<std::thread> workers;
  const std::chrono::microseconds spin_time;
  Placement placement;
  std::atomic<int> leases{0};
  std::atomic<int> granted;        // threads that may compute at once
  std::atomic<bool> extra{false};  // and one more while the allowance is open
  std::atomic<bool> spin{true};
  std::atomic<bool> queue{false};
  Allowance allowance;
  Line line;
};

thread_local const ThreadPool::Impl::Frame* ThreadPool::Impl::innermost = nullptr;

ThreadPool::ThreadPool(int threads, std::chrono::microseconds spin) {
  if (threads < 1 || threads > kMaxThreads)
    throw Error(Code::kInvalidArgument, "threads must be 1 to ", kMaxThreads, ", not ", threads);
  impl_ = std::make_unique<Impl>(threads, spin);
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::size() const { return static_cast<int>(impl_->mailboxes.size()) + 1; }

void ThreadPool::ParallelFor(int64_t tasks, int max_workers, FunctionRef<void(int64_t task, int worker)> fn) {
  int wanted = max_workers < size() ? max_workers : size();
  if (tasks < wanted) wanted = static_cast<int>(tasks);
  if (wanted <= 1 || impl_->InsideTask()) {
    Impl::Entered entered(impl_.get());
    for (int64_t task = 0; task < tasks; ++task) fn(task, 0);
    return;
  }
  const int helpers = impl_->Helpers();
  Job job(fn, tasks, wanted);
  impl_->Recruit(job, wanted - 1, helpers);
  {
    Impl::Entered entered(impl_.get());
    job.Work(0, 0);
  }
  impl_->Join(job);
  if (job.error) std::rethrow_exception(job.error);
}

void ThreadPool::Grant(const ThreadGrant& grant) {
  impl_->allowance.SetRate(grant.threads + grant.extra);
  impl_->extra.store(grant.extra > 0, std::memory_order_relaxed);
  impl_->spin.store(grant.spin, std::memory_order_relaxed);
  impl_->granted.store(std::max(1, grant.threads), std::memory_order_relaxed);
  impl_->queue.store(grant.queue, std::memory_order_relaxed);
  impl_->line.Moved();
}

int ThreadPool::leases() const { return impl_->leases.load(std::memory_order_relaxed); }

ThreadPool::Lease::Lease(ThreadPool& pool, bool wait, FunctionRef<void()> poll) : pool_(pool), waits_(wait) {
  Impl& impl = *pool.impl_;
  if (wait && impl.queue)
    impl.line.Wait([&impl] { return impl.Enter(); }, poll);
  else
    impl.leases.fetch_add(1, std::memory_order_relaxed);
}

void ThreadPool::Lease::GiveWay(FunctionRef<void()> poll) {
  Impl& impl = *pool_.impl_;
  if (!waits_ || !impl.extra.load(std::memory_order_relaxed) || !impl.Crowded()) return;
  const auto leave = [&] {
    held_ = !impl.Crowded();
    if (!held_) impl.leases.fetch_sub(1, std::memory_order_relaxed);
    return !held_;
  };
  impl.line.StepBack(leave, [&impl] { return impl.Enter(); }, poll);
  held_ = true;
}

ThreadPool::Lease::~Lease() {
  if (!held_) return;
  pool_.impl_->leases.fetch_sub(1, std::memory_order_relaxed);
  if (pool_.impl_->queue) pool_.impl_->line.Left();
}

}  // namespace ziggurat
