#include "memory/extents.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include "check.h"

using namespace ziggurat;

namespace {

constexpr size_t kPage = 4096;

// Fills an extent with what only it would hold.
void Mark(Extent* extent, uint8_t mark) { std::memset(extent->data, mark, extent->bytes); }
void CheckMark(const Extent* extent, uint8_t mark) {
  for (size_t i = 0; i < extent->bytes; i += 509) CHECK(extent->data[i] == std::byte{mark});
  CHECK(extent->data[extent->bytes - 1] == std::byte{mark});
}

Extent* Take(ExtentHeap& heap, size_t bytes) {
  bool warm = false;
  if (Extent* extent = heap.Take(bytes, warm)) return extent;
  if (heap.Grow(bytes)) return heap.Take(bytes, warm);
  const size_t region = heap.RegionBytes(bytes);
  heap.Add(MapPages(region), region);
  return heap.Take(bytes, warm);
}

}  // namespace

namespace {

void TestExtentsDoNotOverlap(size_t range) {
  ExtentHeap heap(kPage, 4 << 20, 16 << 20, range);
  std::mt19937 random(7);
  std::map<std::byte*, std::pair<Extent*, uint8_t>> live;
  for (int i = 0; i < 6000; ++i) {
    if (live.size() < 60 && random() % 5) {
      Extent* extent = Take(heap, 1 + random() % (random() % 8 ? 100000 : 3000000));
      Mark(extent, static_cast<uint8_t>(i));
      const auto after = live.lower_bound(extent->data);
      CHECK(after == live.end() || extent->data + extent->bytes <= after->first);
      if (after != live.begin()) CHECK(std::prev(after)->first + std::prev(after)->second.first->bytes <= extent->data);
      live[extent->data] = {extent, static_cast<uint8_t>(i)};
    } else if (!live.empty()) {
      auto one = std::next(live.begin(), static_cast<long>(random() % live.size()));
      CheckMark(one->second.first, one->second.second);
      heap.Give(one->second.first);
      live.erase(one);
    }
    if (i % 500 == 0) heap.Release(~0u);
  }
  for (auto& [data, one] : live) {
    CheckMark(one.first, one.second);
    heap.Give(one.first);
  }
  CHECK(heap.Stats().used == 0);
  heap.Release(~0u);
  CHECK(heap.Stats().mapped == 0 && heap.Stats().cached == 0);
}

}  // namespace

TEST(extents_do_not_overlap_and_grow_together_again) {
  for (const size_t range : {size_t{0}, size_t{24} << 20, size_t{1} << 30}) TestExtentsDoNotOverlap(range);
}

TEST(an_extent_given_back_twice_is_refused) {
  ExtentHeap heap(kPage, 4 << 20, 4 << 20);
  Extent* extent = Take(heap, 5000);
  heap.Give(extent);
  CHECK_ERROR(Code::kInternal, heap.Give(extent));
}

TEST(only_memory_that_was_touched_and_came_back_counts_as_waiting) {
  ExtentHeap heap(kPage, 4 << 20, 4 << 20);
  Extent* extent = Take(heap, 1 << 20);
  CHECK(heap.Stats().cached == 0 && heap.Stats().mapped == 4 << 20);
  heap.Give(extent);
  CHECK(heap.Stats().cached == 1 << 20);
  bool warm = false;
  extent = heap.Take(1 << 20, warm);
  CHECK(warm);
  heap.Give(extent);
  heap.Give(heap.Take(2 << 20, warm));
  CHECK(!warm && heap.Stats().cached == 2 << 20);
}

TEST(memory_between_blocks_in_use_goes_back_in_whole_huge_pages) {
  ExtentHeap heap(kPage, 16 << 20, 16 << 20);
  Extent* first = Take(heap, 1 << 20);
  Extent* middle = Take(heap, 8 << 20);
  Extent* last = Take(heap, 1 << 20);
  Mark(first, 1), Mark(last, 2);
  heap.Give(middle);
  CHECK(heap.Release(~0u) == 6 << 20);  // from 1 to 9 MiB there lie three whole huge pages
  CHECK(heap.Stats().cached == 2 << 20 && heap.Stats().mapped == 16 << 20);
  CheckMark(first, 1), CheckMark(last, 2);
}

