#include "cpu/ops/tile_program.h"

#include <algorithm>
#include <cstring>

#include "cpu/ops/binary.h"
#include "cpu/ops/unary.h"
#include "ops/element_program.h"

namespace ziggurat::cpu {
namespace {

// Turns instructions into functions whose operands are values: inputs, results, constants; then values into places.
class Builder {
 public:
  Builder(const Node& node, const KernelTable& table)
      : node_(node), table_(table), source_(ReadElementProgram(node)), first_constant_(source_.inputs + Results()) {
    for (const Value* input : node.inputs) types_.push_back(input->type.dtype);
  }

  std::optional<TileProgram> Build() {
    out_.inputs = source_.inputs;
    out_.outputs = static_cast<int>(node_.outputs.size());
    if (out_.inputs + out_.outputs > TileProgram::kMostOperands || !ResultsAreApart()) return std::nullopt;
    out_.is_bound.assign(static_cast<size_t>(out_.inputs), false);
    out_.is_operand.assign(static_cast<size_t>(out_.inputs), false);
    out_.is_spread.assign(static_cast<size_t>(out_.inputs), false);
    for (int i = 0; i < Results(); ++i)
      if (!AddInstruction(source_.instructions[static_cast<size_t>(i)], source_.inputs + i)) return std::nullopt;
    FindWhole();
    FindLifetimes();
    if (!Place()) return std::nullopt;
    ChooseInPlace();
    return std::move(out_);
  }

 private:
  int Results() const { return static_cast<int>(source_.instructions.size()); }

  bool ResultsAreApart() const {
    std::vector<int> results = source_.results;
    std::sort(results.begin(), results.end());
    return std::adjacent_find(results.begin(), results.end()) == results.end();
  }

  int Constant(const void* element, size_t bytes) {
    float slot = 0;
    std::memcpy(&slot, element, bytes);
    out_.constants.push_back(slot);
    return first_constant_ + static_cast<int>(out_.constants.size()) - 1;
  }

  void Add(TileOp op) { out_.ops.push_back(op); }

  bool AddInstruction(const ElementInstruction& instruction, int to) {
    Node node;  // the op and its attributes, for those who find functions by a node
    node.op = instruction.op;
    node.attributes = instruction.attributes;
    const auto& from = instruction.operands;
    std::vector<DType> dtypes;
    for (size_t i = 0; i < from.size(); ++i) {
      dtypes.push_back(from[i] < 0 ? DType::kUndefined : types_[static_cast<size_t>(from[i])]);
      const bool bound = IsElementBound(*node.op, i);
      if (bound && from[i] >= source_.inputs) return false;  // a bound that the program computes
      if (from[i] < 0 || from[i] >= source_.inputs) continue;
      (bound ? out_.is_bound : out_.is_operand)[static_cast<size_t>(from[i])] = true;
    }
    const auto dtype = ElementResult(*node.op, dtypes, node.attributes);
    if (!dtype) return false;
    types_.push_back(*dtype);
    TileOp op;
    op.to = to;
    op.result_bytes = static_cast<int>(ByteSize(*dtype));
    if (node.op->Is("Clip")) return AddClip(op, from);
    if (node.op->Is("Cast")) return AddCast(op, from[0], dtypes[0], *dtype);
    if (node.op->Is("Where")) return AddSelect(op, from);
    if (node.op->Is("Not")) return AddNot(op, from[0]);
    if (node.op->Is("SwiGLU")) return AddGate(op, node, from);
    if (const UnaryRun unary = FindUnaryRun(node, table_); unary.run) {
      op.unary = unary.run, op.params = unary.params;
      op.in_place = !unary.to_bool;
      op.is_costly = IsCostly(node);
      return AddUnary(op, from[0]);
    }
    return AddBinary(op, node, from, dtypes[0]);
  }

  static bool IsCostly(const Node& node) {
    for (const char* cheap : {"Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Relu", "LeakyRelu", "ThresholdedRelu",
                              "HardSigmoid", "HardSwish", "Shrink", "IsNaN", "IsInf"})
      if (node.op->Is(cheap)) return false;
    return true;
  }

