#include "ir/parser.h"

#include <unordered_map>
#include <unordered_set>

#include "ir/text_lexer.h"
#include "ir/type_text.h"
#include "ir/verifier.h"
#include "ops/op_def.h"

namespace ziggurat {
namespace {

constexpr int kMaxSubgraphDepth = 16;

class Parser {
 public:
  Parser(std::string_view text, const ParseOptions& options) : lexer_(text), options_(options) {}

  std::shared_ptr<Graph> Parse() try {
    std::shared_ptr<Graph> graph;
    const Token start = lexer_.Peek();
    if (lexer_.AcceptWord("symbols")) {
      symbols_at_ = start;
      ReadSymbols();
    }
    graph = ParseGraphBody(nullptr);
    if (lexer_.Peek().kind != TokenKind::kEnd) lexer_.Fail("expected the end of the text, found ", lexer_.Shown());
    return graph;
  } catch (const Error& error) {  // of arithmetic and shapes, which know no lines
    if (error.message().starts_with("line ")) throw;
    throw Error(error.code(), "line ", lexer_.Peek().line, ", column ", lexer_.Peek().column, ": ", error.what());
  }

 private:
  using Scope = std::unordered_map<std::string, Value*>;

  void ReadSymbols();
  std::string ParseName(std::string_view what);
  std::shared_ptr<Graph> ParseGraphBody(Graph* parent);
  void ParseInputs(Graph& graph);
  void ParseConstant(Graph& graph);
  std::shared_ptr<Constant> ParseTypedConstant(Graph& graph);
  void ParseNode(Graph& graph);
  void ParseReturn(Graph& graph);
  Value* ParseUse();
  std::string Declare(const Token& token);
  Attributes ParseAttributes(Graph& graph, const OpDef& op);
  Attribute ParseAttribute(Graph& graph, const AttributeSpec* spec);
  Attribute ParseNumberAttribute(const AttributeSpec* spec);
  Attribute ParseList(AttributeKind kind);
  AttributeKind GuessList() const;
  const OpDef& ParseOp();
  void Define(const Token& token, Value* value) { scopes_.back()[token.text] = value; }

