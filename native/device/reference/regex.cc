#include "device/reference/regex.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"

namespace ziggurat::plain {

std::vector<char32_t> DecodeUtf8(std::string_view text) {
  std::vector<char32_t> points;
  for (size_t i = 0; i < text.size();) {
    const unsigned char lead = static_cast<unsigned char>(text[i]);
    const size_t more = lead >= 0xf0 && lead < 0xf8 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    char32_t point = more == 3 ? lead & 0x07 : more == 2 ? lead & 0x0f : more == 1 ? lead & 0x1f : lead;
    bool valid = lead < 0xf8 && i + more < text.size() + (more == 0);
    for (size_t k = 1; valid && k <= more; ++k) {
      const unsigned char next = static_cast<unsigned char>(text[i + k]);
      valid = (next & 0xc0) == 0x80;
      point = point << 6 | (next & 0x3f);
    }
    points.push_back(valid ? point : lead);
    i += valid ? more + 1 : 1;
  }
  return points;
}

void AppendUtf8(char32_t point, std::string& out) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((point >> shift) & 0x3f)); };
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xc0 | (point >> 6)), tail(0);
  } else if (point < 0x10000) {
    out += static_cast<char>(0xe0 | (point >> 12)), tail(6), tail(0);
  } else {
    out += static_cast<char>(0xf0 | (point >> 18)), tail(12), tail(6), tail(0);
  }
}

// Recursive descent; each part compiles to a self-contained run of instructions with relative targets.
class RegexParser {
 public:
  using Code = std::vector<Regex::Instruction>;
  explicit RegexParser(std::string_view pattern) : text_(pattern), points_(DecodeUtf8(pattern)) {}

  Code Parse() {
    Code code = Alternatives(0);
    if (at_ != points_.size()) Malformed("unmatched ')'");
    code.push_back({Regex::Op::kMatch});
    return code;
  }

 private:
  static constexpr size_t kMaxProgram = 100000;
  static constexpr int kMaxDepth = 200, kMaxRepeat = 1000;

  [[noreturn]] void Malformed(std::string_view why) const {
    throw Error(ziggurat::Code::kInvalidArgument, "regular expression '", text_, "': ", why);
  }
  [[noreturn]] void Unsupported(std::string_view what) const {
    throw Error(ziggurat::Code::kUnsupported, "regular expression '", text_, "': ", what, " is not supported");
  }
  bool More() const { return at_ < points_.size(); }
  char32_t Peek() const { return points_[at_]; }
  bool Take(char32_t point) { return More() && Peek() == point ? (++at_, true) : false; }
  char32_t Next() {
    if (!More()) Malformed("it ends too early");
    return points_[at_++];
  }

  void Append(Code& to, const Code& from) const {
    if (to.size() + from.size() > kMaxProgram) Unsupported("a pattern this large");
    to.insert(to.end(), from.begin(), from.end());
  }
  static Regex::Instruction Branch(int to, int other) { return {Regex::Op::kSplit, false, {}, to, other}; }
  static Regex::Instruction Jump(int to) { return {Regex::Op::kJump, false, {}, to, 0}; }

  Code Alternatives(int depth) {
    if (depth > kMaxDepth) Unsupported("nesting this deep");
    Code left = Sequence(depth);
    while (Take('|')) {
      const Code right = Sequence(depth);
      Code both{Branch(1, static_cast<int>(left.size()) + 2)};
      Append(both, left);
      both.push_back(Jump(static_cast<int>(right.size()) + 1));
      Append(both, right);
      left = std::move(both);
    }
    return left;
  }

  Code Sequence(int depth) {
    Code code;
    while (More() && Peek() != '|' && Peek() != ')') Append(code, Repeated(depth));
    return code;
  }

  Code Repeated(int depth) {
    Code code = Atom(depth);
    while (More()) {
      int low = 0, high = -1;
      if (Take('+'))
        low = 1;
      else if (Take('?'))
        high = 1;
      else if (!Take('*') && !Counts(low, high))
        break;
      Take('?');  // lazy: the same for a full match
      code = Repeat(code, low, high);
    }
    return code;
  }

