// Fork-join over a fixed set of workers. One pool per Engine, shared by all its models.
//
// A Team is what a run holds: a cap on how many workers (the caller included) may walk its tasks. Teams of
// concurrent runs share the pool's idle workers; a Team that finds none idle runs its tasks on the caller alone.
// What a task computes must not depend on which worker runs it, nor on how many there are.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/function_ref.h"

namespace ziggurat {

class ThreadPool {
 public:
  static constexpr int kMaxThreads = 1024;

  // threads >= 1 counts the caller: a pool of 1 starts no thread. A worker without work spins for `spin`, about the
  // time between two steps of a run, before it sleeps; waking a sleeper takes tens of microseconds.
  explicit ThreadPool(int threads, std::chrono::microseconds spin = std::chrono::microseconds(50));
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Calls fn(task, worker) once for each task in [0, tasks), worker in [0, min(size(), max_workers)), and returns
  // when all are done. An exception of a task is rethrown here (the first one), after all workers have stopped.
  // A call from inside a task runs on that task's thread, as worker 0. Any number of threads may call at once.
  // Workers compute under the caller's rounding and denormal mode.
  void ParallelFor(int64_t tasks, int max_workers, FunctionRef<void(int64_t task, int worker)> fn);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class Team {
 public:
  Team(ThreadPool& pool, int max_workers)
      : pool_(&pool), size_(max_workers < pool.size() ? max_workers : pool.size()) {}

  int size() const { return size_; }
  void ParallelFor(int64_t tasks, FunctionRef<void(int64_t task, int worker)> fn) const {
    pool_->ParallelFor(tasks, size_, fn);
  }

 private:
  ThreadPool* pool_;
  int size_;
};

}  // namespace ziggurat
