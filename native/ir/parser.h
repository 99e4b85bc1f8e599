// Reads a graph from text, for tests and for dumps that are looked at again.
//
//   symbols b(0,0), "s'"                     // optional: names in order, with graph input and axis where they have one
//   graph main(%x: float32[b,768], %go: bool[]) {
//     const @w: float32[768,10] = rand(7)    // or [1.0, 2.0], fill(1.0), hex"00ff", #0123456789abcdef
//     %y: float32[b,10] = MatMul(%x, @w) {k = 1, name = [1, 2]} "node name"    // the type may be left out
//     %v, _ = zig.Split(%y, _)               // _ is an absent input or output
//     %z = If(%go) {else_branch = graph no() { return %y }, then_branch = graph yes() { return %y as out }}
//     return %z as z
//   }
//
// Types: dtype[dims], dtype[*] (rank unknown), sequence(T), optional(T), map, sparse dtype[dims], resource; a dtype
// may be followed by !subbyte, !affine(axis,block) or !ggml(type,block). Dims: expressions of symbols with + - *
// floordiv mod max min broadcast; ? is a symbol of its own. Names with other characters are written %"a:0".
// Comments run from // to the end of the line.
#pragma once

#include <memory>
#include <string_view>

#include "ir/graph.h"
#include "ir/text_constant.h"

namespace ziggurat {

struct ParseOptions {
  ConstantResolver resolver;  // for constants printed as a hash
};

// Throws kInvalidModel (or the code of the node that is wrong) naming line and column.
std::shared_ptr<Graph> ParseGraph(std::string_view text, const ParseOptions& options = {});

}  // namespace ziggurat
