// Convolution of tensors whose channels come last, [N, D, H, W, C].
//
// A product with the output pixels as rows and the out channels as columns: k = (kd, kh, kw, channel) ascending, summed
// in blocks of kKBlock as everywhere. Pixels of all images are one run of rows. Padding is multiplied, as zeros.
#pragma once

#include <cstdint>

#include "cpu/kernels/matrix_conv.h"
#include "cpu/kernels/matrix_winograd.h"

namespace ziggurat::cpu {

// One group of a convolution. Pointers are to the group's first channel of the first image.
struct ConvLastArgs {
  ConvShape shape;                   // channels and out_channels are a group's
  int64_t pixel = 0, out_pixel = 0;  // floats between two pixels of X, and of Y: at least the channels of all groups
  const float* input = nullptr;
  const float* weights = nullptr;  // pack_b of [K, out_channels]; depthwise: [taps][channels]
  float* output = nullptr;
  int64_t first_row = 0, last_row = 0;      // output pixels of this job
  int64_t first_panel = 0, last_panel = 0;  // panels of nr out channels of this job
  // Where several jobs share all rows: rows [0, packed_rows) packed by `pack`. Scratch is not needed then.
  const float* packed = nullptr;
  int64_t packed_rows = 0;
  Epilogue epilogue;         // rows are output pixels, columns are the group's out channels
  float* scratch = nullptr;  // `scratch` floats, 64-byte aligned
};

// Depthwise: one channel in and one out a group, all groups at once.
struct DepthwiseLastArgs {
  ConvShape shape;  // of one group
  int64_t channels = 0;
  int64_t pixel = 0, out_pixel = 0;  // floats between two pixels of X, and of Y
  const float* input = nullptr;
  const float* weights = nullptr;  // [taps][channels]
  float* output = nullptr;
  int64_t first_line = 0, last_line = 0;        // rows of output pixels, of all images one after the other
  int64_t first_channel = 0, last_channel = 0;  // first_channel a multiple of the lanes
  Epilogue epilogue;                            // rows are output pixels, columns are channels
};

struct LastConvKernels {
  void (*conv)(const ConvLastArgs& args);
  // Floats of scratch for a job of `rows` rows; of `pack` for all of them.
  int64_t (*scratch)(const ConvShape& shape, int64_t rows);
  // True where rows are read where they lie, so that packing them for several jobs gains nothing.
  bool (*reads_in_place)(const ConvShape& shape, int64_t pixel);
  // Tiles [first_tile, last_tile) of TileRows(args.packed_rows, mr), as pack_a would lay out the matrix of patches.
  void (*pack)(const ConvLastArgs& args, int64_t first_tile, int64_t last_tile, float* packed);
  void (*depthwise)(const DepthwiseLastArgs& args);
  // Tiles [first, last) of the block; panels of nr out channels of one position.
  void (*winograd_input)(const WinogradLastArgs& args, int64_t first, int64_t last);
  void (*winograd_multiply)(const WinogradLastArgs& args, int position, int64_t first_panel, int64_t last_panel);
  void (*winograd_output)(const WinogradLastArgs& args, int64_t first, int64_t last);
};

}  // namespace ziggurat::cpu
