// Proves that rows along a symbolic dimension do not see one another, so that requests may share a batch.
//
// For every value the proof keeps where its rows lie: along one axis, each row a block of adjacent places (after
// [b,s,8] was reshaped to [b*s,8], a row of b is s places long). What is not proved is refused: an op without a rule,
// a rank that is not known, a shape whose other dimensions depend on the number of rows.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"

namespace ziggurat {

struct RowProof {
  bool independent = false;
  std::string reason;  // where not: the first node that mixes rows, or the output that has none
  // By graph input and output: the axis of the rows; -1: the same for all rows (inputs only, where independent).
  std::vector<int> input_axes, output_axes;
};

// Of the outermost graph `graph`, along `symbol`.
RowProof ProveRowsIndependent(const Graph& graph, SymbolId symbol);

// The symbol of axis 0 of the first input that has one there; -1: none. What a batcher would batch along.
SymbolId BatchSymbol(const Graph& graph);

}  // namespace ziggurat
