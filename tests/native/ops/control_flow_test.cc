// Types through If, Loop and Scan.
#include "ops/build.h"

using namespace ziggurat;
using namespace ziggurat::test;

namespace {

using Body = std::shared_ptr<Graph>;

Value* AddTo(const Body& body, const char* op, std::vector<Value*> inputs, Attributes attributes = {}) {
  return body->Add(GetOp(op), std::move(inputs), std::move(attributes));
}

// A branch that returns one value.
Body Branch(Build& b, Value* value) {
  Body branch = b.graph.NewSubgraph("branch");
  branch->AddOutput(AddTo(branch, "Identity", {value}), "out");
  return branch;
}

// A loop body with inputs i, cond and one carried value, typed as a reader types it: without a shape.
Body LoopBody(Build& b, DType dtype = DType::kFloat32) {
  Body body = b.graph.NewSubgraph("body");
  body->AddInput("i", Type::Tensor(DType::kInt64, Shape{}));
  body->AddInput("cond", Type::Tensor(DType::kBool, Shape{}));
  body->AddInput("carried", Type::Tensor(dtype, std::nullopt));
  return body;
}

}  // namespace

TEST(branches_keep_what_both_say) {
  Build b;
  Value* cond = b.In("c", {}, DType::kBool);
  Value* x = b.In("x", {"batch", "3"});
  auto both = [&](Value* yes, Value* no) {
    return b.Op("If", {cond}, {{"then_branch", Branch(b, yes)}, {"else_branch", Branch(b, no)}});
  };
  CHECK_TYPE(b, both(x, x), "float32[batch,3]");
  Value* differing = both(x, b.In("y", {"batch", "4"}));
  CHECK(differing->type.Rank() == 2);
  CHECK((*differing->type.shape)[0] == (*x->type.shape)[0]);
  CHECK(!(*differing->type.shape)[1].IsConst());
  CHECK_TYPE(b, both(x, b.In("z", {"3"})), "float32[*]");
  CHECK_FAILS(both(x, b.In("w", {"batch", "3"}, DType::kInt64)), "are float32 and int64, must agree");
}

TEST(a_counted_loop_stacks_its_scans_by_the_count) {
  Build b;
  Value* x = b.In("x", {"batch", "4"});
  Value* trips = b.Op("Gather", {b.Op("Shape", {b.In("s", {"steps"})}), b.Int(0)});
  Body body = LoopBody(b);
  Value* next = AddTo(body, "Relu", {body->inputs()[2]});
  body->AddOutput(AddTo(body, "Identity", {body->inputs()[1]}), "goes_on");
  body->AddOutput(next, "next");
  body->AddOutput(next, "scan");
  const auto outs = b.Ops("Loop", {trips, nullptr, x}, 2, {{"body", body}});
  CHECK_TYPE(b, outs[0], "float32[batch,4]");
  CHECK_TYPE(b, outs[1], "float32[steps,batch,4]");
}

TEST(a_dimension_that_grows_in_a_loop_becomes_a_symbol) {
  Build b;
  Value* x = b.In("x", {"1", "4"});
  Body body = LoopBody(b);
  Value* grown = AddTo(body, "Concat", {body->inputs()[2], x}, {{"axis", int64_t{0}}});
  body->AddOutput(AddTo(body, "Identity", {body->inputs()[1]}), "goes_on");
  body->AddOutput(grown, "grown");
  const auto outs = b.Ops("Loop", {b.Int(3), nullptr, x}, 1, {{"body", body}});
  CHECK(outs[0]->type.Rank() == 2);
  CHECK(!(*outs[0]->type.shape)[0].IsConst(), b.Text(outs[0]));
  CHECK((*outs[0]->type.shape)[1].IsConst(4));
  const Type before = outs[0]->type;
  b.graph.InferAll();
  CHECK(outs[0]->type == before, "inferring again changed the type");
}

TEST(a_loop_until_a_condition_has_an_unknown_count) {
  Build b;
  Body body = LoopBody(b);
  Value* stop = AddTo(body, "Less", {AddTo(body, "Identity", {body->inputs()[0]}), b.Int(3)});
  body->AddOutput(stop, "goes_on");
  body->AddOutput(body->inputs()[2], "same");
  body->AddOutput(body->inputs()[2], "scan");
  const auto outs = b.Ops("Loop", {b.Int(9), nullptr, b.In("x", {"2"})}, 2, {{"body", body}});
  CHECK_TYPE(b, outs[0], "float32[2]");
  CHECK(outs[1]->type.Rank() == 2 && !(*outs[1]->type.shape)[0].IsConst());
}

