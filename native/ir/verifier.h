// What must hold for every graph, whoever built or rewrote it.
#pragma once

#include "base/error.h"
#include "ir/graph.h"

namespace ziggurat {

struct VerifyOptions {
  // The error's code: kInternal after a rewrite of ours, kInvalidModel for a graph that came from outside.
  Code code = Code::kInternal;
  // Infers every node's types again and compares: as costly as building the graph.
  bool types = true;
};

// Checks the outermost graph `graph` and its subgraphs: values and nodes belong to their graph; names are unique;
// a value is defined before it is used, in this graph or an enclosing one; users and producers agree; nodes match
// their op's signature; types agree with inference; a resource version has one writer at most, after its readers.
// Throws naming the node or value.
void Verify(const Graph& graph, const VerifyOptions& options = {});

// True if the two types can describe one value: nothing that both know differs.
bool Agree(const Type& a, const Type& b);

}  // namespace ziggurat
