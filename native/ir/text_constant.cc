#include "ir/text_constant.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <vector>

namespace ziggurat {
namespace {

// What a text may ask for with rand() or fill(): tests need no more, and a typing error must not eat the machine.
constexpr int64_t kMaxGenerated = int64_t{1} << 28;

uint64_t Mix(uint64_t state) {  // splitmix64's finaliser
  state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9u;
  state = (state ^ (state >> 27)) * 0x94d049bb133111ebu;
  return state ^ (state >> 31);
}

uint64_t HashBytes(uint64_t hash, const void* data, size_t bytes) {
  const char* from = static_cast<const char*>(data);
  for (; bytes >= 8; from += 8, bytes -= 8) {
    uint64_t word;
    std::memcpy(&word, from, 8);
    hash = Mix(hash + word + 0x9e3779b97f4a7c15u);
  }
  uint64_t rest = bytes;
  if (bytes) std::memcpy(&rest, from, bytes);
  return Mix(hash + rest + bytes);
}

template <typename T>
std::string PrintReal(T value) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  char digits[40];
  if (std::isnan(value)) {
    const auto end = std::to_chars(digits, digits + sizeof digits, std::bit_cast<Bits>(value), 16).ptr;
    return Cat("0x", std::string_view(digits, end - digits));
  }
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  std::string out(digits, end);
  if (out.find_first_of(".enf") == std::string::npos) out += ".0";
  return out;
}

template <typename T>
T ParseReal(Lexer& lexer) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  if (lexer.Peek().kind != TokenKind::kHex) {
    const Token at = lexer.Peek();
    const std::string digits = lexer.ExpectNumber();
    T value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size())
      Lexer::Fail(at, "'", digits, "' is not a number of ", 8 * sizeof(T), " bits");
    return value;
  }
  const Token token = lexer.Next();
  Bits bits = 0;
  const char* end = token.text.data() + token.text.size();
  if (token.text.empty() || std::from_chars(token.text.data(), end, bits, 16).ptr != end)
    Lexer::Fail(token, "0x", token.text, " has too many digits");
  return std::bit_cast<T>(bits);
}

// Calls `visit` with a null pointer of the type that holds an element; false for types without a spelling.
template <typename Visit>
bool ByType(DType dtype, Visit visit) {
  switch (dtype) {
    case DType::kFloat32:
      return visit(static_cast<float*>(nullptr)), true;
    case DType::kFloat64:
      return visit(static_cast<double*>(nullptr)), true;
    case DType::kInt64:
      return visit(static_cast<int64_t*>(nullptr)), true;
    case DType::kInt32:
      return visit(static_cast<int32_t*>(nullptr)), true;
    case DType::kInt16:
      return visit(static_cast<int16_t*>(nullptr)), true;
    case DType::kInt8:
    case DType::kInt4:
    case DType::kInt2:
      return visit(static_cast<int8_t*>(nullptr)), true;
    case DType::kUint32:
      return visit(static_cast<uint32_t*>(nullptr)), true;
    case DType::kUint16:
      return visit(static_cast<uint16_t*>(nullptr)), true;
    case DType::kUint8:
    case DType::kUint4:
    case DType::kUint2:
      return visit(static_cast<uint8_t*>(nullptr)), true;
    case DType::kBool:
      return visit(static_cast<bool*>(nullptr)), true;
    default:
      return false;
  }
}

template <typename T>
T ParseElement(Lexer& lexer) {
  if constexpr (std::is_same_v<T, bool>) {
    if (lexer.AcceptWord("true")) return true;
    if (lexer.AcceptWord("false")) return false;
    lexer.Fail("expected true or false, found ", lexer.Shown());
  } else if constexpr (std::is_floating_point_v<T>) {
    return ParseReal<T>(lexer);
  } else {
    const Token at = lexer.Peek();
    const int64_t value = lexer.ExpectInt();
    if (!std::in_range<T>(value)) Lexer::Fail(at, "integer ", value, " does not fit the element type");
    return static_cast<T>(value);
  }
}

