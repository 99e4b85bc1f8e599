// One step of the proof of batch_dim.h: where the rows of a node's outputs lie, given where its inputs' do.
#pragma once

#include <functional>
#include <string>

#include "ir/graph.h"

namespace ziggurat {

struct Rows {
  enum class Kind : uint8_t {
    kShared,  // depends on no row and not on their number
    kSized,   // depends on the number of rows only: shape arithmetic
    kRows,    // along `axis`, `block` places a row
    kMixed,   // anything else
  };
  Kind kind = Kind::kMixed;
  int axis = -1;
  Dim block = 1;

  static Rows Shared() { return {Kind::kShared}; }
  static Rows Sized() { return {Kind::kSized}; }
  static Rows Mixed() { return {Kind::kMixed}; }
  static Rows Along(int axis, Dim block) { return {Kind::kRows, axis, std::move(block)}; }
  bool IsRows() const { return kind == Kind::kRows; }
  bool IsShared() const { return kind == Kind::kShared; }
};

// `dim` / `symbol` where dim is that symbol times something free of it; nullopt otherwise.
std::optional<Dim> BlockOf(const Dim& dim, SymbolId symbol);
bool Mentions(const Dim& dim, SymbolId symbol);
bool Mentions(const Type& type, SymbolId symbol);

using RowsOf = std::function<Rows(const Value*)>;

// The rows of output `output`, before its type is looked at (the caller checks that type and rows agree).
Rows RowsAfter(const Node& node, int output, SymbolId symbol, const RowsOf& rows_of);

}  // namespace ziggurat
