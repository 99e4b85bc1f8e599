// Convolutions of tensors whose channels come last: what their kernels share.
#pragma once

#include <string>

#include "cpu/ops/conv_shape.h"
#include "cpu/ops/registry.h"
#include "device/apart.h"

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
};

// Reads and writes pixel by pixel.
class ConvLastBase : public Kernel, public WritesApart, public ReadsApart {
 public:
  std::string_view name() const final { return name_; }
  bool NeedsInput(int i) const final { return i != 1; }
  bool TakesApart(int input) const final { return input == 0 || input == 3; }

 protected:
  ConvLastBase(const ConvLastNode& node, std::string name) : node_(node), name_(std::move(name)) {}

  // The epilogue with the addresses of this run; its rows are output pixels.
  Epilogue Finish(const KernelContext& context) const;
  // Floats between two pixels of X and of Y.
  int64_t Pixel(const KernelContext& context) const { return InputPitch(0, Last(context.inputs[0].shape)); }
  int64_t OutPixel(const KernelContext& context) const { return RowPitch(Last(context.outputs[0].shape)); }

  ConvLastNode node_;

 private:
  static int64_t Last(const Shape& shape) { return shape[shape.rank() - 1]; }

  std::string name_;
};

// One channel in and one out a group; null for other nodes.
std::unique_ptr<Kernel> MakeDepthwiseLast(KernelSite& site, const KernelTable& table, const ConvLastNode& node);

// A 3 x 3 convolution with known extents that WinogradTile chooses; null for other nodes.
std::unique_ptr<Kernel> MakeWinogradLast(KernelSite& site, const KernelTable& table, const ConvLastNode& node);

}  // namespace ziggurat::cpu
