// A plan: what running a graph takes, decided at load. Slots hold values, steps compute them in order.
//
// Immutable once made and shared by all runs. What depends on the inputs' shapes is a Layout (layout.h), made once
// for each shape; what one run changes is a Frame (frame.h).
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "device/device.h"
#include "ir/graph.h"
#include "runtime/kernel_site.h"

namespace ziggurat {

enum class Storage : uint8_t {
  kInput,     // the caller's memory, or in a sub-plan the parent's
  kConstant,  // the model's memory
  kCapture,   // sub-plans: a slot of the parent
  kSlab,      // at an offset of the run's slab: the shape follows from the inputs' shapes
  kOutput,    // a block of its own, handed to the caller
  kDynamic,   // taken and sized while running
  kView,      // the bytes of another slot
  kObject,    // not a tensor
};

// What a view shows of the other slot.
enum class Piece : uint8_t {
  kAll,      // all elements
  kRows,     // one range of them
  kColumns,  // a range of each row along the last axis, so that its rows lie apart
};

struct Slot {
  const Value* value = nullptr;
  Storage storage = Storage::kDynamic;
  int device = 0;             // index into Plan::devices; 0 is the CPU
  int view_of = -1;           // kView: the slot whose bytes these are; kCapture: the parent's slot
  Piece piece = Piece::kAll;  // kView; but for kAll what begins at index `start` of `axis`
  int axis = 0;
  int64_t start = 0;
  bool is_static = false;  // the shape is an expression over the inputs' dimensions
  int graph_output = -1;   // kOutput and kDynamic: the output that takes over this memory
  // The steps between which the bytes must stay; of a root, views included.
  int first_step = -1, last_step = -1;
  std::byte* constant_data = nullptr;  // kConstant, where a step reads it
};

class Plan;

struct Step {
  enum class Kind : uint8_t { kKernel, kView, kCopy, kIf, kLoop, kScan };
  Kind kind = Kind::kKernel;
  const Node* node = nullptr;  // kCopy: the node that the copy is made for
  std::unique_ptr<Kernel> kernel;
  int device = 0;                               // whose stream it goes to
  std::vector<int> inputs, outputs;             // slots; -1: absent
  int io = 0;                                   // first of this step's entries in Frame::io
  bool is_static = true;                        // all outputs are
  bool checks = false;                          // an input's shape is known only now: inference checks it
  bool has_objects = false;                     // some input or output is not a tensor
  bool waits = false;                           // the host must see the outputs before it goes on
  std::vector<std::unique_ptr<Plan>> subplans;  // kIf: then, else; kLoop, kScan: body
};

class Plan {
 public:
  ~Plan();
  std::shared_ptr<Graph> graph;  // keeps nodes and values alive; of sub-plans null
  const Graph* scope = nullptr;
  std::vector<Device*> devices;  // [0] is the CPU
  std::vector<Slot> slots;
  std::vector<Step> steps;
  std::vector<int> inputs;           // slot of each graph input
  std::vector<int> outputs;          // slot of each graph output
  std::set<SymbolId> input_symbols;  // those that the inputs' dimensions bind; of sub-plans empty
  int io_count = 0;                  // entries of Frame::io
  size_t weight_bytes = 0;           // constants kept as they are, sub-plans included
  size_t largest_constant = 0;       // of the graph, sub-plans included
  int fallback_steps = 0;            // steps whose kernel is not on the wanted device, sub-plans included
  struct DeviceBlock {
    Device* device;
    std::byte* data;
    size_t bytes;
  };
  std::vector<DeviceBlock> device_constants;

  // The slot whose memory `slot` lies in.
  int Root(int slot) const {
    while (slots[slot].storage == Storage::kView) slot = slots[slot].view_of;
    return slot;
  }
  // True where a slot shows all of the memory that it lies in.
  bool IsWhole(int slot) const {
    for (; slots[slot].storage == Storage::kView; slot = slots[slot].view_of)
      if (slots[slot].piece != Piece::kAll) return false;
    return true;
  }
  // True where a slot's rows do not lie one after the other.
  bool LiesApart(int slot) const {
    return slots[slot].storage == Storage::kView && slots[slot].piece == Piece::kColumns;
  }
  // Where a slot's bytes are, in words: "slab", "in place", "columns of %x".
  std::string PlaceOf(int slot) const;
  // One line a step: outputs, op, kernel, device, where the outputs lie.
  std::string ToString() const;
  // A hash over everything that decides numerics: graph, kernels, instruction set. Hexadecimal.
  std::string Fingerprint() const;
};

struct PlanOptions {
  Device* cpu = nullptr;
  Device* device = nullptr;  // the wanted one
  WeightStore* weights = nullptr;
  bool keep_constants = false;              // those that no step reads, too
  std::shared_ptr<RunGate> gate = nullptr;  // the model's
  PackedSizes* packed = nullptr;            // not null: what is packed is noted here
  bool measure = false;                     // nothing is packed: the plan tells sizes and cannot run
};

// Lowers `graph` in place (ops without a kernel are expanded) and plans it. Throws kUnsupported naming the ops that no
// device of the plan can run.
std::unique_ptr<Plan> MakePlan(std::shared_ptr<Graph> graph, const PlanOptions& options);

}  // namespace ziggurat