namespace {

// Takes many blocks, gives most of them back, and moves the others together; what the heap then is.
HeapStats MoveTogether(ExtentHeap& heap) {
  std::mt19937 random(3);
  std::vector<std::pair<Extent*, uint8_t>> live;
  for (int i = 0; i < 120; ++i) {
    live.push_back({Take(heap, (20 + random() % 60) * kPage), static_cast<uint8_t>(i)});
    Mark(live.back().first, live.back().second);
  }
  for (size_t i = live.size(); i-- > 0;)
    if (random() % 3) {
      heap.Give(live[i].first);
      live.erase(live.begin() + static_cast<long>(i));
    }
  const HeapStats before = heap.Stats();
  size_t moves = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (auto& [extent, mark] : live)
      if (Extent* better = heap.MoveIntoHole(extent)) extent = better, moved = true, ++moves;
    CHECK(moves < 10000);
  }
  std::sort(live.begin(), live.end(), [](const auto& a, const auto& b) { return a.first->data < b.first->data; });
  for (auto& [extent, mark] : live)
    if (Extent* better = heap.Slide(extent)) extent = better, ++moves;
  for (auto& [extent, mark] : live) CheckMark(extent, mark);
  heap.Release(~0u);
  const HeapStats after = heap.Stats();
  CHECK(after.used == before.used && moves > 0 && after.mapped < before.mapped);
  return after;
}

}  // namespace

TEST(moving_blocks_closes_holes_and_keeps_what_they_hold) {
  ExtentHeap heap(kPage, 4 << 20, 4 << 20);
  const HeapStats after = MoveTogether(heap);
  // What is in use fits tightly: no region that could be empty is left.
  CHECK(after.mapped < after.used + (6 << 20), after.mapped, " of ", after.used);
}

TEST(blocks_in_a_range_move_together_into_one_piece) {
  ExtentHeap heap(kPage, 4 << 20, 64 << 20, size_t{1} << 30);
  const HeapStats after = MoveTogether(heap);
  CHECK(after.cached == after.largest_free && after.mapped < after.used + (2 << 20), after.mapped, " of ", after.used);
}

TEST(a_range_that_is_full_is_followed_by_regions) {
  ExtentHeap heap(kPage, 4 << 20, 4 << 20, 8 << 20);
  CHECK(heap.Grow(3 << 20) && heap.Grow(3 << 20) && !heap.Grow(3 << 20));
  std::vector<Extent*> taken;
  for (int i = 0; i < 5; ++i) taken.push_back(Take(heap, 3 << 20));
  CHECK(heap.Stats().mapped == 20 << 20);
  for (Extent* extent : taken) heap.Give(extent);
  heap.Release(~0u);
  CHECK(heap.Stats().mapped == 0);
  CheckMark(Take(heap, 5 << 20), 0);  // grown anew: zeros
}

TEST(trimming_gives_scattered_pieces_back_page_by_page_and_keeps_the_largest) {
  ExtentHeap heap(kPage, 16 << 20, 16 << 20);
  std::vector<Extent*> kept, holes;
  for (int i = 0; i < 10; ++i) {
    kept.push_back(Take(heap, 300 * kPage));
    holes.push_back(Take(heap, (20 + i) * kPage));
    Mark(kept.back(), static_cast<uint8_t>(i)), Mark(holes.back(), 99);
  }
  std::vector<std::byte*> places;
  for (Extent* hole : holes) places.push_back(hole->data), heap.Give(hole);
  const auto resident = [&](size_t hole) {
    unsigned char in[64];
    CHECK(mincore(places[hole], (20 + hole) * kPage, in) == 0);
    return std::count_if(in, in + 20 + hole, [](unsigned char page) { return page & 1; });
  };
  CHECK(resident(0) == 20 && resident(9) == 29);
  CHECK(heap.Trim(0.9) == 0);  // the largest is a tenth and more
  CHECK(heap.Trim(0.5) == (20 + 21 + 22 + 23 + 24 + 25 + 26 + 27) * kPage);
  CHECK(heap.Stats().cached == (28 + 29) * kPage && heap.Stats().largest_free == 29 * kPage);
  CHECK(resident(0) == 0 && resident(7) == 0 && resident(8) == 28 && resident(9) == 29);
  for (size_t i = 0; i < kept.size(); ++i) CheckMark(kept[i], static_cast<uint8_t>(i));
  // What was given back is taken again, cold.
  bool warm = true;
  Extent* again = heap.Take(20 * kPage, warm);
  CHECK(again->data == places[0] && !warm);
  Mark(again, 5), CheckMark(again, 5);
}
