#include "passes/batch_dim.h"

#include <cstdio>

#include "check.h"
#include "ir/parser.h"

namespace ziggurat {
namespace {

RowProof Prove(std::string_view text) {
  const auto graph = ParseGraph(text);
  const SymbolId symbol = BatchSymbol(*graph);
  CHECK(symbol >= 0);
  return ProveRowsIndependent(*graph, symbol);
}

void CheckMixed(std::string_view text, std::string_view culprit) {
  const RowProof proof = Prove(text);
  CHECK(!proof.independent);
  CHECK(proof.reason.find(culprit) != std::string::npos, proof.reason);
}

}  // namespace

TEST(an_image_classifier_keeps_rows_apart) {
  const RowProof proof = Prove(
      "graph g(%x: float32[b,3,8,8]) {\n"
      "  const @w: float32[4,3,3,3] = rand(1)\n const @v: float32[4,10] = rand(2)\n const @c: float32[10] = rand(3)\n"
      "  const @k: float32[4] = rand(4)\n"
      "  %a = Conv(%x, @w) {pads = [1, 1, 1, 1]}\n"
      "  %n = BatchNormalization(%a, @k, @k, @k, @k)\n"
      "  %r = Relu(%n)\n  %p = GlobalAveragePool(%r)\n  %f = Flatten(%p)\n"
      "  %g = Gemm(%f, @v, @c)\n  %y = Softmax(%g) {axis = 1}\n"
      "  return %y as y\n}");
  CHECK(proof.independent, proof.reason);
  CHECK(proof.input_axes == std::vector<int>{0} && proof.output_axes == std::vector<int>{0});
}

TEST(a_net_with_channels_last_keeps_rows_apart) {
  const RowProof proof = Prove(
      "graph g(%x: float32[b,8,8,3]) {\n"
      "  const @w: float32[4,3,3,3] = rand(1)\n const @v: float32[4,4,1,1] = rand(2)\n"
      "  const @axes: int64[2] = [1, 2]\n"
      "  %a = zig.FusedConv(%x, @w) {channels_last = 1, pads = [1, 1, 1, 1]}\n"
      "  %l = zig.ChannelsLastLRN(%a) {size = 3}\n"
      "  %r = zig.FusedConv(%l, @v, _, %a) {channels_last = 1}\n"
      "  %p = zig.ChannelsLastPool(%r) {kind = \"max\", kernel_shape = [2, 2]}\n"
      "  %y = ReduceMean(%p, @axes) {keepdims = 0}\n"
      "  return %y as y\n}");
  CHECK(proof.independent, proof.reason);
  CHECK(proof.input_axes == std::vector<int>{0} && proof.output_axes == std::vector<int>{0});
}

TEST(an_element_program_keeps_rows_apart_unless_an_input_spans_them) {
  const char* const net =
      "graph g(%%x: float32[b,8], %%z: float32[%s]) {\n"
      "  const @low: float32[1] = [0]\n"
      "  %%y = zig.Elementwise(%%x, %%z, @low) {program = [\"Mul x0 x1\", \"Clip t0 x2\", \"Tanh t1\"]}\n"
      "  return %%y as y\n}";
  char text[400];
  for (const char* shape : {"b,8", "b,1"}) {
    std::snprintf(text, sizeof text, net, shape);
    const RowProof proof = Prove(text);
    CHECK(proof.independent, shape, ": ", proof.reason);
  }
  std::snprintf(text, sizeof text, net, "1,b");
  CHECK(!Prove(text).independent);
}

TEST(products_with_one_left_side_keep_rows_apart) {
  const RowProof proof = Prove(
      "graph g(%x: float32[b,s,8]) {\n  const @w: float32[8,4] = rand(1)\n const @v: float32[8,2] = rand(2)\n"
      "  %p, %q = zig.SharedMatMul(%x, @w, @v)\n  return %p as p, %q as q\n}");
  CHECK(proof.independent, proof.reason);
}

TEST(an_attention_layer_keeps_rows_apart) {
  const RowProof proof = Prove(
      "graph g(%ids: int64[b,s], %mask: float32[b,s]) {\n"
      "  const @table: float32[50,8] = rand(1)\n const @w: float32[8,8] = rand(2)\n const @g: float32[8] = rand(3)\n"
      "  const @heads: int64[4] = [0, 0, 2, 4]\n const @join: int64[3] = [0, 0, 8]\n"
      "  const @at: int64[2] = [1, 2]\n const @flat: int64[2] = [-1, 8]\n const @axis: int64[1] = [1]\n"
      "  const @eight: int64[1] = [8]\n"
      "  %e = Gather(@table, %ids)\n"
      "  %q = MatMul(%e, @w)\n  %q4 = Reshape(%q, @heads)\n  %qt = Transpose(%q4) {perm = [0, 2, 1, 3]}\n"
      "  %kt = Transpose(%q4) {perm = [0, 2, 3, 1]}\n"
      "  %scores = MatMul(%qt, %kt)\n"
      "  %m4 = Unsqueeze(%mask, @at)\n  %masked = Add(%scores, %m4)\n  %p = Softmax(%masked)\n"
      "  %o = MatMul(%p, %qt)\n  %ot = Transpose(%o) {perm = [0, 2, 1, 3]}\n  %oj = Reshape(%ot, @join)\n"
      "  %rows = Reshape(%oj, @flat)\n  %proj = MatMul(%rows, @w)\n"  // a row of b is s places long here
      "  %shape = Shape(%ids)\n  %target = Concat(%shape, @eight) {axis = 0}\n  %back = Reshape(%proj, %target)\n"
      "  %sum = Add(%back, %e)\n  %y = LayerNormalization(%sum, @g)\n"
      "  %pooled = ReduceMean(%y, @axis) {keepdims = 0}\n"
      "  return %y as y, %pooled as pooled\n}");
  CHECK(proof.independent, proof.reason);
  CHECK((proof.input_axes == std::vector<int>{0, 0} && proof.output_axes == std::vector<int>{0, 0}));
}

TEST(an_input_without_the_dimension_is_shared) {
  const RowProof proof = Prove("graph g(%x: float32[b,4], %w: float32[4]) {\n %y = Mul(%x, %w)\n return %y as y\n}");
  CHECK(proof.independent, proof.reason);
  CHECK((proof.input_axes == std::vector<int>{0, -1}));
}

TEST(rows_are_followed_through_a_recurrent_layer) {
  const RowProof proof = Prove(
      "graph g(%x: float32[b,t,3]) {\n"
      "  const @w: float32[1,20,3] = rand(1)\n const @r: float32[1,20,5] = rand(2)\n"
      "  const @zero: int64[1] = [0]\n const @one: int64[1] = [1]\n const @five: int64[1] = [5]\n"
      "  %xt = Transpose(%x) {perm = [1, 0, 2]}\n"
      "  %shape = Shape(%x)\n  %n = Gather(%shape, @zero)\n  %dims = Concat(@one, %n, @five) {axis = 0}\n"
      "  %h = ConstantOfShape(%dims)\n"
      "  _, %last = LSTM(%xt, @w, @r, _, _, %h) {hidden_size = 5}\n"
      "  %y = Squeeze(%last, @zero)\n  return %y as y\n}");
  CHECK(proof.independent, proof.reason);
}

TEST(what_looks_along_the_rows_is_refused) {
  CheckMixed("graph g(%x: float32[b,4]) {\n %y = Softmax(%x) {axis = 0}\n return %y as y\n}", "Softmax");
  CheckMixed(
      "graph g(%x: float32[b,4]) {\n const @a: int64[1] = [0]\n %m = ReduceMean(%x, @a)\n %y = Sub(%x, %m)\n"
      " return %y as y\n}",
      "ReduceMean");
  CheckMixed("graph g(%x: float32[b,4]) {\n const @a: int64[] = [0]\n %y = CumSum(%x, @a)\n return %y as y\n}",
             "CumSum");
  CheckMixed("graph g(%x: float32[b,4]) {\n %t = Transpose(%x)\n %y = MatMul(%x, %t)\n return %y as y\n}", "MatMul");
  CheckMixed("graph g(%x: float32[b,4]) {\n %t = Transpose(%x)\n %y = MatMul(%t, %x)\n return %y as y\n}", "MatMul");
  CheckMixed("graph g(%x: float32[b,4]) {\n const @i: int64[2] = [0, 1]\n %y = Gather(%x, @i)\n return %y as y\n}",
             "Gather");
  CheckMixed("graph g(%x: float32[b,4]) {\n %y = Concat(%x, %x) {axis = 0}\n return %y as y\n}", "Concat");
}

TEST(a_shuffle_of_places_is_refused) {
  // [b,4] -> [4,b]: rows are taken apart.
  CheckMixed("graph g(%x: float32[b,4]) {\n const @s: int64[2] = [4, -1]\n %y = Reshape(%x, @s)\n return %y as y\n}",
             "Reshape");
  // The rows' axis is the inner one of what is joined.
  CheckMixed(
      "graph g(%x: float32[b,4]) {\n const @s: int64[1] = [-1]\n %t = Transpose(%x)\n %y = Reshape(%t, @s)\n"
      " return %y as y\n}",
      "Reshape");
}

TEST(what_depends_on_the_number_of_rows_is_refused) {
  CheckMixed(
      "graph g(%x: float32[b,4]) {\n %s = Shape(%x)\n %f = Cast(%s) {to = 1}\n const @i: int64[] = [0]\n"
      " %n = Gather(%f, @i)\n %y = Div(%x, %n)\n return %y as y\n}",
      "Div");
  CheckMixed(
      "graph g(%x: float32[b,4]) {\n %s = Shape(%x)\n const @i: int64[] = [0]\n const @o: int64[] = [1]\n"
      " %n = Gather(%s, @i)\n %r = Range(@i, %n, @o)\n const @a: int64[1] = [1]\n %u = Unsqueeze(%r, @a)\n"
      " %f = Cast(%u) {to = 1}\n %y = Add(%x, %f)\n return %y as y\n}",
      "Add");
}

TEST(draws_and_unknown_ops_are_refused) {
  CheckMixed("graph g(%x: float32[b,4]) {\n %r = RandomNormalLike(%x)\n %y = Add(%x, %r)\n return %y as y\n}",
             "Random");
  CheckMixed("graph g(%x: float32[b,4]) {\n %y = NonZero(%x)\n return %y as y\n}", "NonZero");
}

TEST(an_output_without_rows_is_refused) {
  CheckMixed("graph g(%x: float32[b,4], %w: float32[4]) {\n %y = Relu(%x)\n %z = Relu(%w)\n return %y as y, %z as z\n}",
             "output 'z'");
}

TEST(a_shared_value_that_varies_along_the_rows_is_refused) {
  CheckMixed("graph g(%x: float32[b,4]) {\n const @w: float32[3,4] = rand(1)\n %y = Add(%x, @w)\n return %y as y\n}",
             "Add");
}

}  // namespace ziggurat