  void Spread(int value) {
    if (value < source_.inputs) out_.is_spread[static_cast<size_t>(value)] = true;
  }

  bool AddUnary(TileOp op, int x) {
    op.from[0] = x;
    Spread(x);
    Add(op);
    return true;
  }

  bool AddClip(TileOp op, const std::vector<int>& from) {
    op.kind = TileOp::Kind::kClip;
    op.unary = table_.vector->elementwise.unary(UnaryOp::kClip);
    op.in_place = true;
    std::copy(from.begin(), from.end(), op.from.begin());
    Spread(from[0]);
    Add(op);
    return true;
  }

  bool AddCast(TileOp op, int x, DType from, DType to) {
    op.kind = TileOp::Kind::kCast;
    op.cast = table_.vector->cast.find(from, to);
    op.from[0] = x;
    Spread(x);
    Add(op);
    return op.cast != nullptr;
  }

  bool AddSelect(TileOp op, const std::vector<int>& from) {
    op.kind = TileOp::Kind::kSelect;
    op.select = table_.vector->elementwise.select(op.result_bytes);
    std::copy(from.begin(), from.end(), op.from.begin());
    Add(op);
    return op.select != nullptr;
  }

  bool AddNot(TileOp op, int x) {
    const bool yes = true;
    op.kind = TileOp::Kind::kBinary;
    op.binary = table_.vector->elementwise.binary(BinaryOp::kXor, DType::kBool);
    op.from = {x, Constant(&yes, sizeof yes), -1};
    op.in_place = true;
    Spread(x);
    Add(op);
    return op.binary != nullptr;
  }

  // SwiGLU: the functions of Swish and Mul one after the other.
  bool AddGate(TileOp op, const Node& node, const std::vector<int>& from) {
    if (node.Float("alpha", 1) != 1) return false;
    op.unary = table_.vector->elementwise.unary(UnaryOp::kSilu);
    op.in_place = op.is_costly = true;
    AddUnary(op, from[0]);
    op.kind = TileOp::Kind::kBinary;
    op.is_costly = false;
    op.binary = table_.vector->elementwise.binary(BinaryOp::kMul, DType::kFloat32);
    op.from = {op.to, from[1], -1};
    Add(op);
    return true;
  }

  // Two operands, or more that are folded from the left.
  bool AddBinary(TileOp op, const Node& node, const std::vector<int>& from, DType dtype) {
    const BinaryRun found = FindBinaryRun(node, table_, dtype);
    op.kind = TileOp::Kind::kBinary;
    op.binary = found.run;
    op.in_place = !found.to_bool;
    op.is_costly = node.op->Is("Div") || node.op->Is("Pow") || node.op->Is("Mod");
    if (!op.binary || from.size() < 2) return false;
    op.from = {from[found.swapped ? 1 : 0], from[found.swapped ? 0 : 1], -1};
    Add(op);
    for (size_t i = 2; i < from.size(); ++i) {
      op.from = {op.to, from[i], -1};
      Add(op);
    }
    if (!node.op->Is("Mean")) return true;
    const float count = static_cast<float>(from.size());
    op.binary = table_.vector->elementwise.binary(BinaryOp::kDiv, DType::kFloat32);
    op.from = {op.to, Constant(&count, sizeof count), -1};
    Add(op);
    return true;
  }

  void FindWhole() {
    for (size_t i = 0; i < types_.size() && i < static_cast<size_t>(out_.inputs); ++i)
      out_.is_whole.push_back(out_.is_operand[i] && !out_.is_bound[i] && node_.inputs[i]->type.HasRank() &&
                              node_.inputs[i]->type.shape == node_.outputs[0]->type.shape);
  }

  void FindLifetimes() {
    const size_t values = static_cast<size_t>(first_constant_) + out_.constants.size();
    first_write_.assign(values, -1);
    last_read_.assign(values, -1);
    for (size_t i = 0; i < out_.ops.size(); ++i) {
      const TileOp& op = out_.ops[i];
      for (int value : op.from)
        if (value >= 0) last_read_[static_cast<size_t>(value)] = static_cast<int>(i);
      int& first = first_write_[static_cast<size_t>(op.to)];
      if (first < 0) first = static_cast<int>(i);
    }
  }

