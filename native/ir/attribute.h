// Attribute values of a node. The alternatives' order is also the order of AttributeKind.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "ir/constant.h"

namespace ziggurat {

class Graph;

enum class AttributeKind : uint8_t { kInt, kFloat, kString, kInts, kFloats, kStrings, kTensor, kGraph };

using Attribute = std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>,
                               std::vector<std::string>, std::shared_ptr<Constant>, std::shared_ptr<Graph>>;

inline AttributeKind KindOf(const Attribute& attribute) { return static_cast<AttributeKind>(attribute.index()); }

using Attributes = std::map<std::string, Attribute, std::less<>>;

}  // namespace ziggurat