TEST(loops_refuse_bodies_that_do_not_fit) {
  Build b;
  Value* x = b.In("x", {"2"});
  Body wrong = LoopBody(b);
  wrong->AddOutput(wrong->inputs()[1], "goes_on");
  wrong->AddOutput(AddTo(wrong, "Cast", {wrong->inputs()[2]}, {{"to", int64_t{7}}}), "other");
  CHECK_FAILS(b.Op("Loop", {b.Int(1), nullptr, x}, {{"body", wrong}}), "carried values 0 are float32 and int64");
  Body fewer = LoopBody(b);
  fewer->AddOutput(fewer->inputs()[1], "goes_on");
  CHECK_FAILS(b.Op("Loop", {b.Int(1), nullptr, x}, {{"body", fewer}}), "the body has 1 outputs, expected at least 2");
}

TEST(scan_takes_slices_and_stacks_them) {
  Build b;
  Body body = b.graph.NewSubgraph("body");
  Value* sum = body->AddInput("sum", Type::Tensor(DType::kFloat32, std::nullopt));
  Value* slice = body->AddInput("slice", Type::Tensor(DType::kFloat32, std::nullopt));
  Value* next = AddTo(body, "Add", {sum, slice});
  body->AddOutput(next, "next");
  body->AddOutput(next, "stacked");
  const auto outs =
      b.Ops("Scan", {b.In("s", {"2"}), b.In("x", {"n", "2"})}, 2, {{"body", body}, {"num_scan_inputs", int64_t{1}}});
  CHECK_TYPE(b, outs[0], "float32[2]");
  CHECK_TYPE(b, outs[1], "float32[n,2]");
  CHECK_TYPE(b, slice, "float32[2]");
}

TEST(sequences_remember_what_all_elements_share) {
  Build b;
  Value* x = b.In("x", {"2", "3"});
  Value* same = b.Op("SequenceConstruct", {x, x});
  CHECK_TYPE(b, same, "sequence(float32[2,3])");
  CHECK_TYPE(b, b.Op("SequenceConstruct", {x, b.In("y", {"4"})}), "sequence(float32[*])");
  CHECK_FAILS(b.Op("SequenceConstruct", {x, b.In("z", {"2"}, DType::kInt64)}), "must agree");
  CHECK_TYPE(b, b.Op("SequenceAt", {same, b.Int(0)}), "float32[2,3]");
  CHECK_TYPE(b, b.Op("SequenceLength", {same}), "int64[]");
  CHECK_FAILS(b.Op("SequenceLength", {x}), "cannot be a tensor");
  CHECK_TYPE(b, b.Op("Optional", {}, {{"type", "seq(tensor(double))"}}), "optional(sequence(float64[*]))");
}

TEST(a_branch_that_could_not_run_is_left_to_run_time) {
  Build b;
  Value* x = b.In("x", {"2", "3"});
  Body squeezed = b.graph.NewSubgraph("then");
  squeezed->AddOutput(AddTo(squeezed, "Squeeze", {x, b.Ints({0})}), "out");
  Value* y = b.Op("If", {b.In("c", {}, DType::kBool)}, {{"then_branch", squeezed}, {"else_branch", Branch(b, x)}});
  CHECK_TYPE(b, y, "float32[*]");
  CHECK_FAILS(b.Op("Squeeze", {x, b.Ints({0})}), "axis 0 of shape [2,3] is not 1");
}

TEST(what_is_there_may_be_carried_as_what_may_be_absent) {
  Build b;
  Value* some = b.Op("Optional", {}, {{"type", "sequence(float32[*])"}});
  Body body = LoopBody(b);
  body->AddOutput(body->inputs()[1], "goes_on");
  body->AddOutput(AddTo(body, "SequenceEmpty", {}), "next");
  CHECK_TYPE(b, b.Op("Loop", {b.Int(2), nullptr, some}, {{"body", body}}), "sequence(float32[*])");
}
