// Einsum: every combination of labels is visited once, inputs are multiplied and added to the output element.
#include <algorithm>
#include <cctype>
#include <map>
#include <string>

#include "device/reference/plain.h"
#include "device/reference/walk.h"

namespace ziggurat::plain {
namespace {

// A term as labels, one a dimension. Letters stand for themselves; ellipsis dimensions are 0, 1, ... counted from
// the right, so that terms of different ellipsis rank line up as in broadcasting.
using Term = std::vector<int>;

[[noreturn]] void Malformed(const std::string& equation, const char* why) {
  throw Error(Code::kInvalidArgument, "einsum equation '", equation, "': ", why);
}

Term ParseTerm(const std::string& text, int rank, const std::string& equation) {
  int letters = 0;
  bool ellipsis = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (std::isalpha(static_cast<unsigned char>(text[i])))
      ++letters;
    else if (text.compare(i, 3, "...") == 0 && !ellipsis)
      ellipsis = true, i += 2;
    else
      Malformed(equation, "only letters and one '...' a term are allowed");
  }
  if (letters > rank || (!ellipsis && letters != rank)) Malformed(equation, "a term does not match its operand's rank");
  Term term;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '.') {
      term.push_back(text[i]);
      continue;
    }
    for (int d = rank - letters - 1; d >= 0; --d) term.push_back(d);
    i += 2;
  }
  return term;
}

struct Equation {
  std::vector<Term> inputs;
  Term output;
};

Equation Parse(const Args& args) {
  const std::string whole = args.String("equation");
  std::string text;
  for (char c : whole)
    if (c != ' ') text += c;
  const size_t arrow = text.find("->");
  const std::string left = text.substr(0, arrow);
  Equation equation;
  int ellipsis_rank = 0;
  std::map<int, int> uses;
  for (size_t start = 0, i = 0;; ++i) {
    const size_t comma = left.find(',', start);
    if (static_cast<int>(i) >= args.inputs()) Malformed(whole, "it has more terms than there are operands");
    const int rank = args.In(static_cast<int>(i)).shape.rank();
    equation.inputs.push_back(ParseTerm(left.substr(start, comma - start), rank, whole));
    for (int label : equation.inputs.back()) {
      ++uses[label];
      if (label < kMaxRank) ellipsis_rank = std::max(ellipsis_rank, label + 1);
    }
    if (comma == left.npos) break;
    start = comma + 1;
  }
  if (static_cast<int>(equation.inputs.size()) != args.inputs()) Malformed(whole, "it has fewer terms than operands");
  if (arrow != text.npos) {
    const std::string right = text.substr(arrow + 2);
    const bool ellipsis = right.find("...") != right.npos;
    const int letters = static_cast<int>(std::count_if(right.begin(), right.end(), [](char c) { return c != '.'; }));
    equation.output = ParseTerm(right, letters + (ellipsis ? ellipsis_rank : 0), whole);
    for (int label : equation.output)
      if (label >= kMaxRank && !uses.count(label)) Malformed(whole, "an output label appears in no operand");
  } else {
    for (int d = ellipsis_rank - 1; d >= 0; --d) equation.output.push_back(d);
    for (const auto& [label, count] : uses)
      if (label >= kMaxRank && count == 1) equation.output.push_back(label);
  }
  return equation;
}

// The loops: output labels first, then those summed over; per label its size and its step through each tensor.
struct Loop {
  int64_t size = 1;
  std::vector<int64_t> steps;  // inputs, then the output
};

std::vector<Loop> Plan(const Args& args, const Equation& equation) {
  std::map<int, Loop> loops;
  const size_t tensors = equation.inputs.size() + 1;
  for (size_t t = 0; t < equation.inputs.size(); ++t) {
    const Shape& shape = args.In(static_cast<int>(t)).shape;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      Loop& loop = loops[equation.inputs[t][axis]];
      loop.steps.resize(tensors);
      if (loop.size != 1 && shape[axis] != 1 && shape[axis] != loop.size)
        throw Error(Code::kInvalidArgument, "Einsum: sizes ", loop.size, " and ", shape[axis], " under one label");
      if (shape[axis] != 1) loop.size = shape[axis];
    }
  }
  for (size_t t = 0; t < equation.inputs.size(); ++t) {
    const Shape& shape = args.In(static_cast<int>(t)).shape;
    const Strides strides = ContiguousStrides(shape);
    for (int axis = 0; axis < shape.rank(); ++axis)
      if (shape[axis] != 1) loops[equation.inputs[t][axis]].steps[t] += strides[axis];
  }
  const Strides strides = ContiguousStrides(args.Out(0).shape);
  std::vector<Loop> order;
  ZIGGURAT_CHECK(static_cast<int>(equation.output.size()) == args.Out(0).shape.rank());
  for (size_t axis = 0; axis < equation.output.size(); ++axis) {
    Loop& loop = loops[equation.output[axis]];
    loop.steps.resize(tensors);
    loop.steps[tensors - 1] = strides[axis];
    ZIGGURAT_CHECK(loop.size == args.Out(0).shape[static_cast<int>(axis)]);
    order.push_back(loop);
    loops.erase(equation.output[axis]);
  }
  for (auto& [label, loop] : loops) order.push_back(loop);
  return order;
}

template <typename C>
void Run(const Args& args, const std::vector<Loop>& loops) {
  const size_t inputs = static_cast<size_t>(args.inputs());
  std::vector<std::vector<C>> x;
  for (size_t t = 0; t < inputs; ++t) x.push_back(LoadAll<C>(args.In(static_cast<int>(t))));
  std::vector<C> out(static_cast<size_t>(args.Out(0).Count()));
  for (const Loop& loop : loops)
    if (loop.size == 0) return StoreAll<C>(args.Out(0), out);
  std::vector<int64_t> at(inputs + 1), index(loops.size());
  for (;;) {
    C product{1};
    for (size_t t = 0; t < inputs; ++t) product = WrapMul(product, x[t][at[t]]);
    out[at[inputs]] = WrapAdd(out[at[inputs]], product);
    size_t l = loops.size();
    while (l > 0) {
      --l;
      const bool carry = ++index[l] == loops[l].size;
      for (size_t t = 0; t <= inputs; ++t) at[t] += loops[l].steps[t] * (carry ? 1 - loops[l].size : 1);
      if (!carry) break;
      index[l] = 0;
      if (l == 0) return StoreAll<C>(args.Out(0), out);
    }
    if (loops.empty()) return StoreAll<C>(args.Out(0), out);
  }
}

void Einsum(const Args& args) {
  const std::vector<Loop> loops = Plan(args, Parse(args));
  WithRealType(args.Out(0).dtype, [&](auto zero) { Run<decltype(zero)>(args, loops); });
}

constexpr PlainOp kOps[] = {{"Einsum", Einsum}};

}  // namespace

std::span<const PlainOp> EinsumOps() { return kOps; }

}  // namespace ziggurat::plain
