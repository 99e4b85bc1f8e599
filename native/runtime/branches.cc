#include "runtime/branches.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace ziggurat {
namespace {

// Nanoseconds, roughly what a step costs one worker: it only has to tell 2 us from 200.
constexpr double kFlopsPerNs = 50, kBytesPerNs = 10, kLaunch = 300;
// A fork and join of spinning workers, and the least that a worker is given (cpu/ops).
constexpr double kFork = 2000, kGrain = 20'000;
// What a window must gain: its fork may be the run's first, and workers that sleep take this long to wake.
constexpr double kWake = 15'000;
// Above this a step keeps all workers busy by itself.
constexpr double kLarge = 100'000;
constexpr int kMostSteps = 128;  // of a window

struct Cost {
  double alone = 0;  // by one worker
  double split = 0;  // by all, as its kernel splits it
};

bool MayMove(const Step& step) {
  if (step.kind != Step::Kind::kKernel || !step.is_static || step.checks || step.has_objects || step.waits)
    return false;
  return step.device == 0 && !step.kernel->name().starts_with("reference");
}

Cost CostOf(const Step& step, const std::vector<TensorView>& views, int workers) {
  std::vector<TensorView> inputs, outputs;
  size_t bytes = 0;
  for (int slot : step.inputs) {
    inputs.push_back(slot < 0 ? TensorView{} : views[slot]);
    bytes += slot < 0 ? 0 : views[slot].Bytes();
  }
  for (int slot : step.outputs) {
    outputs.push_back(slot < 0 ? TensorView{} : views[slot]);
    bytes += slot < 0 ? 0 : views[slot].Bytes();
  }
  const double work =
      std::max(step.kernel->Flops(inputs, outputs) / kFlopsPerNs, static_cast<double>(bytes) / kBytesPerNs);
  const double parts = std::clamp(work / kGrain, 1.0, static_cast<double>(workers));
  return {work + kLaunch, work / parts + kLaunch + (parts > 1 ? kFork : 0)};
}

// Steps that join as one needs what another writes, or would write over what another reads.
class Window {
 public:
  Window(const Plan& plan, int first) : plan_(plan), first_(first) {}

  // How many groups there are with the next step.
  int Add(const Cost& cost) {
    const Step& step = plan_.steps[first_ + size()];
    const int index = size();
    parent_.push_back(index);
    costs_.push_back(cost);
    ++groups_;
    for (int slot : step.inputs)
      if (slot >= 0) Note(index, slot, false);
    for (int slot : step.outputs)
      if (slot >= 0) Note(index, slot, true);
    return groups_;
  }

  int size() const { return static_cast<int>(parent_.size()); }

  // Nanoseconds less than one step after the other, each split over all workers.
  double Gain(int workers) {
    std::map<int, double> alone;
    double before = 0;
    for (int i = 0; i < size(); ++i) alone[Find(i)] += costs_[i].alone, before += costs_[i].split;
    std::vector<double> lists, loads(static_cast<size_t>(workers), 0);
    for (const auto& [group, cost] : alone) lists.push_back(cost);
    std::sort(lists.rbegin(), lists.rend());
    for (double list : lists) *std::min_element(loads.begin(), loads.end()) += list;
    return before - kFork - *std::max_element(loads.begin(), loads.end());
  }
  double Split() const {
    return std::accumulate(costs_.begin(), costs_.end(), 0.0, [](double sum, const Cost& c) { return sum + c.split; });
  }

  Branches Take() {
    std::map<int, std::pair<double, std::vector<int>>> groups;
    for (int i = 0; i < size(); ++i) {
      auto& [cost, list] = groups[Find(i)];
      cost += costs_[i].alone;
      list.push_back(first_ + i);
    }
    std::vector<std::pair<double, std::vector<int>>> sorted;
    for (auto& [group, list] : groups) sorted.push_back(std::move(list));
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    Branches branches{first_, first_ + size(), {}, {}};
    for (auto& [cost, list] : sorted) branches.lists.push_back(std::move(list));
    return branches;
  }

 private:
  struct Touch {
    std::vector<int> writers, readers;
  };

  // What touches a slot meets what touched the same memory: the slot itself, what it is a part of, and its parts. Two
  // parts of one tensor may both be written: those that a Concat joins do not overlap, and nobody writes those that a
  // Split or Slice cuts.
  void Note(int step, int slot, bool writes) {
    const int memory = Memory(slot);
    Meet(step, touches_[memory], writes);
    Meet(step, inside_[memory], writes);
    (writes ? touches_[memory].writers : touches_[memory].readers).push_back(step);
    for (int part = memory; plan_.slots[part].storage == Storage::kView;) {
      part = Memory(plan_.slots[part].view_of);
      Meet(step, touches_[part], writes);
      (writes ? inside_[part].writers : inside_[part].readers).push_back(step);
    }
  }

  void Meet(int step, const Touch& touch, bool writes) {
    for (int writer : touch.writers) Unite(step, writer);
    if (writes)
      for (int reader : touch.readers) Unite(step, reader);
  }

  // The slot that shows the same elements: itself, a part of another, or memory of its own.
  int Memory(int slot) const {
    while (plan_.slots[slot].storage == Storage::kView && plan_.slots[slot].piece == Piece::kAll)
      slot = plan_.slots[slot].view_of;
    return slot;
  }

  int Find(int i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void Unite(int a, int b) {
    a = Find(a), b = Find(b);
    if (a == b) return;
    parent_[std::max(a, b)] = std::min(a, b);
    --groups_;
  }

  const Plan& plan_;
  const int first_;
  int groups_ = 0;
  std::vector<int> parent_;
  std::vector<Cost> costs_;
  std::map<int, Touch> touches_, inside_;  // by Memory: of the slot itself, and of its parts
};

// The length of the window from `first` on that gains most; 0: none gains enough.
int BestLength(const Plan& plan, int first, const std::vector<Cost>& costs, const std::vector<char>& may, int workers) {
  Window window(plan, first);
  const int end = std::min(static_cast<int>(plan.steps.size()), first + kMostSteps);
  int best = 0;
  double most = 0;
  for (int i = first; i < end && may[i]; ++i) {
    if (window.Add(costs[i]) < 2) continue;
    const double gain = window.Gain(workers);
    if (gain > most && gain > kWake && gain > 0.1 * window.Split()) best = window.size(), most = gain;
  }
  return best;
}

}  // namespace

std::vector<Branches> FindBranches(const Plan& plan, const std::vector<TensorView>& views, int workers) {
  std::vector<Branches> found;
  if (workers < 2) return found;
  std::vector<Cost> costs(plan.steps.size());
  std::vector<char> may(plan.steps.size());
  for (size_t i = 0; i < plan.steps.size(); ++i)
    if (MayMove(plan.steps[i])) {
      costs[i] = CostOf(plan.steps[i], views, workers);
      may[i] = costs[i].alone < kLarge;
    }
  for (int i = 0; i < static_cast<int>(plan.steps.size());) {
    const int length = BestLength(plan, i, costs, may, workers);
    if (length == 0) {
      ++i;
      continue;
    }
    Window window(plan, i);
    for (int k = 0; k < length; ++k) window.Add(costs[i + k]);
    found.push_back(window.Take());
    i += length;
  }
  return found;
}

}  // namespace ziggurat
