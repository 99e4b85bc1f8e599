// Fork-join over a fixed set of workers. One pool per Engine, shared by all its models.
//
// A run holds a Lease: it counts among those that compute at once, and each of them beyond the first keeps one worker
// out of everybody's tasks, so that no more threads compute than the pool has. A lone run gets all; as many runs as
// threads get one each, which wastes nothing on forks and joins. A Team caps how many workers (the caller included) may
// walk a run's tasks. What a task computes must not depend on which worker runs it, nor on how many there are.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/function_ref.h"

namespace ziggurat {

// What the machine grants a pool (cpu_watch.h).
struct ThreadGrant {
  int threads = 1;     // that may compute at once, callers included
  double extra = 0;    // CPUs beside these that a quota pays for, less than one: one thread more may use them up
  bool spin = true;    // whether a worker without work may wait on its CPU for more
  bool queue = false;  // whether runs beyond `threads` stand in line instead of computing beside the others
};

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

  // Holds from the next fork on. A pool begins with all its threads granted.
  void Grant(const ThreadGrant& grant);

  // A run's place among those that compute. Where runs must stand in line (line.h), `poll` is called every 2 ms; what
  // it throws leaves the line. `wait` false never stands in line. Who stands in line has the extra part of the time
  // before other runs' tasks have it: one thread computing alone wastes nothing on forks.
  class Lease {
   public:
    Lease(ThreadPool& pool, bool wait, FunctionRef<void()> poll);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    // For a run between two steps: where the part of the time that a grant has for one more is used up, one of those
    // that compute leaves its place and waits, before all others in line, until it has one again.
    void GiveWay(FunctionRef<void()> poll);

   private:
    ThreadPool& pool_;
    const bool waits_;
    bool held_ = true;
  };

  // Leases held now.
  int leases() const;

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
