#include "runtime/parts.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "device/apart.h"
#include "ops/infer.h"
#include "runtime/plan.h"

namespace ziggurat {
namespace {

// What a Split or Slice cuts its input into: slots, and where along the axis they begin.
struct Cuts {
  int axis = -1;
  std::vector<std::pair<int, int64_t>> parts;
};

class Placer {
 public:
  explicit Placer(Plan& plan)
      : plan_(plan), reads_(plan.slots.size()), bound_(plan.slots.size(), 0), writers_(plan.slots.size(), nullptr) {
    for (const Step& step : plan_.steps) Note(step);
    for (const Slot& slot : plan_.slots)
      if (slot.view_of >= 0 && slot.storage == Storage::kView) bound_[slot.view_of] = 1;
    for (const int slot : plan_.outputs) bound_[slot] = 1;
  }

  // Cuts first: a Concat may then take what all parts were cut of as a whole.
  void Run() {
    for (const Step& step : plan_.steps)
      if (IsPlain(step)) Cut(step);
    for (const Step& step : plan_.steps)
      if (IsPlain(step) && step.node->op->Is("Concat")) Join(step);
    for (Step& step : plan_.steps)
      if (step.kernel) SetPitches(step);
  }

 private:
  struct Read {
    const Step* step;
    int input;
  };

  void Note(const Step& step) {
    for (size_t i = 0; i < step.inputs.size(); ++i)
      if (step.inputs[i] >= 0) reads_[step.inputs[i]].push_back({&step, static_cast<int>(i)});
    for (const int slot : step.outputs)
      if (slot >= 0) writers_[slot] = &step;
    for (const auto& subplan : step.subplans)
      for (const Slot& inner : subplan->slots)
        if (inner.view_of >= 0 && inner.storage != Storage::kView) bound_[inner.view_of] = 1;
  }

  static bool IsPlain(const Step& step) {
    return step.kind == Step::Kind::kKernel && step.is_static && step.device == 0 && !step.has_objects;
  }

  const std::vector<Dim>& DimsOf(int slot) const { return *plan_.slots[slot].value->type.shape; }
  // -1: not known before there is an input.
  int64_t Extent(int slot, int axis) const {
    const Dim& dim = DimsOf(slot)[static_cast<size_t>(axis)];
    return dim.IsConst() ? dim.Const() : -1;
  }

  // How parts along `axis` lie in `whole`; kAll: scattered.
  Piece PieceAlong(int whole, int axis) const {
    const std::vector<Dim>& dims = DimsOf(whole);
    const auto one = [](const Dim& dim) { return dim.IsConst(1); };
    if (std::all_of(dims.begin(), dims.begin() + axis, one)) return Piece::kRows;
    return axis + 1 == static_cast<int>(dims.size()) && Extent(whole, axis) > 0 ? Piece::kColumns : Piece::kAll;
  }

  bool IsMovable(int slot) const {
    const Slot& s = plan_.slots[slot];
    return s.storage == Storage::kSlab && s.device == 0 && s.is_static && s.value->type.shape &&
           ByteSize(s.value->type.dtype) > 0;
  }

  // True where all that look at the slot can do so row by row.
  bool IsReadApart(int slot) const {
    if (bound_[slot]) return false;
    return std::all_of(reads_[slot].begin(), reads_[slot].end(), [](const Read& read) {
      const auto* kernel = dynamic_cast<const ReadsApart*>(read.step->kernel.get());
      return kernel && read.step->device == 0 && kernel->TakesApart(read.input);
    });
  }

  bool IsWrittenApart(int slot) const {
    const auto* kernel = writers_[slot] ? dynamic_cast<const WritesApart*>(writers_[slot]->kernel.get()) : nullptr;
    return kernel && kernel->GivesApart();
  }

  // True where a step may write its result into another tensor, as `piece` of it.
  bool MayMove(int slot, Piece piece) const {
    if (!IsMovable(slot) || !writers_[slot]) return false;
    if (piece == Piece::kRows) return true;
    return IsWrittenApart(slot) && IsReadApart(slot) &&
           std::all_of(plan_.slots.begin(), plan_.slots.end(), [slot](const Slot& other) {
             return other.storage != Storage::kView || other.view_of != slot || other.piece == Piece::kColumns;
           });
  }

  void Place(int slot, int whole, Piece piece, int axis, int64_t start) {
    Slot& part = plan_.slots[slot];
    part.storage = Storage::kView;
    part.view_of = whole;
    part.piece = piece;
    part.axis = axis;
    part.start = start;
    Slot& root = plan_.slots[plan_.Root(whole)];
    root.first_step = std::min(root.first_step, part.first_step);
    root.last_step = std::max(root.last_step, part.last_step);
  }

  // ---- Split and Slice ----

  void Cut(const Step& step) {
    if (step.inputs.empty() || step.inputs[0] < 0) return;
    const int whole = step.inputs[0];
    const Slot& source = plan_.slots[whole];
    if (!source.is_static || source.device != 0 || !source.value->type.shape) return;
    Cuts cuts = CutsOf(step);
    if (cuts.axis < 0) return;
    const Piece piece = PieceAlong(whole, cuts.axis);
    if (piece == Piece::kAll || (piece == Piece::kRows && plan_.LiesApart(whole))) return;
    std::erase_if(cuts.parts, [&](const auto& part) {
      return !IsMovable(part.first) || (piece == Piece::kColumns && !IsReadApart(part.first));
    });
    DropLateFew(cuts, whole);
    for (const auto& [slot, start] : cuts.parts) Place(slot, whole, piece, cuts.axis, start);
  }

