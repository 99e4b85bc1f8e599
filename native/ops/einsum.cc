#include "ops/einsum.h"

#include <algorithm>
#include <map>

#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

[[noreturn]] void Malformed(std::string_view text, std::string_view why) {
  throw Error(Code::kInvalidModel, "equation '", text, "': ", why);
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string ParseTerm(std::string_view text, std::string_view term) {
  std::string out;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term[i] == ' ') continue;
    if (IsLetter(term[i])) {
      out += term[i];
    } else if (term.substr(i, 3) == "...") {
      if (out.find('.') != std::string::npos) Malformed(text, "a term has two ellipses");
      out += '.';
      i += 2;
    } else {
      Malformed(text, Cat("unexpected '", term[i], "'"));
    }
  }
  return out;
}

std::string ImplicitResult(const std::vector<std::string>& operands) {
  std::map<char, int> counts;  // ordered as ASCII is: capitals first
  for (const std::string& term : operands)
    for (char letter : term) ++counts[letter];
  std::string out;
  if (counts.count('.')) out += '.';
  for (const auto& [letter, count] : counts)
    if (letter != '.' && count == 1) out += letter;
  return out;
}

void InferEinsum(InferContext& c) {
  const EinsumEquation equation = EinsumEquation::Parse(c.node().String("equation"));
  if (static_cast<int>(equation.operands.size()) != c.num_inputs())
    c.Fail("the equation has ", equation.operands.size(), " terms, the node ", c.num_inputs(), " inputs");
  std::map<char, Dim> sizes;
  std::vector<Dim> ellipsis;
  for (int i = 0; i < c.num_inputs(); ++i) {
    if (!c.HasRank(i)) return c.SetUnranked(0, c.InputDType(0));
    const std::string& term = equation.operands[i];
    const auto& shape = c.InputShape(i);
    const bool open = term.find('.') != std::string::npos;
    const size_t letters = term.size() - (open ? 1 : 0);
    if (open ? shape.size() < letters : shape.size() != letters)
      c.Fail("input ", i, " has rank ", shape.size(), ", its term names ", letters, " axes");
    size_t axis = 0;
    for (char letter : term) {
      if (letter == '.') {
        const size_t hidden = shape.size() - letters;
        ellipsis = c.BroadcastShapes(ellipsis, {shape.begin() + axis, shape.begin() + axis + hidden});
        axis += hidden;
        continue;
      }
      const auto [found, fresh] = sizes.try_emplace(letter, shape[axis]);
      // A dimension of 1 is stretched, as in NumPy.
      if (!fresh) found->second = c.BroadcastShapes({found->second}, {shape[axis]})[0];
      ++axis;
    }
  }
  std::vector<Dim> out;
  for (char letter : equation.result) {
    if (letter == '.')
      out.insert(out.end(), ellipsis.begin(), ellipsis.end());
    else
      out.push_back(sizes.at(letter));
  }
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

}  // namespace

EinsumEquation EinsumEquation::Parse(std::string_view text) {
  EinsumEquation out;
  const size_t arrow = text.find("->");
  std::string_view left = text.substr(0, arrow);
  while (true) {
    const size_t comma = left.find(',');
    out.operands.push_back(ParseTerm(text, left.substr(0, comma)));
    if (comma == std::string_view::npos) break;
    left.remove_prefix(comma + 1);
  }
  out.result = arrow == std::string_view::npos ? ImplicitResult(out.operands) : ParseTerm(text, text.substr(arrow + 2));
  for (size_t i = 0; i < out.result.size(); ++i) {
    const char letter = out.result[i];
    if (out.result.find(letter, i + 1) != std::string::npos) Malformed(text, "the result names an axis twice");
    const bool known = std::any_of(out.operands.begin(), out.operands.end(),
                                   [&](const std::string& term) { return term.find(letter) != std::string::npos; });
    if (!known && letter != '.') Malformed(text, Cat("the result names '", letter, "', which no term has"));
  }
  return out;
}

constexpr OpDef kOp_Einsum = {
    .name = "Einsum",
    .inputs = {{"Inputs", kNumbers, 'T', Param::kMany}},
    .attributes = {attr::Required(attr::String("equation"))},
    .infer = InferEinsum,
};

}  // namespace ziggurat