  // Gives each value a place. A register is free again once its value was read last.
  bool Place() {
    const int first_register = out_.inputs + out_.outputs;
    places_.assign(last_read_.size(), -1);
    for (int i = 0; i < out_.inputs; ++i) places_[static_cast<size_t>(i)] = i;
    for (int o = 0; o < out_.outputs; ++o)
      places_[static_cast<size_t>(out_.inputs + source_.results[static_cast<size_t>(o)])] = out_.inputs + o;
    std::vector<int> free;
    for (size_t i = 0; i < out_.ops.size(); ++i) {
      const TileOp& op = out_.ops[i];
      if (op.in_place) Release(op, static_cast<int>(i), free);
      int& to = places_[static_cast<size_t>(op.to)];
      if (to < 0) {
        if (free.empty()) free.push_back(first_register + out_.registers++);
        to = free.back();
        free.pop_back();
      }
      if (!op.in_place) Release(op, static_cast<int>(i), free);
    }
    if (out_.registers > TileProgram::kMostRegisters) return false;
    for (size_t c = 0; c < out_.constants.size(); ++c)
      places_[static_cast<size_t>(first_constant_) + c] = first_register + out_.registers + static_cast<int>(c);
    for (TileOp& op : out_.ops) {
      for (int& value : op.from)
        if (value >= 0) value = places_[static_cast<size_t>(value)];
      op.to = places_[static_cast<size_t>(op.to)];
    }
    return true;
  }

  void Release(const TileOp& op, int index, std::vector<int>& free) const {
    for (size_t i = 0; i < op.from.size(); ++i) {
      const int value = op.from[i];
      if (value < 0 || value == op.to || last_read_[static_cast<size_t>(value)] != index) continue;
      if (std::find(op.from.begin(), op.from.begin() + static_cast<int>(i), value) !=
          op.from.begin() + static_cast<int>(i))
        continue;  // read twice, free once
      const int place = places_[static_cast<size_t>(value)];
      const bool is_register = place >= out_.inputs + out_.outputs && value < first_constant_;
      if (is_register) free.push_back(place);
    }
  }

  // An output may write over an input of its type that no function reads after it.
  void ChooseInPlace() {
    std::vector<bool> taken(static_cast<size_t>(out_.inputs), false);
    for (int o = 0; o < out_.outputs; ++o) {
      const Value& output = *node_.outputs[static_cast<size_t>(o)];
      out_.output_bytes.push_back(static_cast<int>(ByteSize(output.type.dtype)));
      const int written = first_write_[static_cast<size_t>(out_.inputs + source_.results[static_cast<size_t>(o)])];
      int best = -1;
      for (int i = 0; i < out_.inputs; ++i) {
        const Value& input = *node_.inputs[static_cast<size_t>(i)];
        const int read = last_read_[static_cast<size_t>(i)];
        const bool in_time = read < written || (read == written && out_.ops[static_cast<size_t>(written)].in_place);
        if (taken[static_cast<size_t>(i)] || !in_time || !(input.type == output.type) || !input.producer) continue;
        // One that nobody else reads is likely to be at its end here.
        if (best < 0 || (input.users.size() == 1 && !input.graph_output_uses)) best = i;
      }
      if (best >= 0) taken[static_cast<size_t>(best)] = true;
      out_.in_place.push_back(best);
    }
  }

  const Node& node_;
  const KernelTable& table_;
  const ElementProgram source_;
  const int first_constant_;
  TileProgram out_;
  std::vector<DType> types_;                           // of inputs and results
  std::vector<int> first_write_, last_read_, places_;  // of each value
};

}  // namespace

int64_t TileProgram::Cost() const {
  int64_t cost = 0;
  for (const TileOp& op : ops) cost += op.is_costly ? 4 : 1;
  return cost;
}

std::optional<TileProgram> MakeTileProgram(const Node& node, const KernelTable& table) {
  for (const Value* output : node.outputs)
    if (!output) return std::nullopt;
  return Builder(node, table).Build();
}

}  // namespace ziggurat::cpu
