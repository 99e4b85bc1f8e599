// 3 x 3 convolutions by Winograd's minimal filtering, where it saves more than it costs.
#pragma once

#include "cpu/ops/conv_shape.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {

// The tile size m of F(m, 3), or 0 for the direct sum. A pure function of the layer: its channels, its picture's
// extents and the width of the instruction set's registers, so that equal plans compute equal bits.
int WinogradTile(const ConvShape& shape, int64_t lanes);

// u[position] = G g G^T of a 3 x 3 weight, positions `step` apart: in float64, rounded once.
void TransformWinogradWeights(const float* g, int tile, float* u, int64_t step);

// A kernel for a float32 node with known extents and constant weights that WinogradTile chooses; else null.
std::unique_ptr<Kernel> MakeWinograd(KernelSite& site, const KernelTable& table, const ConvNode& conv,
                                     const Epilogue& epilogue);

}  // namespace ziggurat::cpu
