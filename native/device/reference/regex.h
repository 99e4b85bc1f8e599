// Regular expressions (RE2's syntax) matched in time proportional to text times pattern: no input can make it hang.
//
// Supported: literals, '.', classes with ranges and POSIX names, \d \w \s and negations, \b, anchors, groups (named
// and non-capturing, their text is not kept), alternation, * + ? {m,n} and their lazy forms (a full match does not
// tell them apart). Text is UTF-8. Flags and Unicode properties are refused as unsupported.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ziggurat::plain {

class Regex {
 public:
  // Throws kInvalidArgument for a malformed pattern, kUnsupported for one beyond the above.
  explicit Regex(std::string_view pattern);
  bool FullMatch(std::string_view text) const;

 private:
  friend class RegexParser;
  struct Range {
    char32_t low, high;
  };
  enum class Op : uint8_t { kSet, kSplit, kJump, kBegin, kEnd, kWordEdge, kNotWordEdge, kMatch };
  struct Instruction {
    Op op;
    bool negated = false;            // kSet
    std::vector<Range> ranges = {};  // kSet
    int to = 0, other = 0;           // kSplit, kJump
  };

  std::vector<Instruction> program_;
};

// The code points of a UTF-8 text; a byte that is not part of a valid sequence stands for itself.
std::vector<char32_t> DecodeUtf8(std::string_view text);
void AppendUtf8(char32_t point, std::string& out);

}  // namespace ziggurat::plain
