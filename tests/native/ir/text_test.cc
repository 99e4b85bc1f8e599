#include <map>

#include "check.h"
#include "ir/parser.h"
#include "ir/printer.h"
#include "ir/text_constant.h"
#include "ir/verifier.h"
#include "ops/op_def.h"

namespace ziggurat {
namespace {

// Constants that the text names by hash, as a dump's reader has them.
void CollectConstants(const Graph& graph, std::map<uint64_t, std::shared_ptr<Constant>>& out) {
  for (const auto& value : graph.values())
    if (value->IsConstant()) out[ContentHash(*value->constant)] = value->constant;
  for (const auto& node : graph.nodes())
    for (const auto& [name, attribute] : node->attributes) {
      if (const auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) CollectConstants(**subgraph, out);
      if (const auto* tensor = std::get_if<std::shared_ptr<Constant>>(&attribute)) out[ContentHash(**tensor)] = *tensor;
    }
}

std::shared_ptr<Graph> Reparse(const Graph& graph) {
  std::map<uint64_t, std::shared_ptr<Constant>> constants;
  CollectConstants(graph, constants);
  ParseOptions options;
  options.resolver = [&](uint64_t hash, DType, const Shape&) { return constants[hash]; };
  return ParseGraph(PrintGraph(graph), options);
}

void CheckRoundTrip(std::string_view text) {
  const auto graph = ParseGraph(text);
  Verify(*graph);
  const std::string once = PrintGraph(*graph);
  const auto again = Reparse(*graph);
  Verify(*again);
  CHECK(PrintGraph(*again) == once, "\n", once, "\nbecame\n", PrintGraph(*again));
}

void CheckFails(std::string_view text, std::string_view message) {
  std::string found = "no error";
  try {
    ParseGraph(text);
  } catch (const Error& error) {
    found = error.what();
  }
  CHECK(found.find(message) != std::string::npos, "expected '", message, "', got '", found, "'");
}

}  // namespace

TEST(a_small_graph_prints_as_it_is_written) {
  const std::string text =
      "symbols b(0,0)\n"
      "graph main(%x: float32[b,3]) {\n"
      "  const @w: float32[3] = [1.0, -0.5, 1e-07]\n"
      "  %y: float32[b,3] = Add(%x, @w) \"first\"\n"
      "  %z: float32[3,b] = Transpose(%y) {perm = [1, 0]}\n"
      "  return %z as out\n"
      "}\n";
  CHECK(PrintGraph(*ParseGraph(text)) == text, PrintGraph(*ParseGraph(text)));
}

TEST(types_of_every_kind_survive_the_round_trip) {
  CheckRoundTrip(
      "graph g(%a: float32[], %b: float16[?,?], %c: int64[*], %d: sequence(float32[*]), %e: "
      "optional(sequence(int8[2])),"
      "  %f: map, %g: resource, %h: sparse float64[3,4], %i: string[n,\"a b\",2*n+1], %j: undefined[*],"
      "  %k: uint8[4,8]!affine(0,32), %l: int4[8]!subbyte, %m: float32[64]!ggml(2,32),"
      "  %n: bool[floordiv(n-1,2)+mod(n,3),max(n,4)*min(n,-1),broadcast(n,\"a b\")]) {\n"
      "  return %a, %d as \"the seq\", %n\n}");
}

TEST(constants_of_every_type_survive_the_round_trip) {
  std::string text = "graph g() {\n";
  int count = 0;
#define X(enumerator, number, bytes, name) \
  if (DType::enumerator != DType::kString) \
    text += Cat("const @c", count++, ": ", name, "[2] = hex\"", std::string(4 * bytes, '1'), "\"\n");
  ZIGGURAT_DTYPES(X)
#undef X
  text +=
      "const @f: float32[5] = [inf, -inf, -0.0, 0x7fc00123, 3.4028235e38]\n"
      "const @d: float64[2] = [0.1, 5e-324]\n"
      "const @i: int64[2] = [-9223372036854775808, 9223372036854775807]\n"
      "const @s: string[2] = [\"a\\\"b\\\\\\n\", \"\\x01\"]\n"
      "const @e: float32[0,3] = []\n"
      "const @one: int32[] = [7]\n"
      "const @t: bool[2] = [true, false]\n"
      "const @large: float32[64,3] = rand(7)\n"
      "const @full: int8[40] = fill(-3)\n"
      "return @one, @large, @s\n}";
  CheckRoundTrip(text);
}

TEST(odd_names_are_quoted) {
  CheckRoundTrip(
      "graph \"my graph\"(%\"x:0\": float32[\"dim 1\"], %/a/b.1-c$: float32[1]) {\n"
      "  %\"new\\nline\" = Add(%\"x:0\", %/a/b.1-c$) \"node \\\"7\\\"\"\n"
      "  return %\"new\\nline\" as \"out:0\"\n}");
}

TEST(random_constants_are_the_same_every_time) {
  const char* text = "graph g() { const @w: float32[4] = rand(3)\n return @w }";
  CHECK(PrintGraph(*ParseGraph(text)) == PrintGraph(*ParseGraph(text)));
  const auto graph = ParseGraph("graph g() { const @w: float32[1000] = rand(3)\n return @w }");
  const TensorView view = graph->outputs()[0]->constant->View();
  double sum = 0;
  for (int i = 0; i < 1000; ++i) {
    CHECK(view.As<float>()[i] >= -1 && view.As<float>()[i] < 1);
    sum += view.As<float>()[i];
  }
  CHECK(sum > -60 && sum < 60, sum);  // 1000 draws of deviation 0.58: 18 is one sigma
}

TEST(absent_inputs_and_outputs_keep_their_places) {
  CheckRoundTrip(
      "graph g(%x: float32[4]) {\n"
      "  const @high: float32[] = [6.0]\n"
      "  %y = Clip(%x, _, @high)\n"
      "  _, %mask = Dropout(%y)\n"
      "  return %y, %mask\n}");
}

TEST(attributes_of_every_kind_survive_the_round_trip) {
  CheckRoundTrip(
      "graph g(%x: float32[2,3], %c: bool[]) {\n"
      "  const @outer: float32[2,3] = rand(1)\n"
      "  %a = Transpose(%x) {perm = [1, 0]}\n"
      "  %b = LeakyRelu(%x) {alpha = 1}\n"
      "  %k = Constant() {value = const float32[2] = [1.0, 2.0]}\n"
      "  %l = Constant() {value_strings = [\"a\", \"b\"]}\n"
      "  %m = Constant() {value_floats = [1, 2.5]}\n"
      "  %n = Gelu(%x) {approximate = \"tanh\"}\n"
      "  %o = If(%c) {\n"
      "    then_branch = graph yes() { %t = Add(%x, @outer)\n return %t },\n"
      "    else_branch = graph no() { const @w: float32[2,3] = rand(2)\n %e = Mul(%b, @w)\n"
      "      %deep = If(%c) {then_branch = graph p() { return %e }, else_branch = graph q() { return %x }}\n"
      "      return %deep as y }\n"
      "  }\n"
      "  return %a, %k, %l, %m, %n, %o as result\n}");
}

TEST(a_written_type_must_agree_with_inference) {
  CheckFails("graph g(%x: float32[2]) {\n  %y: float32[3] = Relu(%x)\n  return %y\n}", "line 2, column 3");
  // A symbol may stand for a number, and is then believed.
  const auto graph = ParseGraph("graph g(%x: float32[n]) {\n  %y: float32[5] = Relu(%x)\n  return %y\n}");
  CHECK(graph->outputs()[0]->type.StaticShape()[0] == 5);
}

TEST(encoded_constants_survive_the_round_trip) {
  auto graph = ParseGraph(R"(graph g(%ids: int64[t]) {
  const @w: float32[2,32]!ggml(8,32) = rand(3)
  const @large: float32[3,64]!ggml(2,32) = fill(17)
  %a: float32[t,32] = zig.Embed(@w, %ids)
  %b: float32[3,64] = zig.Dequantize(@large)
  return %a as a, %b as b
})");
  Verify(*graph);
  for (const auto& value : graph->values())
    if (value->IsConstant()) {
      CHECK(value->type.encoding == value->constant->encoding() && !value->type.encoding.IsPlain());
      CHECK(value->constant->View().dtype == DType::kUint8 &&
            value->constant->View().Bytes() == value->constant->Bytes());
    }
  PrintOptions inline_all;
  inline_all.max_inline = 1000;
  const std::string text = PrintGraph(*graph, inline_all);
  CHECK(text.find("float32[2,32]!ggml(8,32) = hex\"") != std::string::npos, text);
  CHECK(PrintGraph(*ParseGraph(text), inline_all) == text);
  CHECK(PrintGraph(*Reparse(*graph)) == PrintGraph(*graph));
  // The same bytes in another encoding are another constant.
  const std::vector<uint8_t> bytes(20);
  CHECK(ContentHash(*Constant::Encoded(GgmlEncoding(3), {1, 32}, bytes.data(), 20)) !=
        ContentHash(*Constant::Copy(DType::kUint8, {1, 20}, bytes.data(), 20)));
}

