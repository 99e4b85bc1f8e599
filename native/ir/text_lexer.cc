#include "ir/text_lexer.h"

#include <algorithm>
#include <charconv>

namespace ziggurat {
namespace {

// Own tests of characters: those of <cctype> depend on the locale and on the sign of char.
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHexDigit(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f'); }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsWordChar(char c) { return IsLetter(c) || IsDigit(c) || c == '.'; }
bool IsNameChar(char c) { return IsWordChar(c) || c == '/' || c == '$' || c == '-'; }

constexpr char kHexDigits[] = "0123456789abcdef";

int HexValue(char c) { return IsDigit(c) ? c - '0' : c - 'a' + 10; }

}  // namespace

char Lexer::Take() {
  const char c = At();
  ++position_, ++column_;
  if (c == '\n') ++line_, column_ = 1;
  return c;
}

void Lexer::SkipBlank() {
  while (position_ < text_.size()) {
    if (At() == ' ' || At() == '\t' || At() == '\r' || At() == '\n') {
      Take();
    } else if (At() == '/' && At(1) == '/') {
      while (position_ < text_.size() && At() != '\n') Take();
    } else {
      return;
    }
  }
}

void Lexer::ReadString() {
  Take();
  while (true) {
    if (position_ >= text_.size()) Fail("the text ends inside a string");
    char c = Take();
    if (c == '"') return;
    if (c == '\\') {
      c = Take();
      if (c == 'n') {
        c = '\n';
      } else if (c == 'x') {
        const char high = Take(), low = Take();
        if (!IsHexDigit(high) || !IsHexDigit(low)) Fail("\\x takes two hexadecimal digits");
        c = static_cast<char>(HexValue(high) * 16 + HexValue(low));
      } else if (c != '"' && c != '\\') {
        Fail("unknown escape in a string");
      }
    }
    token_.text += c;
  }
}

void Lexer::ReadNumber() {
  if (At() == '0' && At(1) == 'x') {
    Take(), Take();
    token_.kind = TokenKind::kHex;
    while (IsHexDigit(At())) token_.text += Take();
    return;
  }
  token_.kind = TokenKind::kInt;
  while (IsDigit(At())) token_.text += Take();
  if (At() == '.') {
    token_.kind = TokenKind::kFloat;
    token_.text += Take();
    while (IsDigit(At())) token_.text += Take();
  }
  if (At() == 'e' || At() == 'E') {
    token_.kind = TokenKind::kFloat;
    token_.text += Take();
    if (At() == '-' || At() == '+') token_.text += Take();
    while (IsDigit(At())) token_.text += Take();
  }
}

void Lexer::Advance() {
  SkipBlank();
  token_ = Token{TokenKind::kEnd, "", line_, column_};
  if (position_ >= text_.size()) return;
  const char c = At();
  if (c == '%' || c == '@') {
    token_.kind = c == '%' ? TokenKind::kValue : TokenKind::kConstant;
    Take();
    if (At() == '"') {
      ReadString();
    } else {
      while (IsNameChar(At())) token_.text += Take();
    }
    if (token_.text.empty()) Fail("a name is missing after '", c, "'");
  } else if (c == '"') {
    token_.kind = TokenKind::kString;
    ReadString();
  } else if (c == '#') {
    token_.kind = TokenKind::kHash;
    Take();
    while (IsHexDigit(At())) token_.text += Take();
  } else if (IsDigit(c)) {
    ReadNumber();
  } else if (IsLetter(c)) {
    token_.kind = TokenKind::kWord;
    while (IsWordChar(At())) token_.text += Take();
  } else {
    token_.kind = TokenKind::kMark;
    token_.text = Take();
  }
}

std::string Lexer::Shown() const {
  if (token_.kind == TokenKind::kEnd) return "the end of the text";
  if (token_.kind == TokenKind::kValue) return Cat("'%", token_.text, "'");
  if (token_.kind == TokenKind::kConstant) return Cat("'@", token_.text, "'");
  return Cat("'", token_.text, "'");
}

void Lexer::Expect(char mark) {
  if (!Accept(mark)) Fail("expected '", mark, "', found ", Shown());
}

Token Lexer::Expect(TokenKind kind, std::string_view what) {
  if (token_.kind != kind) Fail("expected ", what, ", found ", Shown());
  return Next();
}

int64_t Lexer::ExpectInt() {
  const Token at = token_;
  std::string digits = Accept('-') ? "-" : "";
  digits += Expect(TokenKind::kInt, "an integer").text;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) Fail(at, "integer ", digits, " exceeds 64 bits");
  return value;
}

std::string Lexer::ExpectNumber() {
  const std::string sign = Accept('-') ? "-" : "";
  if (AcceptWord("inf")) return sign + "inf";
  if (token_.kind != TokenKind::kInt && token_.kind != TokenKind::kFloat) Fail("expected a number, found ", Shown());
  return sign + Next().text;
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\', out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += Cat("\\x", kHexDigits[c >> 4 & 15], kHexDigits[c & 15]);
    } else {
      out += c;
    }
  }
  return out + '"';
}

bool IsPlainName(std::string_view name) { return !name.empty() && std::all_of(name.begin(), name.end(), IsNameChar); }

bool IsWord(std::string_view text) {
  return !text.empty() && IsLetter(text[0]) && std::all_of(text.begin(), text.end(), IsWordChar);
}

}  // namespace ziggurat
