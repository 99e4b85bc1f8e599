// Tokens of the text form of graphs (ir/parser.h has the grammar).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace ziggurat {

enum class TokenKind : uint8_t {
  kEnd,
  kValue,     // %name
  kConstant,  // @name
  kWord,      // letters, digits, '_' and '.'
  kInt,       // digits, without a sign
  kFloat,     // digits with '.' or an exponent, without a sign
  kHex,       // 0x and hexadecimal digits; `text` is the digits
  kString,    // "text"; `text` has the escapes resolved
  kHash,      // # and hexadecimal digits; `text` is the digits
  kMark,      // one character of punctuation
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
  int column = 1;
};

// Throws kInvalidModel naming line and column, as the parser does.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) { Advance(); }

  const Token& Peek() const { return token_; }
  Token Next() {
    Token token = token_;
    Advance();
    return token;
  }
  bool Is(char mark) const { return token_.kind == TokenKind::kMark && token_.text[0] == mark; }
  bool IsWord(std::string_view word) const { return token_.kind == TokenKind::kWord && token_.text == word; }
  bool Accept(char mark) {
    const bool found = Is(mark);
    if (found) Advance();
    return found;
  }
  bool AcceptWord(std::string_view word) {
    const bool found = IsWord(word);
    if (found) Advance();
    return found;
  }
  void Expect(char mark);
  Token Expect(TokenKind kind, std::string_view what);
  // Signed numbers; the sign is a token of its own so that dimension expressions need no spaces.
  int64_t ExpectInt();
  std::string ExpectNumber();  // as std::from_chars reads it; also inf and -inf

  template <typename... Parts>
  [[noreturn]] static void Fail(const Token& at, const Parts&... parts) {
    throw Error(Code::kInvalidModel, "line ", at.line, ", column ", at.column, ": ", parts...);
  }
  template <typename... Parts>
  [[noreturn]] void Fail(const Parts&... parts) const {
    Fail(token_, parts...);
  }
  std::string Shown() const;  // the current token, for messages

 private:
  void Advance();
  void SkipBlank();
  void ReadString();
  void ReadNumber();
  char At(size_t offset = 0) const { return position_ + offset < text_.size() ? text_[position_ + offset] : '\0'; }
  char Take();

  std::string_view text_;
  size_t position_ = 0;
  int line_ = 1, column_ = 1;
  Token token_;
};

// The text in quotes, with escapes for quotes, backslashes and control characters.
std::string Quoted(std::string_view text);
// True if the name can follow % or @ without quotes.
bool IsPlainName(std::string_view name);
// True if the text is one kWord token.
bool IsWord(std::string_view text);

}  // namespace ziggurat