template <typename T>
std::string PrintElement(T value) {
  if constexpr (std::is_same_v<T, bool>) return value ? "true" : "false";
  if constexpr (std::is_floating_point_v<T>) return PrintReal(value);
  return std::to_string(value);
}

std::string HexBytes(const TensorView& view) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "hex\"";
  for (size_t i = 0; i < view.Bytes(); ++i) {
    const unsigned byte = view.As<uint8_t>()[i];
    out += kDigits[byte >> 4], out += kDigits[byte & 15];
  }
  return out + '"';
}

std::shared_ptr<Constant> ParseHexBytes(Lexer& lexer, DType dtype, const Shape& shape) {
  const Token token = lexer.Expect(TokenKind::kString, "the bytes in quotes");
  std::vector<uint8_t> bytes(token.text.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char* from = token.text.data() + 2 * i;
    if (std::from_chars(from, from + 2, bytes[i], 16).ptr != from + 2)
      Lexer::Fail(token, "hexadecimal digits expected");
  }
  if (dtype == DType::kString || bytes.size() * 2 != token.text.size() || bytes.size() != DenseBytes(dtype, shape))
    Lexer::Fail(token, bytes.size(), " bytes do not make ", Name(dtype), shape);
  return Constant::Copy(dtype, shape, bytes.data(), bytes.size());
}

std::shared_ptr<Constant> ParseGenerated(Lexer& lexer, DType dtype, const Shape& shape, bool random) {
  const Token at = lexer.Peek();
  if (shape.Count() * static_cast<int64_t>(ByteSize(dtype)) > kMaxGenerated)
    Lexer::Fail(at, "a generated constant is limited to ", kMaxGenerated, " bytes");
  lexer.Expect('(');
  auto constant = Constant::Zeros(dtype, shape);
  const TensorView view = constant->View();
  const bool known = ByType(dtype, [&]<typename T>(T*) {
    uint64_t state = 0;
    T value{};
    if (random)
      state = static_cast<uint64_t>(lexer.ExpectInt());
    else
      value = ParseElement<T>(lexer);
    for (int64_t i = 0; i < view.Count(); ++i) {
      if (random) {
        const uint64_t bits = Mix(state += 0x9e3779b97f4a7c15u);
        if constexpr (std::is_floating_point_v<T>)
          value = static_cast<T>(static_cast<double>(bits >> 40) / (1 << 23) - 1);  // 24 bits: exact in float32
        else if constexpr (std::is_signed_v<T>)
          value = static_cast<T>(static_cast<int64_t>(bits >> 60) - 8);
        else
          value = static_cast<T>(std::is_same_v<T, bool> ? bits >> 63 : bits >> 60);
      }
      view.As<T>()[i] = value;
    }
  });
  if (!known) Lexer::Fail(at, "no rand() or fill() of ", Name(dtype));
  lexer.Expect(')');
  return constant;
}

std::shared_ptr<Constant> ParseStrings(Lexer& lexer, const Shape& shape) {
  const Token at = lexer.Peek();
  std::vector<std::string> values;
  lexer.Expect('[');
  while (!lexer.Accept(']')) {
    if (!values.empty()) lexer.Expect(',');
    values.push_back(lexer.Expect(TokenKind::kString, "a string").text);
  }
  if (static_cast<int64_t>(values.size()) != shape.Count())
    Lexer::Fail(at, values.size(), " elements for shape ", shape);
  return Constant::Strings(shape, std::move(values));
}

std::shared_ptr<Constant> ParseElements(Lexer& lexer, DType dtype, const Shape& shape) {
  const Token at = lexer.Peek();
  std::shared_ptr<Constant> constant;
  const bool known = ByType(dtype, [&]<typename T>(T*) {
    std::vector<T> values;
    lexer.Expect('[');
    while (!lexer.Accept(']')) {
      if (!values.empty()) lexer.Expect(',');
      values.push_back(ParseElement<T>(lexer));
    }
    if (static_cast<int64_t>(values.size()) != shape.Count())
      Lexer::Fail(at, values.size(), " elements for shape ", shape);
    constant = Constant::Zeros(dtype, shape);
    for (size_t i = 0; i < values.size(); ++i) constant->View().As<T>()[i] = values[i];
  });
  if (!known) Lexer::Fail(at, Name(dtype), " elements are written as hex\"bytes\"");
  return constant;
}