  // {m}, {m,} or {m,n}; anything else is a literal brace.
  bool Counts(int& low, int& high) {
    if (Peek() != '{') return false;
    size_t i = at_ + 1;
    const auto number = [&](int& value) {
      const size_t start = i;
      for (value = 0; i < points_.size() && points_[i] >= '0' && points_[i] <= '9' && value <= kMaxRepeat; ++i)
        value = value * 10 + static_cast<int>(points_[i] - '0');
      return i > start;
    };
    if (!number(low)) return false;
    high = low;
    if (i < points_.size() && points_[i] == ',') {
      ++i;
      if (!number(high)) high = -1;
    }
    if (i >= points_.size() || points_[i] != '}') return false;
    if (low > kMaxRepeat || high > kMaxRepeat || (high >= 0 && high < low)) Malformed("bad repetition count");
    at_ = i + 1;
    return true;
  }

  Code Repeat(const Code& part, int low, int high) const {
    Code code;
    for (int i = 0; i < low; ++i) Append(code, part);
    const int size = static_cast<int>(part.size());
    if (high < 0) {  // L: split L+1, end; part; jump L
      code.push_back(Branch(1, size + 2));
      Append(code, part);
      code.push_back(Jump(-size - 1));
    }
    for (int i = low; i < high; ++i) {
      code.push_back(Branch(1, size + 1));
      Append(code, part);
    }
    return code;
  }

  Code Atom(int depth) {
    const char32_t point = Next();
    switch (point) {
      case '(':
        return Group(depth);
      case '[':
        return {Class()};
      case '.':
        return {{Regex::Op::kSet, true, {{'\n', '\n'}}}};
      case '^':
        return {{Regex::Op::kBegin}};
      case '$':
        return {{Regex::Op::kEnd}};
      case '*':
      case '+':
      case '?':
        Malformed("nothing to repeat");
      case '\\':
        return {Escape()};
      default:
        return {Literal(point)};
    }
  }

  Code Group(int depth) {
    if (Take('?')) {
      if (Take('P') || (More() && Peek() == '<')) {
        if (!Take('<')) Malformed("bad group");
        while (Next() != '>') {
        }
      } else if (!Take(':')) {
        Unsupported("a flag or look-around group");
      }
    }
    Code code = Alternatives(depth + 1);
    if (!Take(')')) Malformed("missing ')'");
    return code;
  }

  static Regex::Instruction Literal(char32_t point) { return {Regex::Op::kSet, false, {{point, point}}}; }

