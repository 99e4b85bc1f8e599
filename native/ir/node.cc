#include "ir/graph.h"
#include "ops/op_def.h"

namespace ziggurat {
namespace {

// The node's attribute, or the op's default, or `fallback`.
template <typename T>
T Read(const Node& node, std::string_view name, T fallback) {
  std::optional<Attribute> standard;
  const Attribute* attribute = nullptr;
  if (auto found = node.attributes.find(name); found != node.attributes.end()) {
    attribute = &found->second;
  } else if (const AttributeSpec* spec = node.op->FindAttribute(name)) {
    standard = spec->Default();
    if (standard) attribute = &*standard;
  }
  if (!attribute) return fallback;
  const T* value = std::get_if<T>(attribute);
  if (!value)
    throw Error(Code::kInvalidModel, "attribute ", name, " has the wrong type").AtNode(node.op->name, node.name);
  return *value;
}

}  // namespace

int64_t Node::Int(std::string_view name, int64_t fallback) const { return Read<int64_t>(*this, name, fallback); }
float Node::Float(std::string_view name, float fallback) const { return Read<float>(*this, name, fallback); }
std::string Node::String(std::string_view name, std::string_view fallback) const {
  return Read<std::string>(*this, name, std::string(fallback));
}
std::vector<int64_t> Node::Ints(std::string_view name) const { return Read<std::vector<int64_t>>(*this, name, {}); }
std::vector<float> Node::Floats(std::string_view name) const { return Read<std::vector<float>>(*this, name, {}); }
std::vector<std::string> Node::Strings(std::string_view name) const {
  return Read<std::vector<std::string>>(*this, name, {});
}
std::shared_ptr<Constant> Node::Tensor(std::string_view name) const {
  return Read<std::shared_ptr<Constant>>(*this, name, nullptr);
}
std::shared_ptr<Graph> Node::Subgraph(std::string_view name) const {
  return Read<std::shared_ptr<Graph>>(*this, name, nullptr);
}

}  // namespace ziggurat
