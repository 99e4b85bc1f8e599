#include "cpu/ops/fused.h"

#include <limits>
#include <string>

namespace ziggurat::cpu {
namespace {

struct Named {
  std::string_view name;
  UnaryOp op;
};
constexpr Named kActivations[] = {
    {"leaky_relu", UnaryOp::kLeakyRelu},
    {"sigmoid", UnaryOp::kSigmoid},
    {"hard_sigmoid", UnaryOp::kHardSigmoid},
    {"tanh", UnaryOp::kTanh},
    {"silu", UnaryOp::kSilu},
    {"swish", UnaryOp::kSwish},
    {"hard_swish", UnaryOp::kHardSwish},
    {"gelu_erf", UnaryOp::kGelu},
    {"gelu_tanh", UnaryOp::kGeluTanh},
};

}  // namespace

bool ReadActivation(const Node& node, const KernelTable& table, Epilogue& epilogue) {
  const std::string name = node.String("activation", "");
  if (name.empty()) return true;
  if (name == "relu" || name == "clip") {
    // max(0, y) and min(infinity, max(0, y)) are the same bits, of zeros and NaN too.
    epilogue.clamps = true;
    epilogue.low = name == "relu" ? 0 : node.Float("activation_alpha", 0);
    epilogue.high = name == "relu" ? std::numeric_limits<float>::infinity() : node.Float("activation_beta", 0);
    return true;
  }
  epilogue.params = {node.Float("activation_alpha", 0), node.Float("activation_beta", 0)};
  for (const Named& known : kActivations) {
    if (name != known.name) continue;
    epilogue.activation = table.vector->elementwise.unary(known.op);
    return true;
  }
  return false;
}

}  // namespace ziggurat::cpu
