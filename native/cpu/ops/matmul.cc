// MatMul, Gemm and the fused product, as kernels of the matrix family.
#include "cpu/ops/fused.h"
#include "cpu/ops/gemm_kernel.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

std::unique_ptr<Kernel> MakeMatMul(KernelSite& site, const KernelTable& table) {
  GemmSpec spec;
  spec.dtype = site.node().Input(0)->type.dtype;
  if (!ComputesInFloat32(spec.dtype)) return nullptr;
  return std::make_unique<GemmKernel>(site, table, spec);
}

std::unique_ptr<Kernel> MakeGemm(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  GemmSpec spec;
  spec.dtype = node.Input(0)->type.dtype;
  if (!ComputesInFloat32(spec.dtype)) return nullptr;
  spec.transpose_a = node.Int("transA") != 0;
  spec.transpose_b = node.Int("transB") != 0;
  spec.epilogue.scale = node.Float("alpha", 1);
  spec.epilogue.residual_scale = node.Float("beta", 1);
  if (node.Input(2) && spec.epilogue.residual_scale != 0) spec.residual = 2;
  return std::make_unique<GemmKernel>(site, table, spec);
}

// True if a tensor of type `from` steps through the rows of a product of type `to` like the product itself does, or
// is one row or one element for all.
bool FitsAsResidual(const Type& from, const Type& to) {
  if (!from.HasRank() || !to.HasRank()) return false;
  if (from.shape == to.shape) return true;
  for (int i = 0; i + 1 < from.Rank(); ++i)
    if (!(*from.shape)[i].IsConst(1)) return false;
  return from.Rank() == 0 || (*from.shape)[from.Rank() - 1].IsConst(1) ||
         (*from.shape)[from.Rank() - 1] == (*to.shape)[to.Rank() - 1];
}

// A, B, bias (one a column), residual.
std::unique_ptr<Kernel> MakeFused(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  GemmSpec spec;
  spec.dtype = node.Input(0)->type.dtype;
  if (!ComputesInFloat32(spec.dtype)) return nullptr;
  spec.transpose_a = node.Int("transA") != 0;
  spec.transpose_b = node.Int("transB") != 0;
  spec.epilogue.scale = node.Float("alpha", 1);
  spec.epilogue.bias_scale = node.Float("beta", 1);
  if (!ReadActivation(node, table, spec.epilogue)) return nullptr;
  if (node.Input(2)) spec.bias = 2;
  if (node.Input(3)) {
    if (!FitsAsResidual(node.Input(3)->type, node.Output(0)->type)) return nullptr;
    spec.residual = 3;
  }
  return std::make_unique<GemmKernel>(site, table, spec);
}

constexpr KernelEntry kEntries[] = {
    {"MatMul", MakeMatMul},
    {"Gemm", MakeGemm},
    {"FusedMatMul", MakeFused, "zig"},
};

}  // namespace

std::span<const KernelEntry> MatmulKernels() { return kEntries; }

}  // namespace ziggurat::cpu
