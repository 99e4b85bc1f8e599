#include "ir/printer.h"

#include <set>
#include <unordered_map>
#include <unordered_set>

#include "ir/text_constant.h"
#include "ops/op_def.h"

namespace ziggurat {
namespace {

constexpr int64_t kMaxInlineAttribute = 64;

std::string PrintDim(const Graph& graph, const Dim& dim) {
  return dim.ToString([&](SymbolId id) {
    const std::string& name = graph.symbols()[id].name;
    return IsWord(name) ? name : Quoted(name);
  });
}

std::string PrintEncoding(const Encoding& encoding) {
  switch (encoding.form) {
    case Encoding::Form::kSubByte:
      return "!subbyte";
    case Encoding::Form::kAffine:
      return Cat("!affine(", encoding.axis, ',', encoding.block, ')');
    case Encoding::Form::kGgmlBlock:
      return Cat("!ggml(", encoding.ggml_type, ',', encoding.block, ')');
    case Encoding::Form::kPlain:
      break;
  }
  return "";
}

void CollectSymbols(const Type& type, std::set<SymbolId>& out) {
  if (type.shape)
    for (const Dim& dim : *type.shape) dim.CollectSymbols(out);
  if (type.element) CollectSymbols(*type.element, out);
}

class Printer {
 public:
  explicit Printer(const PrintOptions& options) : options_(options) {}

  void PrintRoot(const Graph& graph) {
    if (!options_.canonical) PrintSymbols(graph);
    PrintBody(graph, "");
    out_ += '\n';
  }
  void PrintNode(const Node& node, const std::string& indent);
  std::string Take() { return std::move(out_); }

 private:
  void PrintSymbols(const Graph& graph);
  void PrintBody(const Graph& graph, const std::string& indent);
  void PrintConstants(const Graph& graph, const std::string& indent);
  void PrintAttribute(const Attribute& attribute, const std::string& indent);
  std::string NameOf(const Value* value);
  std::string Typed(const Value* value) { return Cat(NameOf(value), ": ", PrintType(*value->graph, value->type)); }
  std::string Data(const Constant& constant, int64_t max_inline) {
    return Cat(Name(constant.dtype()), constant.shape(), PrintEncoding(constant.encoding()), " = ",
               PrintConstantData(constant, max_inline));
  }

  const PrintOptions& options_;
  std::string out_;
  std::unordered_map<const Value*, size_t> numbers_;
};

std::string Printer::NameOf(const Value* value) {
  if (!value) return "_";
  const std::string sigil = value->IsConstant() ? "@" : "%";
  if (options_.canonical) return Cat(sigil, numbers_.try_emplace(value, numbers_.size()).first->second);
  return sigil + (IsPlainName(value->name) ? value->name : Quoted(value->name));
}

void VisitTypes(const Graph& graph, std::set<SymbolId>& out) {
  for (const auto& value : graph.values()) CollectSymbols(value->type, out);
  for (const auto& node : graph.nodes())
    for (const auto& [name, attribute] : node->attributes)
      if (const auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute)) VisitTypes(**subgraph, out);
}

// The table of symbols in use, in their order: terms of a dimension are sorted by it.
void Printer::PrintSymbols(const Graph& graph) {
  std::set<SymbolId> used;
  VisitTypes(graph, used);
  for (SymbolId id : used) {
    const Symbol& symbol = graph.symbols()[id];
    out_ += Cat(id == *used.begin() ? "symbols " : ", ", IsWord(symbol.name) ? symbol.name : Quoted(symbol.name));
    if (symbol.input >= 0) out_ += Cat('(', symbol.input, ',', symbol.axis, ')');
  }
  if (!used.empty()) out_ += '\n';
}

void CollectConstants(const Graph& owner, const Graph& graph, std::unordered_set<const Value*>& seen,
                      std::vector<const Value*>& out) {
  auto visit = [&](const Value* value) {
    if (value && value->IsConstant() && value->graph == &owner && seen.insert(value).second) out.push_back(value);
  };
  for (const auto& node : graph.nodes()) {
    for (const Value* input : node->inputs) visit(input);
    for (const auto& [name, attribute] : node->attributes)
      if (const auto* subgraph = std::get_if<std::shared_ptr<Graph>>(&attribute))
        CollectConstants(owner, **subgraph, seen, out);
  }
  for (const Value* output : graph.outputs()) visit(output);
}

// In the order of first use, which does not depend on when a pass made them; unused ones last.
void Printer::PrintConstants(const Graph& graph, const std::string& indent) {
  std::vector<const Value*> constants;
  std::unordered_set<const Value*> seen;
  CollectConstants(graph, graph, seen, constants);
  if (!options_.canonical)
    for (const auto& value : graph.values())
      if (value->IsConstant() && seen.insert(value.get()).second) constants.push_back(value.get());
  for (const Value* value : constants)
    out_ += Cat(indent, "const ", NameOf(value), ": ", Data(*value->constant, options_.max_inline), '\n');
}

void Printer::PrintBody(const Graph& graph, const std::string& indent) {
  out_ += Cat("graph ", IsWord(graph.name()) ? graph.name() : Quoted(graph.name()), '(');
  for (size_t i = 0; i < graph.inputs().size(); ++i) out_ += Cat(i ? ", " : "", Typed(graph.inputs()[i]));
  out_ += ") {\n";
  const std::string deeper = indent + "  ";
  PrintConstants(graph, deeper);
  for (const auto& node : graph.nodes()) {
    out_ += deeper;
    PrintNode(*node, deeper);
    out_ += '\n';
  }
  out_ += deeper + "return";
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const std::string& name = graph.output_names()[i];
    out_ += Cat(i ? ", " : " ", NameOf(graph.outputs()[i]), " as ", IsWord(name) ? name : Quoted(name));
  }
  out_ += Cat('\n', indent, '}');
}