std::shared_ptr<Constant> ParseHash(Lexer& lexer, DType dtype, const Shape& shape, const ConstantResolver& resolver) {
  const Token token = lexer.Next();
  uint64_t hash = 0;
  const char* end = token.text.data() + token.text.size();
  if (token.text.empty() || std::from_chars(token.text.data(), end, hash, 16).ptr != end)
    Lexer::Fail(token, "# takes at most 16 hexadecimal digits");
  auto found = resolver ? resolver(hash, dtype, shape) : nullptr;
  if (!found) Lexer::Fail(token, "the elements of #", token.text, " are not part of the text and not known");
  return found;
}

}  // namespace

uint64_t ContentHash(const Constant& constant) {
  const TensorView view = constant.View();
  uint64_t hash = Mix(static_cast<uint64_t>(view.dtype) + 1);
  if (!constant.encoding().IsPlain()) hash = Mix(hash + static_cast<uint64_t>(constant.encoding().ggml_type));
  for (int64_t dim : view.shape) hash = HashBytes(hash, &dim, sizeof dim);
  if (view.dtype != DType::kString) return HashBytes(hash, view.data, view.Bytes());
  for (int64_t i = 0; i < view.Count(); ++i) {
    const std::string& text = view.As<std::string>()[i];
    hash = HashBytes(hash, text.data(), text.size());
  }
  return hash;
}

std::string PrintConstantData(const Constant& constant, int64_t max_inline) {
  const TensorView view = constant.View();
  const int64_t count = view.Count();
  if (count > max_inline) {
    char digits[20];
    std::snprintf(digits, sizeof digits, "#%016llx", static_cast<unsigned long long>(ContentHash(constant)));
    return digits;
  }
  std::string out = "[";
  if (view.dtype == DType::kString) {
    for (int64_t i = 0; i < count; ++i) out += Cat(i ? ", " : "", Quoted(view.As<std::string>()[i]));
    return out + ']';
  }
  const bool known = ByType(view.dtype, [&]<typename T>(T*) {
    for (int64_t i = 0; i < count; ++i) out += Cat(i ? ", " : "", PrintElement(view.As<T>()[i]));
  });
  return known && constant.encoding().IsPlain() ? out + ']' : HexBytes(view);
}

std::shared_ptr<Constant> ParseConstantData(Lexer& lexer, DType dtype, const Shape& shape,
                                            const ConstantResolver& resolver) {
  if (lexer.Peek().kind == TokenKind::kHash) return ParseHash(lexer, dtype, shape, resolver);
  if (lexer.AcceptWord("rand")) return ParseGenerated(lexer, dtype, shape, true);
  if (lexer.AcceptWord("fill")) return ParseGenerated(lexer, dtype, shape, false);
  if (lexer.AcceptWord("hex")) return ParseHexBytes(lexer, dtype, shape);
  return dtype == DType::kString ? ParseStrings(lexer, shape) : ParseElements(lexer, dtype, shape);
}

std::shared_ptr<Constant> ParseEncodedData(Lexer& lexer, const Encoding& encoding, const Shape& shape,
                                           const ConstantResolver& resolver) {
  const Token at = lexer.Peek();
  if (lexer.Peek().kind == TokenKind::kHash) {
    auto found = ParseHash(lexer, DType::kFloat32, shape, resolver);
    if (!(found->encoding() == encoding)) Lexer::Fail(at, "the constant of that hash is encoded differently");
    return found;
  }
  const auto bytes = ParseConstantData(lexer, DType::kUint8, Shape{GgmlBytes(encoding, shape)}, resolver);
  return Constant::Encoded(encoding, shape, bytes->View().data, bytes->Bytes());
}

std::string PrintFloat(float value) { return PrintReal(value); }
float ParseFloat(Lexer& lexer) { return ParseReal<float>(lexer); }

}  // namespace ziggurat
