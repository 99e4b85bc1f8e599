// Convolutions of tensors whose channels come last: what their kernels share.
#pragma once

#include "cpu/ops/conv_shape.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {

// A node as typed: zig.FusedConv of float32 with channels_last and constant weights.
struct ConvLastNode {
  ConvNode conv;
  Epilogue epilogue;
  Shape weights;  // [O, I/group, kernel...]
  bool has_residual = false;

  // Of one group, for a run's shapes [N, spatial..., C].
  ConvShape Resolve(const Shape& input, const Shape& output) const;
  int64_t Taps() const { return weights.Count(2, weights.rank()); }
  // The epilogue with the addresses of this run; its rows are output pixels.
  Epilogue Finish(const KernelContext& context) const;
};

// One channel in and one out a group; null for other nodes.
std::unique_ptr<Kernel> MakeDepthwiseLast(KernelSite& site, const KernelTable& table, const ConvLastNode& node);

// A 3 x 3 convolution with known extents that WinogradTile chooses; null for other nodes.
std::unique_ptr<Kernel> MakeWinogradLast(KernelSite& site, const KernelTable& table, const ConvLastNode& node);

}  // namespace ziggurat::cpu