TEST(errors_name_line_and_column) {
  CheckFails("grap", "line 1, column 1: expected 'graph'");
  CheckFails("graph g(%x: float32[2]) {\n  %y = Rel(%x)\n return %y }", "line 2, column 8: unknown op 'Rel'");
  CheckFails("graph g(%x: float32[2]) {\n  %y = Relu(%z)\n return %y }", "line 2, column 13: 'z' is not defined here");
  CheckFails("graph g(%x: float32[2], %x: float32[2]) { return %x }", "'x' is defined twice");
  CheckFails("graph g(%x: float33[2]) { return %x }", "line 1, column 13: unknown type 'float33'");
  CheckFails("graph g() {\n const @w: float32[3] = [1.0, 2.0]\n return @w }", "2 elements for shape [3]");
  CheckFails("graph g() {\n const @w: int8[1] = [300]\n return @w }", "does not fit");
  CheckFails("graph g() {\n const @w: float32[99] = #12ab\n return @w }", "not known");
  CheckFails("graph g() {\n const @w: float32[1000000,1000000] = rand(1)\n return @w }", "limited to");
  CheckFails("graph g() {\n const @w: float32[2,33]!ggml(2,32) = fill(0)\n return @w }", "line 2, column 12: rows of");
  CheckFails("graph g() {\n const @w: float32[2,32]!ggml(2,16) = fill(0)\n return @w }", "line 2, column 12: no");
  CheckFails("graph g() {\n const @w: float32[2,32]!ggml(9,32) = fill(0)\n return @w }", "is not understood");
  CheckFails("graph g() {\n const @w: float32[4611686018427387904,8] = rand(1)\n return @w }", "line 2");
  CheckFails("graph g(%x: float32[2]) {\n  %y = Relu(%x) {alpha = 1}\n return %y }", "line 2, column 3");
  CheckFails("graph g(%x: float32[2]) {\n  %y = Relu(%x, \n", "the end of the text");
  CheckFails("graph g(%x: float32[(((((((((((((((((((((n]) { return %x }", "nested more than");
  CheckFails("symbols n(1,0)\ngraph g(%x: float32[n]) { return %x }", "bound to a dimension that no input has");
}

