#include "runtime/layout.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "ops/infer.h"

namespace ziggurat {
namespace {

constexpr size_t kAlignment = 64;

// Places items in the given order, each in the lowest gap among the placed ones that live at the same time.
size_t PlaceInOrder(const std::vector<LifetimeItem>& items, const std::vector<int>& order,
                    std::vector<size_t>& offsets) {
  offsets.assign(items.size(), 0);
  std::vector<int> placed;  // by offset
  size_t total = 0;
  for (int index : order) {
    const LifetimeItem& item = items[index];
    const size_t bytes = (item.bytes + kAlignment - 1) / kAlignment * kAlignment;
    size_t start = 0;
    for (int other : placed) {
      if (items[other].last < item.first || item.last < items[other].first) continue;
      if (start + bytes <= offsets[other]) break;
      start = std::max(start, offsets[other] + (items[other].bytes + kAlignment - 1) / kAlignment * kAlignment);
    }
    offsets[index] = start;
    total = std::max(total, start + bytes);
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), index, [&](int a, int b) { return offsets[a] < offsets[b]; }),
        index);
  }
  return total;
}

}  // namespace

size_t AssignOffsets(const std::vector<LifetimeItem>& items, std::vector<size_t>& offsets) {
  std::vector<int> order(items.size());
  std::iota(order.begin(), order.end(), 0);
  size_t best = ~size_t{0};
  auto attempt = [&](auto before) {
    std::vector<int> sorted = order;
    std::stable_sort(sorted.begin(), sorted.end(), [&](int a, int b) { return before(items[a], items[b]); });
    std::vector<size_t> candidate;
    const size_t total = PlaceInOrder(items, sorted, candidate);
    if (total < best) best = total, offsets = std::move(candidate);
  };
  attempt([](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  attempt([](const auto& a, const auto& b) { return a.first < b.first; });
  attempt([](const auto& a, const auto& b) { return a.last - a.first > b.last - b.first; });
  attempt([](const auto& a, const auto& b) {  // by area: large and long first
    return static_cast<double>(a.bytes) * (a.last - a.first + 1) >
           static_cast<double>(b.bytes) * (b.last - b.first + 1);
  });
  return best == ~size_t{0} ? 0 : best;
}

int64_t BucketBound(int64_t dim) {
  if (dim <= 8) return dim;
  const int64_t step = int64_t{1} << (std::bit_width(static_cast<uint64_t>(dim - 1)) - 3);
  return (dim + step - 1) / step * step;
}

std::shared_ptr<const Layout> LayoutCache::Get(const std::vector<int64_t>& symbols) {
  {
    std::lock_guard lock(mutex_);
    for (size_t i = 0; i < recent_.size(); ++i)
      if (recent_[i]->symbols == symbols) {
        if (i) std::rotate(recent_.begin(), recent_.begin() + i, recent_.begin() + i + 1);
        return recent_.front();
      }
  }
  std::shared_ptr<const Layout> layout = Make(symbols);
  std::lock_guard lock(mutex_);
  recent_.insert(recent_.begin(), layout);
  if (recent_.size() > kMaxLayouts) recent_.pop_back();
  return layout;
}

std::shared_ptr<Layout> LayoutCache::Make(const std::vector<int64_t>& symbols) const {
  auto layout = std::make_shared<Layout>();
  layout->symbols = symbols;
  for (const Slot& slot : plan_.slots) {
    TensorView view;
    view.dtype = slot.value->type.dtype;
    if (slot.is_static && slot.value->type.shape)
      for (const Dim& dim : *slot.value->type.shape) {
        const int64_t extent = dim.Eval(symbols);
        if (extent < 0)
          throw Error(Code::kInvalidArgument, "the inputs' shapes give it the dimension ", extent, " (",
                      plan_.scope->ToString(dim), ")")
              .AtTensor(slot.value->name);
        view.shape.push_back(extent);
      }
    if (view.shape.Count() > int64_t{1} << 56)
      throw Error(Code::kOutOfMemory, "shape ", view.shape, " is beyond any memory").AtTensor(slot.value->name);
    layout->views.push_back(std::move(view));
  }
  CheckShapes(*layout);
  PlaceViews(*layout);
  PlaceSlab(*layout);
  SizeScratch(*layout);
  return layout;
}

void LayoutCache::PlaceViews(Layout& layout) const {
  layout.view_offsets.assign(plan_.slots.size(), 0);
  for (size_t i = 0; i < plan_.slots.size(); ++i)
    for (size_t at = i; plan_.slots[at].storage == Storage::kView; at = static_cast<size_t>(plan_.slots[at].view_of)) {
      const Slot& slot = plan_.slots[at];
      if (slot.piece == Piece::kAll) continue;
      const Shape& shape = layout.views[at].shape;
      layout.view_offsets[i] +=
          static_cast<size_t>(slot.start * shape.Count(slot.axis + 1, shape.rank())) * ByteSize(slot.value->type.dtype);
    }
}

// Type inference once more, on the numbers: finds extents that symbols alone could not tell to clash, so that kernels
// see only shapes that fit together.
void LayoutCache::CheckShapes(const Layout& layout) const {
  for (const Step& step : plan_.steps) {
    if (step.kind != Step::Kind::kKernel || !step.is_static || step.has_objects) continue;
    std::vector<TensorView> inputs;
    bool known = true;
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      const int slot = step.inputs[i];
      if (slot < 0) {
        inputs.push_back({});
        continue;
      }
      known &= plan_.slots[slot].is_static;
      inputs.push_back(layout.views[slot]);
      if (plan_.slots[slot].device == 0) inputs.back().data = plan_.slots[slot].constant_data;
    }
    if (!known) continue;  // a dynamic input: the executor checks when it is there
    InferContext context(*step.node, inputs);
    try {
      step.node->op->infer(context);
    } catch (Error& error) {
      throw error.AtNode(step.node->op->name, step.node->name);
    }
    for (size_t o = 0; o < step.outputs.size(); ++o) {
      if (step.outputs[o] < 0 || o >= context.output_types.size()) continue;
      const Type& type = context.output_types[o];
      if (context.kernel_sets_shape || !type.IsTensor() || !type.IsStatic()) continue;
      if (!(type.StaticShape() == layout.views[step.outputs[o]].shape))
        throw Error(Code::kInvalidArgument, "output ", o, " has shape ", type.StaticShape(),
                    " where the graph promised ", layout.views[step.outputs[o]].shape)
            .AtNode(step.node->op->name, step.node->name);
    }
  }
}

// A placement made before in which every slot has room, and that does not waste more than three quarters.
std::shared_ptr<const SlabPlacement> LayoutCache::FindPlacement(const Layout& layout) const {
  std::vector<size_t> needed(plan_.slots.size(), 0);
  size_t total = 0;
  for (size_t i = 0; i < plan_.slots.size(); ++i)
    if (plan_.slots[i].storage == Storage::kSlab) total += needed[i] = layout.views[i].Bytes();
  std::lock_guard lock(mutex_);
  for (size_t p = 0; p < placements_.size(); ++p) {
    const auto placement = placements_[p];
    if (placement->total_room / 4 > total) continue;
    bool fits = true;
    for (size_t i = 0; i < needed.size() && fits; ++i) fits = needed[i] <= placement->room[i];
    if (!fits) continue;
    std::rotate(placements_.begin(), placements_.begin() + p, placements_.begin() + p + 1);
    return placement;
  }
  return nullptr;
}

void LayoutCache::PlaceSlab(Layout& layout) const {
  std::shared_ptr<const SlabPlacement> placement = FindPlacement(layout);
  if (!placement) {
    placement = std::make_shared<const SlabPlacement>(Place(layout));
    std::lock_guard lock(mutex_);
    placements_.insert(placements_.begin(), placement);
    if (placements_.size() > kMaxPlacements) placements_.pop_back();
  }
  layout.offsets = placement->offsets;
  layout.slab_bytes = placement->slab_bytes;
  layout.branches = placement->branches;
}

SlabPlacement LayoutCache::Place(const Layout& layout) const {
  std::vector<int64_t> bounds = layout.symbols;
  for (int64_t& bound : bounds) bound = BucketBound(bound);
  SlabPlacement placement;
  placement.room.assign(plan_.slots.size(), 0);
  placement.offsets.assign(plan_.slots.size(), 0);
  placement.slab_bytes.assign(plan_.devices.size(), 0);
  if (side_by_side_) placement.branches = FindBranches(plan_, layout.views, workers_);
  for (size_t device = 0; device < plan_.devices.size(); ++device) {
    std::vector<LifetimeItem> items;
    std::vector<int> owners;
    for (size_t i = 0; i < plan_.slots.size(); ++i) {
      const Slot& slot = plan_.slots[i];
      if (slot.storage != Storage::kSlab || slot.device != static_cast<int>(device)) continue;
      size_t bytes = layout.views[i].Bytes();
      try {
        int64_t count = 1;
        for (const Dim& dim : *slot.value->type.shape)
          if (__builtin_mul_overflow(count, std::max<int64_t>(0, dim.Eval(bounds)), &count)) count = 0;
        bytes = std::max(bytes, static_cast<size_t>(count) * ByteSize(slot.value->type.dtype));
      } catch (const Error&) {
        // The bound's own arithmetic fails (a division that is exact only for real shapes): the exact size holds.
      }
      placement.total_room += placement.room[i] = bytes;
      LifetimeItem item{bytes, slot.first_step, slot.last_step};
      for (const Branches& branches : placement.branches) {
        if (branches.first <= item.first && item.first < branches.last) item.first = branches.first;
        if (branches.first <= item.last && item.last < branches.last) item.last = branches.last - 1;
      }
      items.push_back(item);
      owners.push_back(static_cast<int>(i));
    }
    std::vector<size_t> offsets;
    placement.slab_bytes[device] = AssignOffsets(items, offsets);
    for (size_t i = 0; i < owners.size(); ++i) placement.offsets[owners[i]] = offsets[i];
  }
  return placement;
}

void LayoutCache::SizeScratch(Layout& layout) const {
  layout.scratch_bytes.assign(plan_.devices.size(), 0);
  std::vector<TensorView> inputs, outputs;
  for (const Step& step : plan_.steps) {
    if (step.kind != Step::Kind::kKernel || !step.is_static) continue;
    inputs.clear(), outputs.clear();
    bool known = true;
    for (int slot : step.inputs) {
      inputs.push_back(slot < 0 ? TensorView{} : layout.views[slot]);
      known &= slot < 0 || plan_.slots[slot].is_static;
    }
    for (int slot : step.outputs) outputs.push_back(slot < 0 ? TensorView{} : layout.views[slot]);
    if (!known) continue;  // the executor asks when the shapes are there
    size_t& most = layout.scratch_bytes[step.device];
    most = std::max(most, step.kernel->ScratchBytes(inputs, outputs, workers_));
  }
  SizeBranches(layout);
}

// Each branch has scratch of its own, for one worker.
void LayoutCache::SizeBranches(Layout& layout) const {
  std::vector<TensorView> inputs, outputs;
  for (Branches& branches : layout.branches) {
    size_t total = 0;
    for (const auto& list : branches.lists) {
      branches.scratch.push_back(total);
      size_t most = 0;
      for (int index : list) {
        const Step& step = plan_.steps[index];
        inputs.clear(), outputs.clear();
        for (int slot : step.inputs) inputs.push_back(slot < 0 ? TensorView{} : layout.views[slot]);
        for (int slot : step.outputs) outputs.push_back(slot < 0 ? TensorView{} : layout.views[slot]);
        most = std::max(most, step.kernel->ScratchBytes(inputs, outputs, 1));
      }
      total += (most + kAlignment - 1) / kAlignment * kAlignment;
    }
    layout.scratch_bytes[0] = std::max(layout.scratch_bytes[0], total);
  }
}

}  // namespace ziggurat
