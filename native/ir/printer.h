// Writes a graph as text that ParseGraph (ir/parser.h) reads back.
#pragma once

#include <string>

#include "ir/graph.h"

namespace ziggurat {

struct PrintOptions {
  // Constants with more elements are named by a hash of their contents.
  int64_t max_inline = 16;
  // Values numbered in the order of their definition instead of their names; no node names, no table of symbols.
  // Two graphs that differ in nothing else print the same.
  bool canonical = false;
};

std::string PrintGraph(const Graph& graph, const PrintOptions& options = {});

// One type as it stands in the text.
std::string PrintType(const Graph& graph, const Type& type);

// One node as it stands in the text, subgraphs included.
std::string PrintNode(const Node& node);

}  // namespace ziggurat
