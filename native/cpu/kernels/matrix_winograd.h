// Winograd's minimal filtering of 3 x 3 windows (Lavin and Gray, "Fast algorithms for convolutional neural networks",
// 2015): an output tile of m x m values takes (m + 2)^2 multiplications a channel pair instead of 9 m^2.
//
// A block of tile rows is transformed to V[position][channel][tile], multiplied position by position with the
// transformed weights to M[position][out channel][tile], and transformed back. Every tile by itself, so that the bits
// of one do not depend on the block it is in.
#pragma once

#include <cstdint>

#include "cpu/kernels/matrix_epilogue.h"

namespace ziggurat::cpu {

struct WinogradShape {
  int tile = 4;  // m: 2 or 4
  int64_t channels = 0, out_channels = 0;
  int64_t in[2] = {0, 0}, out[2] = {0, 0}, pad[2] = {0, 0};  // pads before the data

  int Window() const { return tile + 2; }
  int Positions() const { return Window() * Window(); }
  int64_t Tiles(int axis) const { return (out[axis] + tile - 1) / tile; }
};

// Floats between two positions of V or M: rounded to a page and one cache line more, so that the positions of a tile,
// which are written together, fall into different sets of the first-level cache.
constexpr int64_t WinogradStep(int64_t channels, int64_t columns) {
  return (channels * columns + 1023) / 1024 * 1024 + 16;
}

struct WinogradArgs {
  WinogradShape shape;
  const float* input = nullptr;     // one image [channels, height, width]
  const float* weights = nullptr;   // by position, pack_a of [out_channels, channels]
  int64_t weight_step = 0;          // floats a position
  float* output = nullptr;          // of this image
  int64_t first_row = 0, rows = 0;  // tile rows of this block
  float* v = nullptr;               // [position][channel][columns], positions WinogradStep apart
  float* m = nullptr;               // [position][out channel][columns], likewise
  int64_t columns = 0;              // WinogradColumns
  Epilogue epilogue;                // rows are out channels, columns are output pixels
  float* scratch = nullptr;         // `scratch` floats, 64-byte aligned, one a thread
};

// The same of a picture whose channels come last, [height, width, channels]; blocks are runs of tiles in row-major
// order.
struct WinogradLastArgs {
  WinogradShape shape;
  const float* input = nullptr;
  const float* weights = nullptr;  // by position, pack_b of [channels, out_channels]
  int64_t weight_step = 0;         // floats a position
  float* output = nullptr;
  int64_t pixel = 0, out_pixel = 0;   // floats between two pixels of the input, and of the output
  int64_t first_tile = 0, tiles = 0;  // of this block
  float* v = nullptr;                 // [position][tile][channels], positions v_step apart
  float* m = nullptr;                 // [position][tile][out_channels], positions m_step apart
  int64_t v_step = 0, m_step = 0;     // WinogradStep
  Epilogue epilogue;                  // rows are output pixels, columns are out channels
};

struct WinogradKernels {
  // Floats a row of V and M holds: the block's tiles, and room for whole registers past them.
  int64_t (*columns)(const WinogradShape& shape, int64_t rows);
  int64_t (*scratch)(const WinogradShape& shape, int64_t rows);
  void (*transform_input)(const WinogradArgs& args, int64_t first_channel, int64_t last_channel);
  // Tiles of out channels [first_tile, last_tile), as pack_a cuts them.
  void (*multiply)(const WinogradArgs& args, int position, int64_t first_tile, int64_t last_tile);
  void (*transform_output)(const WinogradArgs& args, int64_t first_channel, int64_t last_channel);
};

}  // namespace ziggurat::cpu