void Printer::PrintNode(const Node& node, const std::string& indent) {
  for (size_t i = 0; i < node.outputs.size(); ++i)
    out_ += Cat(i ? ", " : "", node.outputs[i] ? Typed(node.outputs[i]) : "_");
  out_ += Cat(" = ", node.op->domain, node.op->domain.empty() ? "" : ".", node.op->name, '(');
  for (size_t i = 0; i < node.inputs.size(); ++i) out_ += Cat(i ? ", " : "", NameOf(node.inputs[i]));
  out_ += ')';
  bool first = true;
  for (const auto& [name, attribute] : node.attributes) {
    out_ += Cat(first ? " {" : ", ", name, " = ");
    first = false;
    PrintAttribute(attribute, indent);
  }
  if (!first) out_ += '}';
  if (!options_.canonical && !node.name.empty()) out_ += ' ' + Quoted(node.name);
}

void Printer::PrintAttribute(const Attribute& attribute, const std::string& indent) {
  auto list = [&](const auto& values, const char* empty, auto print) {
    if (values.empty()) out_ += empty;  // says which kind of list it is
    out_ += '[';
    for (size_t i = 0; i < values.size(); ++i) out_ += (i ? ", " : "") + print(values[i]);
    out_ += ']';
  };
  switch (KindOf(attribute)) {
    case AttributeKind::kInt:
      out_ += std::to_string(std::get<int64_t>(attribute));
      break;
    case AttributeKind::kFloat:
      out_ += PrintFloat(std::get<float>(attribute));
      break;
    case AttributeKind::kString:
      out_ += Quoted(std::get<std::string>(attribute));
      break;
    case AttributeKind::kInts:
      list(std::get<std::vector<int64_t>>(attribute), "ints", [](int64_t v) { return std::to_string(v); });
      break;
    case AttributeKind::kFloats:
      list(std::get<std::vector<float>>(attribute), "floats", PrintFloat);
      break;
    case AttributeKind::kStrings:
      list(std::get<std::vector<std::string>>(attribute), "strings", Quoted);
      break;
    case AttributeKind::kTensor:
      out_ += "const " + Data(*std::get<std::shared_ptr<Constant>>(attribute), kMaxInlineAttribute);
      break;
    case AttributeKind::kGraph:
      PrintBody(*std::get<std::shared_ptr<Graph>>(attribute), indent);
      break;
  }
}

}  // namespace

std::string PrintType(const Graph& graph, const Type& type) {
  switch (type.kind) {
    case Kind::kSequence:
    case Kind::kOptional:
      return Cat(type.kind == Kind::kSequence ? "sequence(" : "optional(",
                 PrintType(graph, type.element ? *type.element : Type{}), ")");
    case Kind::kMap:
      return "map";
    case Kind::kResource:
      return "resource";
    case Kind::kSparse:
    case Kind::kTensor:
      break;
  }
  std::string out = Cat(type.kind == Kind::kSparse ? "sparse " : "", Name(type.dtype), '[');
  if (!type.shape) out += '*';
  for (size_t i = 0; type.shape && i < type.shape->size(); ++i)
    out += (i ? "," : "") + PrintDim(graph, (*type.shape)[i]);
  out += ']';
  return out + PrintEncoding(type.encoding);
}

std::string PrintGraph(const Graph& graph, const PrintOptions& options) {
  Printer printer(options);
  printer.PrintRoot(graph);
  return printer.Take();
}

std::string PrintNode(const Node& node) {
  const PrintOptions options;
  Printer printer(options);
  printer.PrintNode(node, "");
  return printer.Take();
}

}  // namespace ziggurat
