#include "ops/element_program.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace ziggurat {
namespace {

enum class Form : uint8_t {
  kReal,     // float32 operands and result
  kCompare,  // operands of one type; bool
  kLogic,    // bool operands and result
  kTest,     // float32; bool
  kSelect,   // bool and two of one type, which the result has
  kCast,     // to float32 or bool
};

struct Rule {
  std::string_view op;
  Form form;
  int least = 1, most = 1;  // operands
};

constexpr int kAnyNumber = 16;

constexpr Rule kRules[] = {
    {"Abs", Form::kReal},
    {"Acos", Form::kReal},
    {"Acosh", Form::kReal},
    {"Add", Form::kReal, 2, 2},
    {"And", Form::kLogic, 2, 2},
    {"Asin", Form::kReal},
    {"Asinh", Form::kReal},
    {"Atan", Form::kReal},
    {"Atanh", Form::kReal},
    {"Cast", Form::kCast},
    {"Ceil", Form::kReal},
    {"Celu", Form::kReal},
    {"Clip", Form::kReal, 1, 3},
    {"Cos", Form::kReal},
    {"Cosh", Form::kReal},
    {"Div", Form::kReal, 2, 2},
    {"Elu", Form::kReal},
    {"Equal", Form::kCompare, 2, 2},
    {"Erf", Form::kReal},
    {"Exp", Form::kReal},
    {"Floor", Form::kReal},
    {"Gelu", Form::kReal},
    {"Greater", Form::kCompare, 2, 2},
    {"GreaterOrEqual", Form::kCompare, 2, 2},
    {"HardSigmoid", Form::kReal},
    {"HardSwish", Form::kReal},
    {"IsInf", Form::kTest},
    {"IsNaN", Form::kTest},
    {"LeakyRelu", Form::kReal},
    {"Less", Form::kCompare, 2, 2},
    {"LessOrEqual", Form::kCompare, 2, 2},
    {"Log", Form::kReal},
    {"Max", Form::kReal, 2, kAnyNumber},
    {"Mean", Form::kReal, 2, kAnyNumber},
    {"Min", Form::kReal, 2, kAnyNumber},
    {"Mish", Form::kReal},
    {"Mod", Form::kReal, 2, 2},
    {"Mul", Form::kReal, 2, 2},
    {"Neg", Form::kReal},
    {"Not", Form::kLogic},
    {"Or", Form::kLogic, 2, 2},
    {"PRelu", Form::kReal, 2, 2},
    {"Pow", Form::kReal, 2, 2},
    {"Reciprocal", Form::kReal},
    {"Relu", Form::kReal},
    {"Round", Form::kReal},
    {"Selu", Form::kReal},
    {"Shrink", Form::kReal},
    {"Sigmoid", Form::kReal},
    {"Sign", Form::kReal},
    {"Sin", Form::kReal},
    {"Sinh", Form::kReal},
    {"Softplus", Form::kReal},
    {"Softsign", Form::kReal},
    {"Sqrt", Form::kReal},
    {"Sub", Form::kReal, 2, 2},
    {"Sum", Form::kReal, 2, kAnyNumber},
    {"SwiGLU", Form::kReal, 2, 2},
    {"Swish", Form::kReal},
    {"Tan", Form::kReal},
    {"Tanh", Form::kReal},
    {"ThresholdedRelu", Form::kReal},
    {"Where", Form::kSelect, 3, 3},
    {"Xor", Form::kLogic, 2, 2},
};

const Rule* RuleOf(const OpDef& op) {
  if (!op.domain.empty()) return nullptr;
  for (const Rule& rule : kRules)
    if (rule.op == op.name) return &rule;
  return nullptr;
}

bool IsOneOf(DType dtype, std::initializer_list<DType> types) {
  return std::find(types.begin(), types.end(), dtype) != types.end();
}

bool Comparable(DType dtype) { return IsOneOf(dtype, {DType::kFloat32, DType::kInt32, DType::kInt64}); }

// What becomes a float32 in one step.
bool CastsToFloat32(DType dtype) {
  return IsOneOf(dtype, {DType::kFloat16, DType::kBFloat16, DType::kFloat64, DType::kInt8, DType::kUint8, DType::kInt32,
                         DType::kInt64, DType::kBool});
}

template <typename... Parts>
[[noreturn]] void Fail(const Parts&... parts) {
  throw Error(Code::kInvalidModel, parts...);
}

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    if (end > at) words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

template <typename T>
T Number(std::string_view word, std::string_view instruction) {
  T value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size())
    Fail("instruction '", instruction, "': '", word, "' is no number");
  return value;
}

template <typename T>
std::string Text(T value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return std::string(text, end);
}

int ReadOperand(std::string_view word, const ElementProgram& so_far, std::string_view instruction) {
  if (word == "_") return -1;
  const bool result = word[0] == 't';
  if (!result && word[0] != 'x') Fail("instruction '", instruction, "': '", word, "' is no operand");
  const int index = Number<int>(word.substr(1), instruction);
  const int count = result ? static_cast<int>(so_far.instructions.size()) : so_far.inputs;
  if (index < 0 || index >= count) Fail("instruction '", instruction, "': there is no ", word, " before it");
  return result ? so_far.inputs + index : index;
}

