// A thread that looks after an engine's memory while nobody else does.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace ziggurat {

class Housekeeper {
 public:
  // Calls `tend` every `pace` for as long as it says that there is more to do, then seldom, until Nudge().
  Housekeeper(std::chrono::duration<double> pace, std::function<bool()> tend);
  ~Housekeeper();
  // There may be work again. Costs a load where the thread is at it already.
  void Nudge() {
    if (state_->asleep.load(std::memory_order_relaxed)) Wake();
  }

 private:
  struct State {
    std::chrono::duration<double> pace;
    std::function<bool()> tend;
    std::mutex mutex;
    std::condition_variable changed;
    bool stop = false, nudged = false;
    std::atomic<bool> asleep{false};
    std::thread thread;
  };
  static void Work(State& state);
  void Wake();

  const pid_t process_;
  std::unique_ptr<State> state_;
};

}  // namespace ziggurat
