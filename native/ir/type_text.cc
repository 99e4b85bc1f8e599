#include "ir/type_text.h"

namespace ziggurat {
namespace {

// What a person writes stays far below; a text of ten thousand brackets must not exhaust the stack.
constexpr int kMaxDepth = 16;
// A product of n sums has up to 2^n terms.
constexpr int kMaxFactors = 12;

class Nested {
 public:
  Nested(int& depth, const Lexer& lexer) : depth_(depth) {
    if (++depth_ > kMaxDepth) lexer.Fail("nested more than ", kMaxDepth, " deep");
  }
  ~Nested() { --depth_; }

 private:
  int& depth_;
};

}  // namespace

Type TypeParser::ParseType(int input) {
  const Nested nested(depth_, lexer_);
  const bool sequence = lexer_.IsWord("sequence");
  if (sequence || lexer_.IsWord("optional")) {
    lexer_.Next();
    lexer_.Expect('(');
    Type element = ParseType();
    lexer_.Expect(')');
    return sequence ? Type::Sequence(std::move(element)) : Type::Optional(std::move(element));
  }
  if (lexer_.AcceptWord("resource")) return Type::Resource();
  if (lexer_.AcceptWord("map")) {
    Type type;
    type.kind = Kind::kMap;
    return type;
  }
  const bool sparse = lexer_.AcceptWord("sparse");
  Type type = ParseTensor(input);
  if (sparse) type.kind = Kind::kSparse;
  return type;
}

DType TypeParser::ParseDType() {
  const Token token = lexer_.Expect(TokenKind::kWord, "a type");
  if (token.text == "undefined") return DType::kUndefined;
  const auto dtype = DTypeFromName(token.text);
  if (!dtype) Lexer::Fail(token, "unknown type '", token.text, "'");
  return *dtype;
}

Type TypeParser::ParseTensor(int input) {
  Type type;
  type.dtype = ParseDType();
  lexer_.Expect('[');
  if (lexer_.Accept('*')) {
    lexer_.Expect(']');
  } else {
    type.shape.emplace();
    while (!lexer_.Accept(']')) {
      if (!type.shape->empty()) lexer_.Expect(',');
      if (type.Rank() == kMaxRank) lexer_.Fail("rank above ", kMaxRank, " is not supported");
      type.shape->push_back(ParseInputDim(input, type.Rank()));
    }
  }
  if (lexer_.Accept('!')) type.encoding = ParseEncoding();
  return type;
}

Encoding TypeParser::ParseEncoding() {
  Encoding encoding;
  const Token form = lexer_.Expect(TokenKind::kWord, "an encoding");
  if (form.text == "subbyte") {
    encoding.form = Encoding::Form::kSubByte;
    return encoding;
  }
  if (form.text != "affine" && form.text != "ggml") Lexer::Fail(form, "unknown encoding '", form.text, "'");
  lexer_.Expect('(');
  const int first = static_cast<int>(lexer_.ExpectInt());
  lexer_.Expect(',');
  encoding.block = lexer_.ExpectInt();
  lexer_.Expect(')');
  const bool affine = form.text == "affine";
  encoding.form = affine ? Encoding::Form::kAffine : Encoding::Form::kGgmlBlock;
  (affine ? encoding.axis : encoding.ggml_type) = first;
  return encoding;
}

Dim TypeParser::ParseInputDim(int input, int axis) {
  if (lexer_.Accept('?')) return graph_.NewSymbol("dim", input, input < 0 ? -1 : axis);
  const TokenKind kind = lexer_.Peek().kind;
  if (input >= 0 && (kind == TokenKind::kWord || kind == TokenKind::kString)) {
    Lexer ahead = lexer_;
    const std::string name = ahead.Next().text;
    if (ahead.Is(',') || ahead.Is(']')) {  // a symbol alone: its value is read from this dimension
      lexer_.Next();
      return graph_.NamedSymbol(name, input, axis);
    }
  }
  return ParseDim();
}

Dim TypeParser::ParseDim() {
  const Nested nested(depth_, lexer_);
  Dim sum = ParseProduct();
  while (lexer_.Is('+') || lexer_.Is('-')) {
    const bool minus = lexer_.Next().text == "-";
    const Dim term = ParseProduct();
    sum = minus ? sum - term : sum + term;
  }
  return sum;
}

Dim TypeParser::ParseProduct() {
  Dim product = ParseFactor();
  for (int factors = 1; lexer_.Accept('*'); ++factors) {
    if (factors == kMaxFactors) lexer_.Fail("a product of more than ", kMaxFactors, " factors");
    product = product * ParseFactor();
  }
  return product;
}

Dim TypeParser::ParseFactor() {
  const Nested nested(depth_, lexer_);
  if (lexer_.Peek().kind == TokenKind::kInt) return lexer_.ExpectInt();
  if (lexer_.Is('-')) {
    Lexer ahead = lexer_;
    ahead.Next();
    if (ahead.Peek().kind == TokenKind::kInt) return lexer_.ExpectInt();
    lexer_.Next();
    return Dim(0) - ParseFactor();
  }
  if (lexer_.Accept('(')) {
    const Dim inner = ParseDim();
    lexer_.Expect(')');
    return inner;
  }
  const bool word = lexer_.Peek().kind == TokenKind::kWord;
  if (!word && lexer_.Peek().kind != TokenKind::kString) lexer_.Fail("expected a dimension, found ", lexer_.Shown());
  const Token token = lexer_.Next();
  if (word && lexer_.Is('(')) return ParseFunction(token);
  return graph_.NamedSymbol(token.text, -1, -1);
}

Dim TypeParser::ParseFunction(const Token& name) {
  lexer_.Expect('(');
  const Dim a = ParseDim();
  lexer_.Expect(',');
  const Dim b = ParseDim();
  lexer_.Expect(')');
  if (name.text == "floordiv") return FloorDiv(a, b);
  if (name.text == "mod") return Mod(a, b);
  if (name.text == "max") return Max(a, b);
  if (name.text == "min") return Min(a, b);
  if (name.text == "broadcast") return Broadcast(a, b);
  Lexer::Fail(name, "unknown function '", name.text, "' of dimensions");
}

Type TypeParser::ParseConstantType() {
  const Token at = lexer_.Peek();
  Type type = ParseTensor(-1);
  if (!type.IsStatic() || type.dtype == DType::kUndefined) Lexer::Fail(at, "a constant has a type and a known shape");
  const Shape shape = type.StaticShape();
  for (int64_t dim : shape)
    if (dim < 0) Lexer::Fail(at, "a constant has no negative dimension");
  shape.Count();  // overflow is refused here, before anything is allocated
  if (type.encoding.IsPlain()) return type;
  try {
    if (type.dtype != DType::kFloat32 || !(type.encoding == GgmlEncoding(type.encoding.ggml_type)))
      Lexer::Fail(at, "no constant is encoded so");
    GgmlBytes(type.encoding, shape);
  } catch (const Error& error) {
    Lexer::Fail(at, error.message());
  }
  return type;
}

}  // namespace ziggurat