// Every prefix and many damaged copies: an error, or a graph, never worse.
TEST(damaged_text_is_refused_or_parsed) {
  const std::string text =
      "symbols b(0,0)\ngraph main(%x: float32[b,3], %c: bool[]) {\n"
      "  const @w: float32[3] = [1.0, -0.5, 1e-07]\n  const @r: int8[7] = rand(9)\n"
      "  %y: float32[b,3] = Add(%x, @w) \"first\"\n"
      "  %i = If(%c) {then_branch = graph a() { return %y }, else_branch = graph b() { return %x }}\n"
      "  %z: float32[3,b] = Transpose(%y) {perm = [1, 0]}\n  return %z as out, %i\n}\n";
  int parsed = 0, refused = 0;
  auto feed = [&](const std::string& damaged) {
    try {
      Verify(*ParseGraph(damaged));
      ++parsed;
    } catch (const Error&) {
      ++refused;
    }
  };
  for (size_t length = 0; length < text.size(); ++length) feed(text.substr(0, length));
  const std::string marks = "%@#\"[](){}=,:!?*+-0x9_ \n\\";
  for (size_t i = 0; i < text.size(); ++i)
    for (char mark : marks) {
      std::string damaged = text;
      damaged[i] = mark;
      feed(damaged);
      damaged.insert(i, 1, text[(i * 7) % text.size()]);
      feed(damaged);
    }
  CHECK(refused > 5000 && parsed > 100, refused, " ", parsed);
}

TEST(canonical_text_forgets_names) {
  const auto a = ParseGraph("graph g(%x: float32[2]) { %y = Relu(%x) \"n\"\n return %y as o }");
  const auto b = ParseGraph("graph g(%u: float32[2]) { %v = Relu(%u)\n return %v as o }");
  CHECK(PrintGraph(*a, {.canonical = true}) == PrintGraph(*b, {.canonical = true}));
  CHECK(PrintGraph(*a) != PrintGraph(*b));
}

}  // namespace ziggurat
