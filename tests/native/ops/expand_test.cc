// Expansions keep types, end in primitives, and exist for what they are said to exist for.
#include <functional>
#include <set>

#include "ops/build.h"
#include "ops/expander.h"

using namespace ziggurat;
using namespace ziggurat::test;

namespace {

// Expands until only primitives are left; returns their names.
std::set<std::string> Primitives(Graph& graph) {
  for (int round = 0; round < 32; ++round) {
    std::vector<Node*> todo;
    for (const auto& node : graph.nodes())
      if (node->op->expand) todo.push_back(node.get());
    if (todo.empty()) {
      std::set<std::string> names;
      for (const auto& node : graph.nodes()) names.insert(std::string(node->op->name));
      return names;
    }
    for (Node* node : todo) Expander::Expand(*node);
  }
  throw Failure{"expansions do not end"};
}

struct Sample {
  const char* op;
  std::function<std::vector<Value*>(Build&)> inputs;
  Attributes attributes = {};
  const char* domain = "";
};

std::vector<Sample> Samples() {
  auto x = [](Build& b, DType dtype = DType::kFloat32) { return b.In("x", {"batch", "8", "h", "w"}, dtype); };
  auto one = [x](Build& b) { return std::vector<Value*>{x(b)}; };
  auto half = [x](Build& b) { return std::vector<Value*>{x(b, DType::kFloat16)}; };
  std::vector<Sample> cases;
  for (const char* op : {"Celu",
                         "Elu",
                         "Gelu",
                         "HardSigmoid",
                         "HardSwish",
                         "LeakyRelu",
                         "Mish",
                         "Selu",
                         "Shrink",
                         "Softplus",
                         "Softsign",
                         "Swish",
                         "ThresholdedRelu",
                         "Softmax",
                         "LogSoftmax",
                         "Hardmax",
                         "Sum",
                         "Mean",
                         "Flatten",
                         "GlobalAveragePool",
                         "GlobalMaxPool",
                         "GlobalLpPool",
                         "ReduceL1",
                         "ReduceL2",
                         "ReduceLogSum",
                         "ReduceLogSumExp",
                         "ReduceSumSquare",
                         "LpNormalization",
                         "MeanVarianceNormalization",
                         "Clip",
                         "Dropout",
                         "Bernoulli"}) {
    cases.push_back({op, one});
    cases.push_back({op, half});
  }
  for (const char* op : {"ReduceL1", "ReduceLogSumExp"})
    cases.push_back(
        {op, [x](Build& b) { return std::vector<Value*>{x(b), b.Ints({1, -1})}; }, {{"keepdims", int64_t{0}}}});
  auto norm = [x](int count) {
    return [x, count](Build& b) {
      std::vector<Value*> inputs = {x(b)};
      for (int i = 0; i < count; ++i) inputs.push_back(b.In(Cat("p", i), {"8"}));
      return inputs;
    };
  };
  cases.push_back({"BatchNormalization", norm(4)});
  cases.push_back({"InstanceNormalization", norm(2)});
  cases.push_back({"GroupNormalization", norm(2), {{"num_groups", int64_t{2}}}});
  cases.push_back({"DepthToSpace", one, {{"blocksize", int64_t{2}}}});
  cases.push_back({"SpaceToDepth", one, {{"blocksize", int64_t{2}}}});
  auto rows = [](Build& b) {
    return std::vector<Value*>{b.In("x", {"batch", "seq", "64"}), b.In("s", {"64"}), b.In("b", {"64"})};
  };
  cases.push_back({"LayerNormalization", rows});
  cases.push_back({"RMSNormalization",
                   [](Build& b) { return std::vector<Value*>{b.In("x", {"batch", "seq", "64"}), b.In("s", {"64"})}; }});
  cases.push_back({"Gemm", [](Build& b) {
                     return std::vector<Value*>{b.In("a", {"n", "k"}), b.In("b", {"k", "m"}), b.In("c", {"m"})};
                   }});
  cases.push_back({"Attention",
                   [](Build& b) {
                     return std::vector<Value*>{b.In("q", {"batch", "seq", "64"}), b.In("k", {"batch", "keys", "32"}),
                                                b.In("v", {"batch", "keys", "32"})};
                   },
                   {{"q_num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}, {"is_causal", int64_t{1}}}});
  cases.push_back({"RotaryEmbedding", [](Build& b) {
                     return std::vector<Value*>{b.In("x", {"batch", "4", "seq", "16"}), b.In("cos", {"50", "8"}),
                                                b.In("sin", {"50", "8"}), b.In("p", {"batch", "seq"}, DType::kInt64)};
                   }});
  auto quantised = [](Build& b) {
    return std::vector<Value*>{b.In("x", {"n", "8"}, DType::kUint8), b.In("s", {"8"}), b.In("z", {"8"}, DType::kUint8)};
  };
  cases.push_back({"DequantizeLinear", quantised});
  cases.push_back({"QuantizeLinear",
                   [](Build& b) {
                     return std::vector<Value*>{b.In("x", {"n", "8"}), b.In("s", {"n", "2"}),
                                                b.In("z", {"n", "2"}, DType::kInt4)};
                   },
                   {{"block_size", int64_t{4}}}});
  cases.push_back({"FusedConv",
                   [](Build& b) {
                     return std::vector<Value*>{b.In("x", {"n", "8", "h", "w"}), b.In("k", {"4", "8", "1", "1"}),
                                                b.In("b", {"4"}), b.In("r", {"n", "4", "h", "w"})};
                   },
                   {{"activation", "leaky_relu"}, {"activation_alpha", 0.1f}},
                   "zig"});
  cases.push_back({"FusedConv",
                   [](Build& b) {
                     return std::vector<Value*>{b.In("x", {"n", "h", "w", "8"}), b.In("k", {"4", "4", "3", "1"}),
                                                b.In("b", {"4"}), b.In("r", {"n", "h", "w", "4"})};
                   },
                   {{"activation", "relu"},
                    {"channels_last", int64_t{1}},
                    {"group", int64_t{2}},
                    {"pads", std::vector<int64_t>{1, 0, 1, 0}}},
                   "zig"});
  for (const char* kind : {"max", "average"})
    for (DType dtype : {DType::kFloat32, DType::kFloat16})
      cases.push_back({"ChannelsLastPool",
                       [dtype](Build& b) { return std::vector<Value*>{b.In("x", {"n", "h", "w", "8"}, dtype)}; },
                       {{"kind", kind}, {"kernel_shape", std::vector<int64_t>{3, 2}}, {"ceil_mode", int64_t{1}}},
                       "zig"});
  cases.push_back({"ChannelsLastLRN", one, {{"size", int64_t{5}}}, "zig"});
  cases.push_back({"FusedAttention",
                   [](Build& b) {
                     return std::vector<Value*>{b.In("q", {"batch", "seq", "64"}), b.In("k", {"batch", "4", "t", "16"}),
                                                b.In("v", {"batch", "t", "64"}),
                                                b.In("bias", {"batch", "1", "1", "t"})};
                   },
                   {{"num_heads", int64_t{4}}, {"merge_heads", int64_t{1}}, {"nan_is_zero", int64_t{1}}},
                   "zig"});
  cases.push_back({"FusedMatMul",
                   [](Build& b) {
                     return std::vector<Value*>{b.In("a", {"n", "k", "m"}), b.In("w", {"5", "k"}), b.In("b", {"5"})};
                   },
                   {{"transA", int64_t{1}}, {"transB", int64_t{1}}, {"activation", "gelu_erf"}},
                   "zig"});
  cases.push_back(
      {"SharedMatMul",
       [](Build& b) { return std::vector<Value*>{b.In("a", {"n", "k"}), b.In("w", {"k", "5"}), b.In("b", {"5"})}; },
       {},
       "zig"});
  cases.push_back({"Elementwise",
                   [](Build& b) {
                     return std::vector<Value*>{b.In("x", {"n", "k"}), b.In("c", {"n", "1"}, DType::kBool),
                                                b.In("s", {"k"})};
                   },
                   {{"program", std::vector<std::string>{"Mish x0", "Where x1 t0 x2", "LeakyRelu t1 alpha=0.25"}}},
                   "zig"});
  return cases;
}

}  // namespace

TEST(expansions_keep_the_type_and_end_in_primitives) {
  for (const Sample& test : Samples()) {
    Build b;
    Value* y = b.Op(test.op, test.inputs(b), test.attributes, test.domain);
    const Type before = y->type;
    b.graph.AddOutput(y, "y");
    try {
      Primitives(b.graph);
    } catch (const Error& error) {
      throw Failure{Cat(test.op, ": ", error.what())};
    }
    const Value* after = b.graph.outputs()[0];
    CHECK(after->type == before, test.op, ": ", b.graph.ToString(before), " became ", b.Text(after));
  }
}

TEST(every_op_has_a_rule_of_inference_and_sound_lists) {
  for (const OpDef* op : AllOps()) {
    CHECK(op->infer != nullptr, op->name);
    CHECK(FindOp(op->domain, op->name) == op, op->name);
    for (int input : op->shape_inputs) CHECK(op->Formal(input) != nullptr, op->name);
    for (const AttributeSpec& spec : op->attributes) CHECK(op->FindAttribute(spec.name) == &spec, op->name);
    CHECK(op->MaxInputs() < 0 || op->MinInputs() <= op->MaxInputs(), op->name);
  }
  CHECK(FindOp("", "NoSuchOp") == nullptr);
  CHECK(FindOp("ai.onnx", "Add") == FindOp("", "Add"));
  CHECK_ERROR(Code::kInternal, GetOp("NoSuchOp"));
}

TEST(expanding_needs_a_known_rank_and_says_so) {
  Build b;
  Value* y = b.Op("LayerNormalization", {b.Unranked("u"), b.In("s", {"4"})});
  CHECK_FAILS(Expander::Expand(*y->producer), "the rank of 'u' must be known");
}

TEST(users_follow_when_an_expansion_names_a_dimension_anew) {
  Build b;
  Value* window = b.Op("HannWindow", {b.In("n", {}, DType::kInt32)});
  Value* y = b.Op("Mul", {window, window});
  b.graph.AddOutput(y, "y");
  Expander::Expand(*window->producer);
  const Value* product = b.graph.outputs()[0];
  CHECK(product->type == product->producer->inputs[0]->type, b.Text(product));
}