  // \d, \w, \s and their negations; false for other letters.
  static bool Named(char32_t letter, Regex::Instruction& set) {
    set = {Regex::Op::kSet};
    set.negated = letter == 'D' || letter == 'W' || letter == 'S';
    if (letter == 'd' || letter == 'D')
      set.ranges = {{'0', '9'}};
    else if (letter == 'w' || letter == 'W')
      set.ranges = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    else if (letter == 's' || letter == 'S')
      set.ranges = {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}};
    else
      return false;
    return true;
  }

  Regex::Instruction Escape() {
    const char32_t letter = Next();
    Regex::Instruction set;
    if (Named(letter, set)) return set;
    if (letter == 'b') return {Regex::Op::kWordEdge};
    if (letter == 'B') return {Regex::Op::kNotWordEdge};
    if (letter == 'A') return {Regex::Op::kBegin};
    if (letter == 'z') return {Regex::Op::kEnd};
    return Literal(EscapedPoint(letter));
  }

  char32_t EscapedPoint(char32_t letter) {
    switch (letter) {
      case 'n':
        return '\n';
      case 't':
        return '\t';
      case 'r':
        return '\r';
      case 'f':
        return '\f';
      case 'v':
        return '\v';
      case 'a':
        return '\a';
      case 'x':
        return Hex();
      default:
        if (letter < 0x80 && std::isalnum(static_cast<int>(letter))) Unsupported("an escape of this letter or digit");
        return letter;
    }
  }

  char32_t Hex() {
    const bool braces = Take('{');
    char32_t value = 0;
    for (int i = 0; braces ? !Take('}') : i < 2; ++i) {
      const char32_t digit = Next();
      if (digit >= 0x80 || !std::isxdigit(static_cast<int>(digit)) || i >= 8) Malformed("bad hexadecimal escape");
      const char32_t low = digit | 0x20;
      value = value * 16 + (low >= 'a' ? low - 'a' + 10 : digit - '0');
    }
    return value;
  }

  Regex::Instruction Class() {
    Regex::Instruction set{Regex::Op::kSet};
    set.negated = Take('^');
    for (bool first = true; first || !Take(']'); first = false) {
      char32_t low = Next();
      if (low == '[' && Take(':')) {
        Posix(set);
        continue;
      }
      if (low == '\\') {
        const char32_t letter = Next();
        Regex::Instruction named;
        if (Named(letter, named)) {
          Merge(set, named);
          continue;
        }
        low = EscapedPoint(letter);
      }
      char32_t high = low;
      if (at_ + 1 < points_.size() && Peek() == '-' && points_[at_ + 1] != ']') {
        ++at_;
        high = Next();
        if (high == '\\') high = EscapedPoint(Next());
        if (high < low) Malformed("a range out of order");
      }
      set.ranges.push_back({low, high});
    }
    return set;
  }

  // Adds a named set to a class, turned inside out where it is a negation.
  static void Merge(Regex::Instruction& set, const Regex::Instruction& named) {
    if (!named.negated) {
      set.ranges.insert(set.ranges.end(), named.ranges.begin(), named.ranges.end());
      return;
    }
    char32_t low = 0;
    for (const Regex::Range& range : named.ranges) {
      if (range.low > low) set.ranges.push_back({low, range.low - 1});
      low = range.high + 1;
    }
    set.ranges.push_back({low, 0x10ffff});
  }

  void Posix(Regex::Instruction& set) {
    std::string name;
    for (char32_t point = Next(); point != ':'; point = Next()) name += point < 0x80 ? static_cast<char>(point) : '?';
    if (!Take(']')) Malformed("bad character class name");
    const auto add = [&](std::initializer_list<Regex::Range> ranges) { set.ranges.insert(set.ranges.end(), ranges); };
    if (name == "alpha")
      add({{'A', 'Z'}, {'a', 'z'}});
    else if (name == "digit")
      add({{'0', '9'}});
    else if (name == "alnum")
      add({{'0', '9'}, {'A', 'Z'}, {'a', 'z'}});
    else if (name == "upper")
      add({{'A', 'Z'}});
    else if (name == "lower")
      add({{'a', 'z'}});
    else if (name == "space")
      add({{'\t', '\r'}, {' ', ' '}});
    else if (name == "punct")
      add({{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}});
    else if (name == "xdigit")
      add({{'0', '9'}, {'A', 'F'}, {'a', 'f'}});
    else if (name == "word")
      add({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
    else
      Unsupported("character class '" + name + "'");
  }

  std::string_view text_;
  std::vector<char32_t> points_;
  size_t at_ = 0;
};

Regex::Regex(std::string_view pattern) : program_(RegexParser(pattern).Parse()) {}

bool Regex::FullMatch(std::string_view text) const {
  const std::vector<char32_t> points = DecodeUtf8(text);
  const auto word = [&](size_t i) {
    return i < points.size() && points[i] < 0x80 && (std::isalnum(static_cast<int>(points[i])) || points[i] == '_');
  };
  std::vector<int> current, next, stack;
  std::vector<size_t> seen(program_.size(), 0);  // position + 1 at which an instruction was last entered
  const auto enter = [&](std::vector<int>& states, int start, size_t at) {
    stack.assign(1, start);
    while (!stack.empty()) {
      const int pc = stack.back();
      stack.pop_back();
      if (seen[pc] == at + 1) continue;
      seen[pc] = at + 1;
      const Instruction& in = program_[pc];
      const bool edge = (at > 0 && word(at - 1)) != word(at);
      if (in.op == Op::kSplit)
        stack.push_back(pc + in.other), stack.push_back(pc + in.to);
      else if (in.op == Op::kJump)
        stack.push_back(pc + in.to);
      else if (in.op == Op::kSet || in.op == Op::kMatch)
        states.push_back(pc);
      else if (in.op == Op::kBegin ? at == 0
               : in.op == Op::kEnd ? at == points.size()
                                   : edge == (in.op == Op::kWordEdge))
        stack.push_back(pc + 1);
    }
  };
  enter(current, 0, 0);
  for (size_t i = 0; i < points.size() && !current.empty(); ++i) {
    next.clear();
    for (int pc : current) {
      const Instruction& in = program_[pc];
      if (in.op != Op::kSet) continue;
      const bool inside = std::any_of(in.ranges.begin(), in.ranges.end(),
                                      [&](const Range& r) { return points[i] >= r.low && points[i] <= r.high; });
      if (inside != in.negated) enter(next, pc + 1, i + 1);
    }
    std::swap(current, next);
  }
  return std::any_of(current.begin(), current.end(), [&](int pc) { return program_[pc].op == Op::kMatch; });
}

}  // namespace ziggurat::plain
