// A zig.Elementwise as the CPU runs it: functions of the element-wise kernels, one after the other, on a tile of
// elements that stays in the first-level cache.
//
// What a function reads and writes is a place: an input, an output, a register (a tile of its own) or a constant of one
// element. Places are numbered in this order.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "cpu/kernel_table.h"
#include "ir/graph.h"

namespace ziggurat::cpu {

struct TileOp {
  enum class Kind : uint8_t { kUnary, kClip, kBinary, kSelect, kCast };
  Kind kind = Kind::kUnary;
  UnaryFn unary = nullptr;  // kClip: with the bounds that stand at from[1] and from[2], -1: none
  BinaryFn binary = nullptr;
  SelectFn select = nullptr;
  CastFn cast = nullptr;
  ElementParams params;
  std::array<int, 3> from = {-1, -1, -1};
  int to = -1;
  int result_bytes = 4;    // an element
  bool in_place = false;   // `to` may be what it reads
  bool is_costly = false;  // some 20 instructions an element
};

struct TileProgram {
  static constexpr int kMostRegisters = 64;
  static constexpr int kMostOperands = 48;  // inputs and outputs

  int inputs = 0, outputs = 0, registers = 0;
  std::vector<TileOp> ops;
  std::vector<float> constants;   // as bytes: a bool is the first of four
  std::vector<bool> is_bound;     // of each input: a scalar beside the elements, somewhere
  std::vector<bool> is_operand;   // of each input: broadcasts to the elements, somewhere
  std::vector<bool> is_spread;    // of each input: a function wants one element of it for each of the result
  std::vector<bool> is_whole;     // of each input: only an operand, and of the results' shape
  std::vector<int> in_place;      // of each output: the input whose memory it may take over, or -1
  std::vector<int> output_bytes;  // of an element of each output

  int places() const { return inputs + outputs + registers + static_cast<int>(constants.size()); }
  // In elements' worth of an addition.
  int64_t Cost() const;
};

// nullopt where the node's program has a function that no kernel computes, or is too wide.
std::optional<TileProgram> MakeTileProgram(const Node& node, const KernelTable& table);

}  // namespace ziggurat::cpu
