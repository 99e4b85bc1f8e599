// Shape arithmetic as exporters write it must end in exact symbolic shapes.
#include "ops/build.h"

using namespace ziggurat;
using namespace ziggurat::test;

namespace {

Value* DimOf(Build& b, Value* x, int64_t axis) {
  Value* shape = b.Op("Shape", {x});
  return b.Op("Unsqueeze", {b.Op("Gather", {shape, b.Int(axis)}), b.Ints({0})});
}

}  // namespace

TEST(bert_splits_heads_by_shape_gather_unsqueeze_concat_reshape) {
  Build b;
  Value* x = b.In("x", {"batch", "seq", "768"});
  Value* shape = b.Op("Concat", {DimOf(b, x, 0), DimOf(b, x, 1), b.Ints({12}), b.Ints({64})}, {{"axis", int64_t{0}}});
  CHECK_CONTENTS(b, shape, "{batch,seq,12,64}");
  Value* heads = b.Op("Reshape", {x, shape});
  CHECK_TYPE(b, heads, "float32[batch,seq,12,64]");
  Value* q = b.Op("Transpose", {heads}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  Value* k = b.Op("Transpose", {heads}, {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
  Value* scores = b.Op("Softmax", {b.Op("MatMul", {q, k})});
  CHECK_TYPE(b, scores, "float32[batch,12,seq,seq]");
  Value* context = b.Op("Transpose", {b.Op("MatMul", {scores, q})}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  Value* merged = b.Op("Concat", {DimOf(b, context, 0), DimOf(b, context, 1), b.Ints({-1})}, {{"axis", int64_t{0}}});
  CHECK_TYPE(b, b.Op("Reshape", {context, merged}), "float32[batch,seq,768]");
}

TEST(merged_heads_divide_and_multiply_back) {
  Build b;
  Value* x = b.In("x", {"batch", "seq", "hidden"});
  Value* head = b.Op("Div", {DimOf(b, x, 2), b.Ints({8})});
  Value* shape = b.Op("Concat", {DimOf(b, x, 0), b.Ints({-1}), b.Ints({8}), head}, {{"axis", int64_t{0}}});
  Value* heads = b.Op("Reshape", {x, shape});
  CHECK(heads->type.Rank() == 4);
  CHECK((*heads->type.shape)[2].IsConst(8));
}

TEST(positions_sliced_from_a_table_meet_the_sequence) {
  Build b;
  Value* ids = b.In("ids", {"batch", "seq"}, DType::kInt64);
  Value* table = b.graph.AddConstant(Constant::Zeros(DType::kInt64, Shape{1, 512}));
  Value* positions = b.Op("Slice", {table, b.Ints({0}), DimOf(b, ids, 1), b.Ints({1}), b.Ints({1})});
  CHECK_TYPE(b, positions, "int64[1,min(seq,512)]");
  Value* words = b.Op("Gather", {b.In("words", {"1000", "768"}), ids});
  Value* places = b.Op("Gather", {b.In("places", {"512", "768"}), positions});
  CHECK_TYPE(b, b.Op("Add", {words, places}), "float32[batch,seq,768]");
}

TEST(expand_guards_of_exporters_are_decided_at_load) {
  // Where(shape == -1, 1, shape): what torch writes for expand().
  Build b;
  Value* ids = b.In("ids", {"batch", "seq"}, DType::kInt64);
  Value* shape =
      b.Op("Concat", {DimOf(b, ids, 0), b.Ints({1}), DimOf(b, ids, 1), DimOf(b, ids, 1)}, {{"axis", int64_t{0}}});
  Value* ones = b.Op("ConstantOfShape", {b.Ints({4})}, {{"value", Constant::Int64s({1})}});
  CHECK_CONTENTS(b, ones, "{1,1,1,1}");
  Value* minus = b.Op("Mul", {ones, b.Int(-1)});
  Value* wanted = b.Op("Where", {b.Op("Equal", {shape, minus}), ones, shape});
  CHECK_CONTENTS(b, wanted, "{batch,1,seq,seq}");
  Value* mask = b.Op("Unsqueeze", {ids, b.Ints({1, 2})});
  CHECK_TYPE(b, b.Op("Expand", {mask, wanted}), "int64[batch,1,seq,seq]");
}

TEST(range_over_a_dimension_has_that_many_elements) {
  Build b;
  Value* length = b.Op("Gather", {b.Op("Shape", {b.In("x", {"n", "m"})}), b.Int(1)});
  CHECK_TYPE(b, b.Op("Range", {b.Int(0), length, b.Int(1)}), "int64[m]");
  CHECK_TYPE(b, b.Op("Range", {b.Int(10), b.Int(4), b.Int(-2)}), "int64[3]");
  CHECK_CONTENTS(b, b.Op("Range", {b.Int(10), b.Int(4), b.Int(-2)}), "{10,8,6}");
  CHECK_TYPE(b, b.Op("Range", {b.Float(0), b.Float(1), b.Float(0.3f)}), "float32[4]");
  CHECK_FAILS(b.Op("Range", {b.Int(0), b.Int(4), b.Int(0)}), "delta is 0");
}

TEST(volumes_fold_into_one_number) {
  Build b;
  Value* shape = b.Op("Shape", {b.In("x", {"batch", "c", "7", "7"})}, {{"start", int64_t{1}}});
  Value* volume = b.Op("ReduceProd", {shape}, {{"keepdims", int64_t{0}}});
  CHECK_CONTENTS(b, volume, "{49*c}");
  CHECK_TYPE(b, volume, "int64[]");
}

TEST(split_shares_evenly_and_the_last_gets_the_rest) {
  Build b;
  Value* x = b.In("x", {"batch", "7"});
  const auto parts = b.Ops("Split", {x}, 3, {{"axis", int64_t{1}}, {"num_outputs", int64_t{3}}});
  CHECK_TYPE(b, parts[0], "float32[batch,3]");
  CHECK_TYPE(b, parts[2], "float32[batch,1]");
  CHECK_FAILS(b.Ops("Split", {x, b.Ints({3, 3})}, 2, {{"axis", int64_t{1}}}), "add up to 6, the axis has 7");
  const auto shape = b.Ops("Split", {b.Op("Shape", {x}), b.Ints({1, 1})}, 2);
  CHECK_CONTENTS(b, shape[0], "{batch}");
}

TEST(slices_follow_numpy) {
  Build b;
  Value* x = b.In("x", {"10", "n"});
  auto slice = [&](int64_t start, int64_t end, int64_t axis, int64_t step) {
    return b.Text(b.Op("Slice", {x, b.Ints({start}), b.Ints({end}), b.Ints({axis}), b.Ints({step})}));
  };
  CHECK(slice(2, 7, 0, 2) == "float32[3,n]");
  CHECK(slice(-3, INT64_MAX, 0, 1) == "float32[3,n]");
  CHECK(slice(-1, INT64_MIN, 0, -1) == "float32[10,n]");
  CHECK(slice(8, 2, 0, 1) == "float32[0,n]");
  CHECK(slice(0, INT32_MAX, 1, 1) == "float32[10,n]");
  CHECK_FAILS(slice(0, 1, 0, 0), "step of axis 0 is 0");
  CHECK_FAILS(slice(0, 1, 2, 1), "axis 2 is out of range for rank 2");
}
