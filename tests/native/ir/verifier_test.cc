#include "ir/verifier.h"

#include "check.h"
#include "ir/parser.h"
#include "ops/infer.h"
#include "ops/op_def.h"

namespace ziggurat {
namespace {

constexpr char kText[] =
    "graph g(%x: float32[4], %c: bool[]) {\n"
    "  const @w: float32[4] = rand(1)\n"
    "  %a = Add(%x, @w)\n"
    "  %b = Relu(%a)\n"
    "  %i = If(%c) {then_branch = graph t() { %s = Mul(%a, %b)\n return %s }, else_branch = graph e() { return %b }}\n"
    "  return %i\n}";

Value* Find(const Graph& graph, std::string_view name) {
  for (const auto& value : graph.values())
    if (value->name == name) return value.get();
  return nullptr;
}

// Breaks the graph with `damage` and expects the verifier to say `message`.
template <typename Damage>
void CheckFinds(const Damage& damage, std::string_view message) {
  const auto graph = ParseGraph(kText);
  Verify(*graph);
  std::string found = "no error";
  const auto undo = damage(*graph);
  try {
    Verify(*graph);
  } catch (const Error& error) {
    found = error.what();
    CHECK(error.code() == Code::kInternal);
  }
  undo();
  CHECK(found.find(message) != std::string::npos, "expected '", message, "', got '", found, "'");
}

}  // namespace

TEST(the_verifier_finds_a_forgotten_user) {
  CheckFinds(
      [](Graph& graph) {
        auto& users = Find(graph, "a")->users;
        Node* dropped = users.back();
        users.pop_back();
        return [&users, dropped] { users.push_back(dropped); };
      },
      "tensor 'a': records 1 uses, has 2");
}

TEST(the_verifier_finds_a_wrong_count_of_outputs) {
  CheckFinds(
      [](Graph& graph) {
        Value* value = Find(graph, "i");
        ++value->graph_output_uses;
        return [value] { --value->graph_output_uses; };
      },
      "tensor 'i': records 2 uses as an output, has 1");
}

TEST(the_verifier_finds_a_use_before_the_definition) {
  CheckFinds(
      [](Graph& graph) {
        Node* add = Find(graph, "a")->producer;
        graph.SetInput(add, 0, Find(graph, "b"));
        return [&graph, add] { graph.SetInput(add, 0, Find(graph, "x")); };
      },
      "Add: uses 'b' before it is defined");
}

TEST(the_verifier_finds_a_value_of_another_scope) {
  CheckFinds(
      [](Graph& graph) {
        const Graph& branch = *Find(graph, "i")->producer->Subgraph("then_branch");
        Node* relu = Find(graph, "b")->producer;
        graph.SetInput(relu, 0, Find(branch, "s"));
        return [&graph, relu] { graph.SetInput(relu, 0, Find(graph, "a")); };
      },
      "uses 's' before it is defined, or out of its scope");
}

TEST(the_verifier_finds_two_values_of_one_name) {
  CheckFinds(
      [](Graph& graph) {
        Find(graph, "b")->name = "a";
        return [] {};
      },
      "the name is used twice");
}

TEST(the_verifier_finds_a_wrong_type) {
  CheckFinds(
      [](Graph& graph) {
        Find(graph, "b")->type = Type::Tensor(DType::kFloat32, Shape{5});
        return [] {};
      },
      "Relu: output 'b' is float32[5], inference says float32[4]");
}

TEST(the_verifier_finds_an_attribute_that_the_op_does_not_have) {
  CheckFinds(
      [](Graph& graph) {
        Find(graph, "b")->producer->attributes["alpha"] = 1.0f;
        return [] {};
      },
      "alpha");
}

TEST(the_verifier_finds_a_constant_of_another_type) {
  CheckFinds(
      [](Graph& graph) {
        Find(graph, "w")->constant = Constant::Int64s({1, 2, 3, 4});
        return [] {};
      },
      "tensor 'w': has type float32[4] and elements int64[4]");
}

namespace {

// The standard has no op with effects; these stand for those of the language models.
void InferNothing(InferContext&) {}
void InferVersion(InferContext& c) { c.SetOutput(0, Type::Resource()); }
constexpr Param kState{"state", kAnyType, 0, Param::kOne, Param::kResource};
constexpr OpDef kRead = {
    .name = "Read", .domain = "test", .inputs = {kState}, .min_outputs = 0, .infer = InferNothing, .effects = {{0}}};
constexpr OpDef kWrite = {
    .name = "Write", .domain = "test", .inputs = {kState}, .infer = InferVersion, .effects = {{0, 0}}};

}  // namespace

TEST(a_resource_version_has_one_writer_and_no_reader_after_it) {
  Graph graph("g");
  Value* first = graph.AddInput("first", Type::Resource());
  graph.AddNode(kRead, {first}, {}, {});
  Value* second = graph.Add(kWrite, {first});
  graph.AddNode(kRead, {second}, {}, {});
  Verify(graph);
  Node* late = graph.AddNode(kRead, {first}, {}, {});
  CHECK_ERROR(Code::kInternal, Verify(graph));
  graph.Erase(late);
  Verify(graph);
  graph.Add(kWrite, {first});
  CHECK_ERROR(Code::kInternal, Verify(graph));
}

TEST(types_agree_where_nothing_that_both_know_differs) {
  Graph graph("g");
  const Dim n = graph.NewSymbol("n");
  const Type known = Type::Tensor(DType::kFloat32, Shape{2, 3});
  CHECK(Agree(known, Type::Tensor(DType::kFloat32, std::vector<Dim>{n, 3})));
  CHECK(Agree(known, Type::Tensor(DType::kFloat32, std::nullopt)));
  CHECK(Agree(known, Type{}));
  CHECK(!Agree(known, Type::Tensor(DType::kFloat32, std::vector<Dim>{n, 4})));
  CHECK(!Agree(known, Type::Tensor(DType::kFloat32, std::vector<Dim>{n})));
  CHECK(!Agree(known, Type::Tensor(DType::kFloat64, Shape{2, 3})));
  CHECK(!Agree(known, Type::Sequence(known)));
  CHECK(Agree(Type::Sequence(known), Type::Sequence(Type{})));
  CHECK(!Agree(Type::Sequence(known), Type::Sequence(Type::Tensor(DType::kFloat32, Shape{2}))));
}

}  // namespace ziggurat
