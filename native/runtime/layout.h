// A layout: a plan at one set of input shapes. Shapes of all static slots, offsets in the slab, scratch.
//
// Offsets come from the upper bounds of the shapes' bucket and serve all smaller shapes, down to a quarter of the
// memory: a step of a language model has other numbers of tokens each time, and finding offsets anew would cost more
// than the step's launches.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "runtime/branches.h"

namespace ziggurat {

struct Layout {
  std::vector<int64_t> symbols;       // by symbol; 0 where no input binds it
  std::vector<TensorView> views;      // by slot: dtype and, where static, shape; data null
  std::vector<size_t> offsets;        // by slot, kSlab only
  std::vector<size_t> view_offsets;   // by slot, kView only: from the start of the slot that it lies in
  std::vector<size_t> slab_bytes;     // by device
  std::vector<size_t> scratch_bytes;  // by device: the largest of its static steps
  std::vector<Branches> branches;     // that run side by side
};

// Where the slab's slots lie, and how much each may hold: made for one set of shapes, good for all that fit.
struct SlabPlacement {
  std::vector<size_t> room;        // by slot, bytes
  std::vector<size_t> offsets;     // by slot, kSlab only
  std::vector<size_t> slab_bytes;  // by device
  size_t total_room = 0;
  std::vector<Branches> branches;  // what lives at a step of them does so for all of them
};

// Memory items that live over [first, last] steps.
struct LifetimeItem {
  size_t bytes;
  int first, last;
};
// Offsets (64-byte aligned) at which no two items that live at the same step overlap; tries several greedy orders and
// keeps the one with the smallest total, which is returned.
size_t AssignOffsets(const std::vector<LifetimeItem>& items, std::vector<size_t>& offsets);

// The least bucket bound at or above `dim`: all integers to 8, then four steps a power of two.
int64_t BucketBound(int64_t dim);

// Makes and keeps the layouts of a plan. Thread-safe.
class LayoutCache {
 public:
  // `side_by_side`: small branches may be.
  LayoutCache(const Plan& plan, int workers, bool side_by_side = true)
      : plan_(plan), workers_(workers), side_by_side_(side_by_side) {}
  // Throws kInvalidArgument naming the node where the shapes do not fit together.
  std::shared_ptr<const Layout> Get(const std::vector<int64_t>& symbols);

 private:
  std::shared_ptr<Layout> Make(const std::vector<int64_t>& symbols) const;
  void PlaceViews(Layout& layout) const;
  void CheckShapes(const Layout& layout) const;
  void PlaceSlab(Layout& layout) const;
  SlabPlacement Place(const Layout& layout) const;
  std::shared_ptr<const SlabPlacement> FindPlacement(const Layout& layout) const;
  void SizeScratch(Layout& layout) const;
  void SizeBranches(Layout& layout) const;

  static constexpr size_t kMaxLayouts = 64, kMaxPlacements = 32;
  const Plan& plan_;
  const int workers_;
  const bool side_by_side_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<const Layout>> recent_;                     // most recently used first
  mutable std::vector<std::shared_ptr<const SlabPlacement>> placements_;  // likewise
};

}  // namespace ziggurat
