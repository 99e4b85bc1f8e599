#include "runtime/housekeeper.h"

#include <signal.h>
#include <unistd.h>

#include <utility>

#include "base/error.h"

namespace ziggurat {

Housekeeper::Housekeeper(std::chrono::duration<double> pace, std::function<bool()> tend)
    : process_(getpid()), state_(std::make_unique<State>()) {
  state_->pace = pace;
  state_->tend = std::move(tend);
  // Signals are for the threads of the embedding process; the new one inherits the full mask.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    state_->thread = std::thread([state = state_.get()] { Work(*state); });
  } catch (const std::exception& error) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw Error(Code::kOutOfMemory, "could not start a thread: ", error.what());
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Housekeeper::~Housekeeper() {
  // The child of a fork has no such thread: nobody to join, and a condition that believes in a waiter for ever.
  if (getpid() != process_) {
    (void)state_.release();
    return;
  }
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_one();
  state_->thread.join();
}

void Housekeeper::Wake() {
  if (getpid() != process_) return;
  {
    std::lock_guard lock(state_->mutex);
    state_->nudged = true;
    state_->asleep.store(false, std::memory_order_relaxed);
  }
  state_->changed.notify_one();
}

void Housekeeper::Work(State& state) {
  // Arrays that callers let go of come back without a nudge: they too must not wait for ever.
  constexpr int kSeldom = 30;
  bool more = true;
  std::unique_lock lock(state.mutex);
  while (true) {
    state.asleep.store(!more, std::memory_order_relaxed);
    state.changed.wait_for(lock, more ? state.pace : state.pace * kSeldom,
                           [&] { return state.stop || (!more && state.nudged); });
    if (state.stop) return;
    if (std::exchange(state.nudged, false) && !more) {
      more = true;  // the pace counts from here
      continue;
    }
    lock.unlock();
    try {
      more = state.tend();
    } catch (const std::exception&) {
      more = true;  // no memory to count what is idle: the next turn tries again
    }
    lock.lock();
  }
}

}  // namespace ziggurat
