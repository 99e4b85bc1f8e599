// Sizes of convolutions and pools, with numbers and with symbols.
#include "ops/build.h"

using namespace ziggurat;
using namespace ziggurat::test;

namespace {
using List = std::vector<int64_t>;
}

TEST(convolution_sizes) {
  Build b;
  Value* x = b.In("x", {"batch", "3", "224", "224"});
  Value* w = b.In("w", {"64", "3", "7", "7"});
  CHECK_TYPE(b, b.Op("Conv", {x, w}, {{"pads", List{3, 3, 3, 3}}, {"strides", List{2, 2}}}),
             "float32[batch,64,112,112]");
  CHECK_TYPE(b, b.Op("Conv", {x, w}, {{"auto_pad", "SAME_UPPER"}, {"strides", List{2, 2}}}),
             "float32[batch,64,112,112]");
  CHECK_TYPE(b, b.Op("Conv", {x, w}, {{"auto_pad", "VALID"}}), "float32[batch,64,218,218]");
  CHECK_TYPE(b, b.Op("Conv", {x, w}, {{"dilations", List{2, 2}}}), "float32[batch,64,212,212]");
  Value* free = b.In("f", {"batch", "3", "h", "w"});
  CHECK_TYPE(b, b.Op("Conv", {free, w}, {{"pads", List{3, 3, 3, 3}}, {"strides", List{1, 1}}}),
             "float32[batch,64,h,w]");
}

TEST(convolution_refuses_mismatches) {
  Build b;
  Value* x = b.In("x", {"1", "4", "5", "5"});
  CHECK_FAILS(b.Op("Conv", {x, b.In("w1", {"8", "3", "3", "3"})}), "input channels and the weight's channels");
  CHECK_FAILS(b.Op("Conv", {x, b.In("w2", {"8", "4", "7", "7"})}), "a window of 7 does not fit into 5");
  CHECK_FAILS(b.Op("Conv", {x, b.In("w3", {"9", "2", "3", "3"})}, {{"group", int64_t{2}}}), "do not divide into 2");
  CHECK_FAILS(b.Op("Conv", {x, b.In("w4", {"8", "4", "3"})}), "input has rank 4 and weight 3");
  Value* w = b.In("w5", {"8", "4", "3", "3"});
  CHECK_FAILS(b.Op("Conv", {x, w}, {{"pads", List{1, 1}}}), "pads has 2 values, expected 4");
  CHECK_FAILS(b.Op("Conv", {x, w}, {{"strides", List{0, 1}}}), "strides holds 0");
  CHECK_FAILS(b.Op("Conv", {x, w, b.In("b", {"7"})}), "output channels and bias length are 8 and 7");
}

TEST(pool_sizes_round_up_only_to_windows_that_start_inside) {
  Build b;
  Value* x = b.In("x", {"1", "1", "4", "5"});
  const Attributes ceil = {{"kernel_shape", List{3, 3}}, {"strides", List{2, 2}}, {"ceil_mode", int64_t{1}}};
  CHECK_TYPE(b, b.Op("MaxPool", {x}, ceil), "float32[1,1,2,2]");
  // Without the rule the third window of 2 would start at 4, in the padding.
  CHECK_TYPE(b,
             b.Op("MaxPool", {b.In("y", {"1", "1", "4"})},
                  {{"kernel_shape", List{1}}, {"strides", List{2}}, {"pads", List{0, 1}}, {"ceil_mode", int64_t{1}}}),
             "float32[1,1,2]");
  CHECK_TYPE(b, b.Op("GlobalAveragePool", {b.In("z", {"n", "c", "h", "w"})}), "float32[n,c,1,1]");
}

TEST(transposed_convolution_sizes) {
  Build b;
  Value* x = b.In("x", {"n", "8", "h", "3"});
  Value* w = b.In("w", {"8", "4", "3", "3"});
  CHECK_TYPE(b, b.Op("ConvTranspose", {x, w}, {{"strides", List{2, 2}}}), "float32[n,4,1+2*h,7]");
  CHECK_TYPE(b, b.Op("ConvTranspose", {x, w}, {{"strides", List{3, 2}}, {"output_shape", List{10, 8}}}),
             "float32[n,4,10,8]");
}

TEST(products_of_matrices) {
  Build b;
  Value* a = b.In("a", {"n", "1", "2", "3"});
  CHECK_TYPE(b, b.Op("MatMul", {a, b.In("b", {"5", "3", "m"})}), "float32[n,5,2,m]");
  CHECK_TYPE(b, b.Op("MatMul", {a, b.In("v", {"3"})}), "float32[n,1,2]");
  CHECK_FAILS(b.Op("MatMul", {a, b.In("w", {"4", "3"})}), "inner dimensions are 3 and 4, must be equal");
  Value* p = b.In("p", {"k", "m2"});
  CHECK_TYPE(b, b.Op("Gemm", {p, b.In("q", {"8", "k"})}, {{"transA", int64_t{1}}, {"transB", int64_t{1}}}),
             "float32[m2,8]");
}

TEST(channels_may_come_last) {
  Build b;
  Value* x = b.In("x", {"batch", "h", "20", "6"});
  Value* w = b.In("w", {"8", "3", "3", "5"});
  const Attributes conv = {{"channels_last", int64_t{1}}, {"group", int64_t{2}}, {"strides", List{1, 2}}};
  CHECK_TYPE(b, b.Op("FusedConv", {x, w}, conv, "zig"), "float32[batch,-2+h,8,8]");
  CHECK_TYPE(b, b.Op("ChannelsLastPool", {x}, {{"kind", "max"}, {"kernel_shape", List{1, 5}}}, "zig"),
             "float32[batch,h,16,6]");
  CHECK_TYPE(
      b,
      b.Op("ChannelsLastPool", {b.In("f", {"n", "7", "3"})}, {{"kind", "average"}, {"kernel_shape", List{2}}}, "zig"),
      "float32[n,6,3]");
  CHECK_TYPE(b, b.Op("ChannelsLastLRN", {x}, {{"size", int64_t{5}}}, "zig"), "float32[batch,h,20,6]");
}

TEST(channels_that_come_last_are_checked_there) {
  Build b;
  Value* x = b.In("x", {"1", "4", "5", "6"});
  Value* w = b.In("w", {"8", "4", "3", "3"});
  const Attributes conv = {{"channels_last", int64_t{1}}};
  CHECK_FAILS(b.Op("FusedConv", {x, w}, conv, "zig"), "input channels and the weight's channels");
  Value* v = b.In("v", {"8", "6", "3", "3"});
  CHECK_FAILS(b.Op("FusedConv", {x, v, nullptr, b.In("r", {"1", "8", "2", "3"})}, conv, "zig"),
              "of output and residual");
  CHECK_FAILS(b.Op("ChannelsLastPool", {x}, {{"kind", "sum"}, {"kernel_shape", List{1, 5}}}, "zig"),
              "attribute 'kind' is 'sum'");
  CHECK_FAILS(b.Op("ChannelsLastPool", {x}, {{"kind", "max"}, {"kernel_shape", List{1, 6}}}, "zig"),
              "a window of 6 does not fit into 5");
  CHECK_FAILS(b.Op("Conv", {x, v}, conv), "has no attribute 'channels_last'");
}