  // Little that is read long after the rest must not keep all of it.
  void DropLateFew(Cuts& cuts, int whole) const {
    const int last = plan_.slots[plan_.Root(whole)].last_step;
    const auto is_late = [&](const auto& part) { return plan_.slots[part.first].last_step > last; };
    int64_t late = 0;
    for (const auto& part : cuts.parts) late += is_late(part) ? Extent(part.first, cuts.axis) : 0;
    if (4 * late < Extent(whole, cuts.axis)) std::erase_if(cuts.parts, is_late);
  }

  Cuts CutsOf(const Step& step) const {
    if (step.node->op->Is("Slice")) return SliceOf(step);
    if (!step.node->op->Is("Split")) return {};
    const int rank = static_cast<int>(DimsOf(step.inputs[0]).size());
    const auto axis = static_cast<int>(step.node->Int("axis", 0));
    Cuts cuts{axis < 0 ? axis + rank : axis, {}};
    int64_t start = 0;
    for (const int slot : step.outputs) {
      const int64_t extent = Extent(slot, cuts.axis);
      if (extent < 0) return {};
      cuts.parts.emplace_back(slot, start);
      start += extent;
    }
    return cuts;
  }

  // A Slice with steps of 1 that shortens one axis.
  Cuts SliceOf(const Step& step) const {
    const int whole = step.inputs[0], part = step.outputs[0];
    const int rank = static_cast<int>(DimsOf(whole).size());
    Cuts cuts;
    for (int axis = 0; axis < rank; ++axis) {
      if (DimsOf(whole)[static_cast<size_t>(axis)] == DimsOf(part)[static_cast<size_t>(axis)]) continue;
      if (cuts.axis >= 0 || Extent(whole, axis) < 0 || Extent(part, axis) < 0) return {};
      cuts.axis = axis;
    }
    const InferContext constants(*step.node);
    const auto starts = constants.Ints(1), axes = constants.Ints(3), steps = constants.Ints(4);
    if (cuts.axis < 0 || !starts || (step.node->Input(3) && !axes) || (step.node->Input(4) && !steps)) return {};
    for (size_t i = 0; i < starts->size(); ++i) {
      if (steps && (*steps)[i] != 1) return {};
      const int64_t axis = axes ? (*axes)[i] : static_cast<int64_t>(i);
      if ((axis < 0 ? axis + rank : axis) != cuts.axis) continue;
      const int64_t extent = Extent(whole, cuts.axis), start = (*starts)[i];
      cuts.parts = {{part, std::clamp<int64_t>(start < 0 ? start + extent : start, 0, extent)}};
    }
    return cuts;
  }

  // ---- Concat ----

  void Join(const Step& step) {
    const int whole = step.outputs[0];
    const Slot& joined = plan_.slots[whole];
    if (joined.device != 0 || (joined.storage != Storage::kSlab && joined.storage != Storage::kOutput)) return;
    const int rank = static_cast<int>(DimsOf(whole).size());
    const auto given = static_cast<int>(step.node->Int("axis", 0));
    const int axis = given < 0 ? given + rank : given;
    const Piece piece = PieceAlong(whole, axis);
    if (piece == Piece::kAll) return;
    int64_t start = 0;
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      const int part = step.inputs[i];
      const int64_t extent = part >= 0 && plan_.slots[part].value->type.shape ? Extent(part, axis) : -1;
      if (extent < 0) return;
      const int moved = MayMove(part, piece) ? part : WholeCutFrom(step, i, piece);
      if (moved >= 0) Place(moved, whole, piece, axis, start);
      start += extent;
    }
  }

  // The slot that a Concat's inputs from `first` on are all of, in order; -1: none, or it cannot move.
  int WholeCutFrom(const Step& concat, size_t first, Piece piece) const {
    const Slot& part = plan_.slots[concat.inputs[first]];
    if (part.storage != Storage::kView || part.piece != piece || part.start != 0) return -1;
    const int whole = part.view_of;
    if (whole == concat.outputs[0] || !MayMove(whole, piece)) return -1;
    int64_t covered = 0;
    for (size_t i = first; i < concat.inputs.size() && covered < Extent(whole, part.axis); ++i) {
      const Slot& next = plan_.slots[concat.inputs[i]];
      if (next.storage != Storage::kView || next.view_of != whole || next.piece != piece || next.start != covered)
        return -1;
      covered += Extent(concat.inputs[i], part.axis);
    }
    return covered == Extent(whole, part.axis) ? whole : -1;
  }

  void SetPitches(Step& step) const {
    for (size_t i = 0; i < step.inputs.size(); ++i)
      if (step.inputs[i] >= 0 && plan_.LiesApart(step.inputs[i]))
        dynamic_cast<ReadsApart&>(*step.kernel).SetInputPitch(static_cast<int>(i), Pitch(step.inputs[i]));
    for (const int slot : step.outputs)
      if (slot >= 0 && plan_.LiesApart(slot))
        if (auto* kernel = dynamic_cast<WritesApart*>(step.kernel.get())) kernel->SetRowPitch(Pitch(slot));
  }

  // Elements between two rows: the width of the outermost tensor whose columns these are.
  int64_t Pitch(int slot) const {
    while (plan_.slots[slot].storage == Storage::kView && plan_.slots[slot].piece == Piece::kColumns)
      slot = plan_.slots[slot].view_of;
    return DimsOf(slot).back().Const();
  }

  Plan& plan_;
  std::vector<std::vector<Read>> reads_;  // by slot
  std::vector<char> bound_;               // by slot: something looks at it that wants it in one piece
  std::vector<const Step*> writers_;      // by slot
};

}  // namespace

void PlaceParts(Plan& plan) { Placer(plan).Run(); }

}  // namespace ziggurat