Attribute ReadAttribute(const AttributeSpec& spec, std::string_view value, std::string_view instruction) {
  switch (spec.kind) {
    case AttributeKind::kInt:
      return Number<int64_t>(value, instruction);
    case AttributeKind::kFloat:
      return Number<float>(value, instruction);
    case AttributeKind::kString:
      return std::string(value);
    default:
      Fail("instruction '", instruction, "': attribute '", spec.name, "' cannot be part of one");
  }
}

ElementInstruction ReadInstruction(std::string_view text, const ElementProgram& so_far) {
  const std::vector<std::string_view> words = Words(text);
  ElementInstruction out;
  out.op = words.empty() ? nullptr : FindOp("", words[0]);
  const Rule* rule = out.op ? RuleOf(*out.op) : nullptr;
  if (!rule) Fail("instruction '", text, "' names no op of element programs");
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    if (equals == std::string_view::npos) {
      if (!out.attributes.empty()) Fail("instruction '", text, "': operands come before attributes");
      out.operands.push_back(ReadOperand(words[i], so_far, text));
      continue;
    }
    const std::string_view name = words[i].substr(0, equals);
    const AttributeSpec* spec = out.op->FindAttribute(name);
    if (!spec) Fail("instruction '", text, "': ", out.op->name, " has no attribute '", name, "'");
    out.attributes[std::string(name)] = ReadAttribute(*spec, words[i].substr(equals + 1), text);
  }
  const int count = static_cast<int>(out.operands.size());
  if (count < rule->least || count > rule->most)
    Fail("instruction '", text, "' has ", count, " operands, ", out.op->name, " takes ", rule->least,
         rule->most == rule->least ? "" : Cat(" to ", rule->most));
  for (int i = 0; i < count; ++i)
    if (out.operands[i] < 0 && !IsElementBound(*out.op, i)) Fail("instruction '", text, "': an operand is absent");
  return out;
}

}  // namespace

ElementProgram ReadElementProgram(const Node& node) {
  ElementProgram program;
  program.inputs = static_cast<int>(node.inputs.size());
  const std::vector<std::string> lines = node.Strings("program");
  if (lines.empty() || lines.size() > kMaxProgram)
    Fail("a program has 1 to ", kMaxProgram, " instructions, this one ", lines.size());
  for (const std::string& line : lines) program.instructions.push_back(ReadInstruction(line, program));
  const int count = static_cast<int>(lines.size());
  std::vector<int64_t> results = node.Ints("results");
  if (results.empty()) results = {count - 1};
  if (results.size() != node.outputs.size()) Fail(results.size(), " results for ", node.outputs.size(), " outputs");
  for (int64_t result : results) {
    if (result < 0 || result >= count) Fail("result ", result, " is none of ", count, " instructions");
    program.results.push_back(static_cast<int>(result));
  }
  return program;
}

std::string PrintInstruction(const ElementInstruction& instruction, int inputs) {
  std::string out(instruction.op->name);
  for (int operand : instruction.operands)
    out += operand < 0 ? " _" : operand < inputs ? Cat(" x", operand) : Cat(" t", operand - inputs);
  for (const auto& [name, value] : instruction.attributes) {
    out += Cat(' ', name, '=');
    if (const auto* integer = std::get_if<int64_t>(&value)) out += Text(*integer);
    if (const auto* number = std::get_if<float>(&value)) out += Text(*number);
    if (const auto* text = std::get_if<std::string>(&value)) out += *text;
  }
  return out;
}

std::optional<DType> ElementResult(const OpDef& op, std::span<const DType> operands, const Attributes& attributes) {
  const Rule* rule = RuleOf(op);
  const int count = static_cast<int>(operands.size());
  if (!rule || count < rule->least || count > rule->most) return std::nullopt;
  const auto all = [&](DType dtype) {
    return std::all_of(operands.begin(), operands.end(),
                       [&](DType operand) { return operand == dtype || operand == DType::kUndefined; });
  };
  switch (rule->form) {
    case Form::kReal:
      return all(DType::kFloat32) ? std::optional(DType::kFloat32) : std::nullopt;
    case Form::kCompare:
      return all(operands[0]) && Comparable(operands[0]) ? std::optional(DType::kBool) : std::nullopt;
    case Form::kLogic:
      return all(DType::kBool) ? std::optional(DType::kBool) : std::nullopt;
    case Form::kTest:
      return all(DType::kFloat32) ? std::optional(DType::kBool) : std::nullopt;
    case Form::kSelect:
      if (operands[0] != DType::kBool || operands[1] != operands[2]) return std::nullopt;
      return IsOneOf(operands[1], {DType::kFloat32, DType::kBool}) ? std::optional(operands[1]) : std::nullopt;
    case Form::kCast: {
      const auto to = attributes.find("to");
      if (to == attributes.end() || to->second != Attribute(static_cast<int64_t>(DType::kFloat32))) return std::nullopt;
      return CastsToFloat32(operands[0]) ? std::optional(DType::kFloat32) : std::nullopt;
    }
  }
  return std::nullopt;
}

bool KeepsFirstShape(const OpDef& op) { return op.Is("Clip") || op.Is("PRelu"); }

}  // namespace ziggurat
