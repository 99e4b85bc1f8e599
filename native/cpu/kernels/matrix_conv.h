// Convolution of one image: shapes and what a job computes.
#pragma once

#include <cstdint>

#include "cpu/kernels/matrix_epilogue.h"

namespace ziggurat::cpu {

// One group of one image: input [channels, D, H, W], weights [out_channels, channels, kd, kh, kw], output
// [out_channels, OD, OH, OW]. 1-D and 2-D convolutions have leading extents of 1. Pads are those before the data;
// what is needed after it follows from the output's extents.
struct ConvShape {
  int64_t channels = 0, out_channels = 0;
  int64_t in[3] = {1, 1, 1}, kernel[3] = {1, 1, 1}, out[3] = {1, 1, 1};
  int64_t stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1}, pad[3] = {0, 0, 0};

  int64_t InPixels() const { return in[0] * in[1] * in[2]; }
  int64_t OutPixels() const { return out[0] * out[1] * out[2]; }
  int64_t K() const { return channels * kernel[0] * kernel[1] * kernel[2]; }
};

struct ConvArgs {
  ConvShape shape;
  const float* input = nullptr;             // of this image and group
  const float* weights = nullptr;           // pack_a of [out_channels, K]; depthwise: of one row
  float* output = nullptr;                  // of this image and group
  int64_t first_pixel = 0, last_pixel = 0;  // output pixels of this job, in row-major order (depthwise: all)
  int64_t first_tile = 0, last_tile = 0;    // tiles of out_channels (depthwise: channels)
  Epilogue epilogue;                        // rows are out_channels, columns are output pixels
  float* scratch = nullptr;                 // conv_scratch floats, 64-byte aligned
};

// Y = the sum of products where they land: shape.in are the positions of X, products are [out_channels, taps, X
// positions]; taps are added in ascending order.
struct FoldArgs {
  ConvShape shape;
  const float* products = nullptr;
  float* output = nullptr;
  Epilogue epilogue;
};

}  // namespace ziggurat::cpu
