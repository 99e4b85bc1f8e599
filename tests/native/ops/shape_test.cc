// Symbolic shapes through reshaping ops, and the arithmetic of shapes in the making.
#include "ops/build.h"

using namespace ziggurat;
using namespace ziggurat::test;

TEST(reshape_infers_the_hole_from_symbols) {
  Build b;
  Value* x = b.In("x", {"batch", "seq", "768"});
  CHECK_TYPE(b, b.Op("Reshape", {x, b.Ints({0, 0, 12, 64})}), "float32[batch,seq,12,64]");
  CHECK_TYPE(b, b.Op("Reshape", {x, b.Ints({0, -1})}), "float32[batch,768*seq]");
  CHECK_TYPE(b, b.Op("Reshape", {x, b.Ints({-1, 768})}), "float32[batch*seq,768]");
}

TEST(reshape_refuses_what_cannot_hold) {
  Build b;
  Value* x = b.In("x", {"2", "3"});
  CHECK_FAILS(b.Op("Reshape", {x, b.Ints({4, -1})}), "[2,3] has 6 elements, not a multiple of 4");
  CHECK_FAILS(b.Op("Reshape", {x, b.Ints({5})}), "cannot reshape [2,3] to [5]");
  CHECK_FAILS(b.Op("Reshape", {x, b.Ints({-1, -1})}), "more than one -1");
  CHECK_FAILS(b.Op("Reshape", {x, b.Ints({2, 3, 0})}), "shape[2] is 0");
  CHECK_FAILS(b.Op("Reshape", {x, b.Ints({-2, 3})}), "shape[0] is -2");
}

TEST(reshape_by_an_unknown_vector_keeps_the_rank) {
  Build b;
  Value* x = b.In("x", {"2", "3"});
  CHECK(b.Op("Reshape", {x, b.In("s", {"3"}, DType::kInt64)})->type.Rank() == 3);
  CHECK(!b.Op("Reshape", {x, b.In("t", {"n"}, DType::kInt64)})->type.HasRank());
}

TEST(shape_arithmetic_is_followed) {
  Build b;
  Value* shape = b.Op("Shape", {b.In("x", {"batch", "seq", "768"})});
  CHECK_CONTENTS(b, shape, "{batch,seq,768}");
  CHECK_CONTENTS(b, b.Op("Mul", {shape, b.Int(2)}), "{2*batch,2*seq,1536}");
  CHECK_CONTENTS(b, b.Op("Div", {b.Op("Add", {shape, shape}), b.Int(2)}), "{batch,seq,768}");
  CHECK_CONTENTS(b, b.Op("Sub", {shape, b.Ints({1, 1, 1})}), "{-1+batch,-1+seq,767}");
  CHECK_CONTENTS(b, b.Op("Size", {b.In("y", {"n", "4"})}), "{4*n}");
  CHECK_CONTENTS(b, b.Op("Div", {b.Int(-7), b.Int(2)}), "{-3}");
  CHECK_CONTENTS(b, b.Op("Equal", {shape, b.Ints({-1, -1, -1})}), "{0,0,0}");
}

TEST(contents_that_overflow_are_unknown_not_errors) {
  Build b;
  Value* big = b.Int(INT64_MAX);
  CHECK_CONTENTS(b, b.Op("Add", {big, big}), "?");
}

TEST(broadcasting_keeps_what_is_certain) {
  Build b;
  Value* x = b.In("x", {"batch", "1", "64"});
  Value* y = b.In("y", {"seq", "m"});
  CHECK_TYPE(b, b.Op("Add", {x, y}), "float32[batch,seq,64]");
  CHECK_FAILS(b.Op("Add", {b.In("p", {"2", "3"}), b.In("q", {"4"})}), "shapes [2,3] and [4] do not broadcast");
}

TEST(types_must_agree_and_the_text_names_both) {
  Build b;
  Value* x = b.In("x", {"2"});
  Value* y = b.In("y", {"2"}, DType::kInt64);
  const std::string text = ErrorOf([&] { b.graph.AddNode(GetOp("Add"), {x, y}, {}, {"z"}, "sum"); });
  CHECK(text == "Add node 'sum': input A is float32 and input B is int64, must agree", text);
  CHECK_FAILS(b.Op("Not", {x}), "input X is float32, expected bool");
  CHECK_FAILS(b.Op("Add", {x}), "has 1 inputs, expected 2");
  CHECK_FAILS(b.Op("Relu", {x}, {{"alpha", 1.0f}}), "has no attribute 'alpha'");
  CHECK_FAILS(b.Op("BitShift", {y, y}), "attribute 'direction' is required");
  CHECK_FAILS(b.Op("Transpose", {x}, {{"perm", int64_t{0}}}), "attribute 'perm' is an int, expected ints");
}

TEST(unknown_rank_stays_unknown_and_never_fails) {
  Build b;
  Value* u = b.Unranked("u");
  for (const char* op : {"Relu", "Identity", "Transpose", "Squeeze"}) CHECK_TYPE(b, b.Op(op, {u}), "float32[*]");
  CHECK_TYPE(b, b.Op("Add", {u, b.In("x", {"3"})}), "float32[*]");
  CHECK(b.Op("Shape", {u})->type.Rank() == 1);
}

TEST(inferring_again_finds_the_same_symbols) {
  Build b;
  Value* y = b.Op("Reshape", {b.In("x", {"2", "3"}), b.In("s", {"2"}, DType::kInt64)});
  const Type before = y->type;
  b.graph.InferAll();
  CHECK(y->type == before);
}

TEST(an_empty_list_of_axes_is_known_without_its_value) {
  Build b;
  Value* none = b.In("axes", {"0"}, DType::kInt64);
  CHECK_TYPE(b, b.Op("ReduceSum", {b.In("x", {"n", "3"}), none}), "float32[1,1]");
}

TEST(expressions_that_would_explode_are_unknown_instead) {
  Build b;
  Value* x = b.Op("Shape", {b.In("x", {"n", "m"})});
  Value* sum = b.Op("ReduceSum", {x});
  for (int i = 0; i < 60; ++i) sum = b.Op("Mul", {sum, sum});  // a degree of 2^60
  CHECK_CONTENTS(b, sum, "?");
  Value* larger = b.Op("ReduceSum", {x});
  // Each Max holds its predecessor twice: a tree of 2^60.
  for (int i = 0; i < 60; ++i) larger = b.Op("Max", {b.Op("Mod", {larger, b.Int(7)}), b.Op("Sub", {larger, b.Int(1)})});
  CHECK_CONTENTS(b, larger, "?");
  CHECK(b.Op("Expand", {b.Float(1), larger})->type.HasRank());
}

TEST(numbers_of_a_hostile_file_are_refused_before_they_cost) {
  Build b;
  Value* x = b.In("x", {"1", "4", "2", "2"});
  CHECK_FAILS(b.Op("DepthToSpace", {x}, {{"blocksize", int64_t{1} << 32}}), "blocksize is 4294967296");
  CHECK_FAILS(b.Op("Unsqueeze", {x, b.In("axes", {"2000000000"}, DType::kInt64)}), "the most is 8");
  CHECK_FAILS(b.Op("Reshape", {x, b.In("shape", {"4294967297"}, DType::kInt64)}), "the most is 8");
  CHECK_FAILS(b.Op("Shape", {b.Op("Transpose", {x}, {{"perm", std::vector<int64_t>(1000, 0)}})}), "perm has 1000");
}