  Lexer lexer_;
  const ParseOptions& options_;
  std::vector<Scope> scopes_;
  std::unordered_set<std::string> names_;  // of all scopes: a name is unique within the outermost graph
  std::vector<Symbol> symbols_;
  Token symbols_at_;
};

void Parser::ReadSymbols() {
  std::unordered_set<std::string> seen;
  do {
    Symbol symbol;
    const Token at = lexer_.Peek();
    symbol.name = ParseName("a symbol");
    if (!seen.insert(symbol.name).second) Lexer::Fail(at, "symbol '", symbol.name, "' is listed twice");
    if (lexer_.Accept('(')) {
      symbol.input = static_cast<int>(lexer_.ExpectInt());
      lexer_.Expect(',');
      symbol.axis = static_cast<int>(lexer_.ExpectInt());
      lexer_.Expect(')');
    }
    symbols_.push_back(std::move(symbol));
  } while (lexer_.Accept(','));
}

// A word or a quoted text.
std::string Parser::ParseName(std::string_view what) {
  if (lexer_.Peek().kind == TokenKind::kString) return lexer_.Next().text;
  return lexer_.Expect(TokenKind::kWord, what).text;
}

std::shared_ptr<Graph> Parser::ParseGraphBody(Graph* parent) {
  if (scopes_.size() > kMaxSubgraphDepth) lexer_.Fail("subgraphs nested more than ", kMaxSubgraphDepth, " deep");
  if (!lexer_.AcceptWord("graph")) lexer_.Fail("expected 'graph', found ", lexer_.Shown());
  const std::string name = ParseName("the graph's name");
  auto graph = parent ? parent->NewSubgraph(name) : std::make_shared<Graph>(name);
  if (!parent)
    for (const Symbol& symbol : symbols_) graph->NamedSymbol(symbol.name, symbol.input, symbol.axis);
  scopes_.emplace_back();
  ParseInputs(*graph);
  if (!parent)
    for (const Symbol& symbol : symbols_) {
      const auto& inputs = graph->inputs();
      if (symbol.input < 0) continue;
      const bool exists = symbol.input < static_cast<int>(inputs.size()) && inputs[symbol.input]->type.HasRank() &&
                          symbol.axis >= 0 && symbol.axis < inputs[symbol.input]->type.Rank();
      if (!exists) Lexer::Fail(symbols_at_, "symbol '", symbol.name, "' is bound to a dimension that no input has");
    }
  lexer_.Expect('{');
  while (!lexer_.IsWord("return")) {
    if (lexer_.IsWord("const"))
      ParseConstant(*graph);
    else
      ParseNode(*graph);
  }
  ParseReturn(*graph);
  lexer_.Expect('}');
  scopes_.pop_back();
  return graph;
}

std::string Parser::Declare(const Token& token) {
  if (!names_.insert(token.text).second) Lexer::Fail(token, "the name '", token.text, "' is defined twice");
  return token.text;
}

void Parser::ParseInputs(Graph& graph) {
  lexer_.Expect('(');
  while (!lexer_.Accept(')')) {
    if (!graph.inputs().empty()) lexer_.Expect(',');
    const Token token = lexer_.Expect(TokenKind::kValue, "an input");
    lexer_.Expect(':');
    const int index = graph.parent() ? -1 : static_cast<int>(graph.inputs().size());
    Type type = TypeParser(lexer_, graph).ParseType(index);
    Define(token, graph.AddInput(Declare(token), std::move(type)));
  }
}

void Parser::ParseConstant(Graph& graph) {
  lexer_.Next();
  const Token token = lexer_.Expect(TokenKind::kConstant, "a constant's name");
  lexer_.Expect(':');
  Define(token, graph.AddConstant(ParseTypedConstant(graph), Declare(token)));
}

std::shared_ptr<Constant> Parser::ParseTypedConstant(Graph& graph) {
  const Type type = TypeParser(lexer_, graph).ParseConstantType();
  lexer_.Expect('=');
  if (!type.encoding.IsPlain()) return ParseEncodedData(lexer_, type.encoding, type.StaticShape(), options_.resolver);
  return ParseConstantData(lexer_, type.dtype, type.StaticShape(), options_.resolver);
}

Value* Parser::ParseUse() {
  const Token token = lexer_.Peek();
  if (lexer_.AcceptWord("_")) return nullptr;
  if (token.kind != TokenKind::kValue && token.kind != TokenKind::kConstant)
    lexer_.Fail("expected a value, found ", lexer_.Shown());
  lexer_.Next();
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
    if (auto found = scope->find(token.text); found != scope->end()) {
      if (found->second->IsConstant() != (token.kind == TokenKind::kConstant))
        Lexer::Fail(token, "'", token.text, "' is written with @ where it is a constant, with % where not");
      return found->second;
    }
  Lexer::Fail(token, "'", token.text, "' is not defined here");
}

const OpDef& Parser::ParseOp() {
  const Token token = lexer_.Expect(TokenKind::kWord, "an op");
  const size_t dot = token.text.rfind('.');
  const std::string domain = dot == std::string::npos ? "" : token.text.substr(0, dot);
  const OpDef* op = FindOp(domain, dot == std::string::npos ? token.text : token.text.substr(dot + 1));
  if (!op) Lexer::Fail(token, "unknown op '", token.text, "'");
  return *op;
}

void Parser::ParseNode(Graph& graph) {
  const Token start = lexer_.Peek();
  std::vector<Token> tokens;
  std::vector<std::optional<Type>> types;
  do {
    const bool absent = lexer_.IsWord("_");
    tokens.push_back(absent ? lexer_.Next() : lexer_.Expect(TokenKind::kValue, "a node, 'const' or 'return'"));
    types.emplace_back();
    if (!absent && lexer_.Accept(':')) types.back() = TypeParser(lexer_, graph).ParseType();
  } while (lexer_.Accept(','));
  lexer_.Expect('=');
  const OpDef& op = ParseOp();
  std::vector<Value*> inputs;
  lexer_.Expect('(');
  while (!lexer_.Accept(')')) {
    if (!inputs.empty()) lexer_.Expect(',');
    inputs.push_back(ParseUse());
  }
  Attributes attributes = ParseAttributes(graph, op);
  const std::string name = lexer_.Peek().kind == TokenKind::kString ? lexer_.Next().text : "";
  std::vector<std::string> names;
  for (const Token& token : tokens) names.push_back(token.kind == TokenKind::kValue ? Declare(token) : "-");
  try {
    const Node* node = graph.AddNode(op, std::move(inputs), std::move(attributes), std::move(names), name);
    for (size_t i = 0; i < node->outputs.size(); ++i) {
      Value* value = node->outputs[i];
      if (!value) continue;
      Define(tokens[i], value);
      if (!types[i]) continue;
      if (!Agree(value->type, *types[i]))
        Lexer::Fail(tokens[i], "'", tokens[i].text, "' is ", graph.ToString(value->type), " by inference, not ",
                    graph.ToString(*types[i]));
      value->type = *types[i];
    }
  } catch (const Error& error) {
    if (error.message().starts_with("line ")) throw;
    throw Error(error.code(), "line ", start.line, ", column ", start.column, ": ", error.what());
  }
}

void Parser::ParseReturn(Graph& graph) {
  lexer_.Next();
  if (lexer_.Is('}')) return;
  do {
    const Token token = lexer_.Peek();
    Value* value = ParseUse();
    if (!value) Lexer::Fail(token, "an output cannot be absent");
    graph.AddOutput(value, lexer_.AcceptWord("as") ? ParseName("the output's name") : token.text);
  } while (lexer_.Accept(','));
}

Attributes Parser::ParseAttributes(Graph& graph, const OpDef& op) {
  Attributes attributes;
  if (!lexer_.Accept('{')) return attributes;
  while (!lexer_.Accept('}')) {
    if (!attributes.empty()) lexer_.Expect(',');
    const Token name = lexer_.Expect(TokenKind::kWord, "an attribute");
    lexer_.Expect('=');
    if (!attributes.emplace(name.text, ParseAttribute(graph, op.FindAttribute(name.text))).second)
      Lexer::Fail(name, "attribute '", name.text, "' is given twice");
  }
  return attributes;
}

Attribute Parser::ParseAttribute(Graph& graph, const AttributeSpec* spec) {
  if (lexer_.Peek().kind == TokenKind::kString) return lexer_.Next().text;
  if (lexer_.IsWord("graph")) return ParseGraphBody(&graph);
  if (lexer_.AcceptWord("const")) return ParseTypedConstant(graph);
  if (lexer_.AcceptWord("ints")) return ParseList(AttributeKind::kInts);
  if (lexer_.AcceptWord("floats")) return ParseList(AttributeKind::kFloats);
  if (lexer_.AcceptWord("strings")) return ParseList(AttributeKind::kStrings);
  if (lexer_.Is('[')) {
    const AttributeKind kind = spec ? spec->kind : GuessList();
    const bool list = kind == AttributeKind::kInts || kind == AttributeKind::kFloats || kind == AttributeKind::kStrings;
    return ParseList(list ? kind : GuessList());
  }
  return ParseNumberAttribute(spec);
}

Attribute Parser::ParseNumberAttribute(const AttributeSpec* spec) {
  Lexer ahead = lexer_;
  ahead.Accept('-');
  const bool integer = ahead.Peek().kind == TokenKind::kInt;
  if (integer && !(spec && spec->kind == AttributeKind::kFloat)) return lexer_.ExpectInt();
  return ParseFloat(lexer_);
}

AttributeKind Parser::GuessList() const {
  Lexer ahead = lexer_;
  bool real = false;
  while (!ahead.Is(']') && ahead.Peek().kind != TokenKind::kEnd) {
    if (ahead.Peek().kind == TokenKind::kString) return AttributeKind::kStrings;
    real |= ahead.Peek().kind == TokenKind::kFloat || ahead.Peek().kind == TokenKind::kHex || ahead.IsWord("inf");
    ahead.Next();
  }
  return real ? AttributeKind::kFloats : AttributeKind::kInts;
}

Attribute Parser::ParseList(AttributeKind kind) {
  std::vector<int64_t> ints;
  std::vector<float> floats;
  std::vector<std::string> strings;
  lexer_.Expect('[');
  for (bool first = true; !lexer_.Accept(']'); first = false) {
    if (!first) lexer_.Expect(',');
    if (kind == AttributeKind::kInts) ints.push_back(lexer_.ExpectInt());
    if (kind == AttributeKind::kFloats) floats.push_back(ParseFloat(lexer_));
    if (kind == AttributeKind::kStrings) strings.push_back(lexer_.Expect(TokenKind::kString, "a string").text);
  }
  if (kind == AttributeKind::kInts) return ints;
  if (kind == AttributeKind::kFloats) return floats;
  return strings;
}

}  // namespace

std::shared_ptr<Graph> ParseGraph(std::string_view text, const ParseOptions& options) {
  return Parser(text, options).Parse();
}

}  // namespace ziggurat
