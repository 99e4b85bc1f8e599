#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ziggurat {
namespace {

int Run(Graph& graph, PassContext&) { return SweepDead(graph); }

}  // namespace

const Pass kEliminateDead = {
    .name = "eliminate_dead",
    .exactness = Exactness::kExact,
    .bound = "",
    .proof = "nothing reads the node's outputs and it changes no state",
    .run = Run,
};

}  // namespace ziggurat
