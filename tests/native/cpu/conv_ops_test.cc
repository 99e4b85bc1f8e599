#include <cmath>

#include "check.h"
#include "cpu/op_harness.h"
#include "cpu/ops/conv_winograd.h"
#include "device/registry.h"
#include "tensor/half.h"

namespace ziggurat::test {
namespace {

struct ConvCase {
  Shape x, w;
  std::vector<int64_t> strides, dilations, pads;  // empty: ONNX's defaults
  int64_t group = 1;
  std::string auto_pad = "NOTSET";
};

Attributes AttributesOf(const ConvCase& c) {
  Attributes attributes = {{"group", c.group}, {"auto_pad", c.auto_pad}};
  if (!c.strides.empty()) attributes["strides"] = c.strides;
  if (!c.dilations.empty()) attributes["dilations"] = c.dilations;
  if (!c.pads.empty()) attributes["pads"] = c.pads;
  return attributes;
}

// The definition, in float64, for up to three spatial axes. `out` is what inference found.
std::vector<double> Reference(const ConvCase& c, const HostTensor& x, const HostTensor& w, const Shape& out) {
  const int axes = c.x.rank() - 2;
  int64_t in[3] = {1, 1, 1}, k[3] = {1, 1, 1}, o[3] = {1, 1, 1}, s[3] = {1, 1, 1}, d[3] = {1, 1, 1}, p[3] = {0, 0, 0};
  for (int i = 0; i < axes; ++i) {
    const int at = 3 - axes + i;
    in[at] = c.x[2 + i], k[at] = c.w[2 + i], o[at] = out[2 + i];
    if (!c.strides.empty()) s[at] = c.strides[i];
    if (!c.dilations.empty()) d[at] = c.dilations[i];
    if (!c.pads.empty()) p[at] = c.pads[i];
    if (c.auto_pad[0] == 'S') {
      const int64_t total = std::max<int64_t>(0, (o[at] - 1) * s[at] + (k[at] - 1) * d[at] + 1 - in[at]);
      p[at] = c.auto_pad == "SAME_UPPER" ? total / 2 : (total + 1) / 2;
    }
  }
  const int64_t channels = c.w[1], outs = c.w[0] / c.group;
  std::vector<double> y(static_cast<size_t>(out.Count()));
  size_t at = 0;
  for (int64_t n = 0; n < out[0]; ++n)
    for (int64_t oc = 0; oc < out[1]; ++oc)
      for (int64_t i = 0; i < o[0] * o[1] * o[2]; ++i, ++at) {
        const int64_t pos[3] = {i / (o[1] * o[2]), i / o[2] % o[1], i % o[2]};
        for (int64_t ic = 0; ic < channels; ++ic)
          for (int64_t tap = 0; tap < k[0] * k[1] * k[2]; ++tap) {
            const int64_t t[3] = {tap / (k[1] * k[2]), tap / k[2] % k[1], tap % k[2]};
            int64_t from = n * c.x[1] + oc / outs * channels + ic;
            bool inside = true;
            for (int a = 0; a < 3; ++a) {
              const int64_t q = pos[a] * s[a] + t[a] * d[a] - p[a];
              inside &= q >= 0 && q < in[a];
              from = from * in[a] + q;
            }
            if (inside)
              y[at] +=
                  static_cast<double>(x.At<float>(from)) * w.At<float>((oc * channels + ic) * k[0] * k[1] * k[2] + tap);
          }
      }
  return y;
}

const ConvCase kCases[] = {
    {{1, 3, 9, 9}, {5, 3, 3, 3}, {}, {}, {}},
    {{2, 3, 9, 11}, {17, 3, 3, 3}, {}, {}, {1, 1, 1, 1}},
    {{1, 64, 14, 14}, {40, 64, 3, 3}, {}, {}, {1, 1, 1, 1}},
    {{1, 3, 30, 30}, {8, 3, 7, 7}, {2, 2}, {}, {3, 3, 3, 3}},
    {{2, 33, 7, 7}, {20, 33, 1, 1}, {}, {}, {}},
    {{1, 8, 10, 10}, {6, 8, 1, 1}, {2, 2}, {}, {}},
    {{1, 4, 13, 12}, {6, 4, 3, 2}, {2, 3}, {2, 1}, {2, 0, 1, 3}},
    {{1, 8, 8, 8}, {12, 4, 3, 3}, {}, {}, {1, 1, 1, 1}, 2},
    {{2, 6, 8, 8}, {12, 1, 3, 3}, {}, {}, {1, 1, 1, 1}, 6},
    {{1, 2, 5, 5}, {3, 2, 3, 3}, {2, 2}, {}, {}, 1, "SAME_UPPER"},
    {{1, 2, 6, 5}, {3, 2, 4, 3}, {2, 1}, {}, {}, 1, "SAME_LOWER"},
    {{1, 2, 6, 5}, {3, 2, 4, 3}, {}, {}, {}, 1, "VALID"},
    {{3, 5, 40}, {7, 5, 9}, {3}, {2}, {4, 8}},
    {{1, 1, 300}, {2, 1, 150}, {}, {}, {10, 0}},
    {{1, 3, 5, 6, 7}, {4, 3, 2, 3, 3}, {1, 2, 1}, {}, {1, 0, 1, 0, 1, 1}},
    {{1, 1, 1, 1}, {1, 1, 3, 3}, {}, {}, {1, 1, 1, 1}},
    {{1, 2, 2, 2}, {2, 2, 3, 3}, {}, {}, {9, 9, 9, 9}},
    {{1, 600, 3, 3}, {3, 600, 3, 3}, {}, {}, {1, 1, 1, 1}},
    // depthwise
    {{2, 6, 8, 8}, {6, 1, 3, 3}, {}, {}, {1, 1, 1, 1}, 6},
    {{1, 5, 40, 75}, {5, 1, 3, 3}, {}, {}, {1, 1, 1, 1}, 5},
    {{1, 5, 23, 37}, {5, 1, 5, 5}, {2, 2}, {}, {2, 2, 1, 1}, 5},
    {{1, 3, 14, 14}, {3, 1, 3, 3}, {1, 3}, {2, 2}, {2, 2, 2, 2}, 3},
    {{1, 4, 300}, {4, 1, 160}, {}, {}, {5, 5}, 4},
    {{1, 2, 4, 5, 6}, {2, 1, 2, 2, 3}, {2, 1, 1}, {}, {1, 1, 1, 0, 0, 1}, 2},
    {{1, 2, 2, 2}, {2, 1, 3, 3}, {}, {}, {9, 9, 9, 9}, 2},
    // depthwise, by blocks of pixels
    {{2, 70, 9, 11}, {70, 1, 3, 3}, {}, {}, {1, 1, 1, 1}, 70},
    {{1, 41, 7, 4}, {41, 1, 3, 3}, {}, {}, {1, 1, 1, 1}, 41},
    {{2, 33, 8, 13}, {33, 1, 3, 3}, {2, 2}, {}, {0, 0, 1, 1}, 33},
    {{1, 300, 5, 14}, {300, 1, 3, 3}, {1, 2}, {}, {2, 2, 0, 3}, 300},
    {{1, 48, 6, 7}, {48, 1, 5, 5}, {}, {}, {2, 2, 2, 2}, 48},
    {{2, 17, 15, 15}, {17, 1, 5, 5}, {2, 2}, {}, {2, 4, 2, 0}, 17},
    {{1, 32, 2, 2}, {32, 1, 3, 3}, {}, {}, {9, 9, 9, 9}, 32},
    // depthwise in name: strides and padding out of proportion
    {{1, 2, 3, 3}, {2, 1, 2, 2}, {100000, 100000}, {}, {0, 0, 100000, 100000}, 2},
    // Winograd's, by tiles of four and of two
    {{1, 24, 33, 29}, {20, 24, 3, 3}, {}, {}, {1, 1, 1, 1}},
    {{2, 40, 60, 13}, {44, 40, 3, 3}, {}, {}, {0, 2, 1, 0}},
    {{1, 16, 31, 66}, {16, 16, 3, 3}, {}, {}, {}, 1, "SAME_UPPER"},
    {{1, 140, 7, 7}, {150, 140, 3, 3}, {}, {}, {1, 1, 1, 1}},
};
const ConvCase& kWinograd = kCases[std::size(kCases) - 4];

}  // namespace

TEST(conv_matches_its_definition_for_all_windows_groups_and_ranks) {
  for (const cpu::KernelTable* table : HostTables())
    for (const ConvCase& c : kCases)
      for (bool constant : {true, false}) {
        const HostTensor x = RandomFloats(c.x, 1, -1, 1), bias = RandomFloats({c.w[0]}, 3, -1, 1);
        HostTensor w = RandomFloats(c.w, 2, -1, 1);
        w.constant = constant;
        const HostTensor plain = OneOp("Conv", {x, w}, AttributesOf(c)).Run(*table, 2)[0];
        const HostTensor biased = OneOp("Conv", {x, w, bias}, AttributesOf(c)).Run(*table, 1)[0];
        const std::vector<double> expected = Reference(c, x, w, plain.shape);
        const int64_t pixels = plain.shape.Count(2, plain.shape.rank());
        for (size_t i = 0; i < expected.size(); ++i) {
          const int64_t at = static_cast<int64_t>(i);
          CHECK(std::fabs(plain.At<float>(at) - expected[i]) < 2e-4, table->isa, " x ", c.x, " w ", c.w, " at ", at,
                " got ", plain.At<float>(at), " expected ", expected[i]);
          const float sum = plain.At<float>(at) + bias.At<float>(at / pixels % c.w[0]);
          CHECK(biased.At<float>(at) == sum, "bias ", c.x);
        }
      }
}

TEST(winograd_is_chosen_by_the_layer_alone) {
  const auto tile = [](int64_t channels, int64_t out_channels, int64_t size, int64_t stride = 1) {
    cpu::ConvShape s;
    s.channels = channels, s.out_channels = out_channels;
    for (int i : {1, 2}) s.in[i] = size, s.kernel[i] = 3, s.pad[i] = 1, s.stride[i] = stride, s.out[i] = size / stride;
    return cpu::WinogradTile(s, 8);
  };
  CHECK(tile(64, 64, 56) == 4);
  CHECK(tile(256, 256, 14) == 2, "few tiles: four times the weights do not pay");
  CHECK(tile(3, 64, 224) == 0, "too few channels for the transforms");
  CHECK(tile(64, 64, 56, 2) == 0, "strides");
  const HostTensor x = RandomFloats(kWinograd.x, 1);
  HostTensor w = RandomFloats(kWinograd.w, 2);
  w.constant = true;
  for (const cpu::KernelTable* table : HostTables()) {
    OneOp op("Conv", {x, w}, AttributesOf(kWinograd));
    TestSite site(op.node());
    CHECK(FindInFamilies(site, *table)->name().find("winograd") == 0, table->isa);
  }
}

TEST(conv_has_the_same_bits_for_any_batch_and_thread_count) {
  for (const cpu::KernelTable* table : HostTables())
    for (const ConvCase& c : kCases) {
      ConvCase three = c;
      three.x[0] = 3;
      const HostTensor x = RandomFloats(three.x, 4);
      HostTensor w = RandomFloats(c.w, 5);
      w.constant = true;
      const HostTensor all = OneOp("Conv", {x, w}, AttributesOf(c)).Run(*table, 1)[0];
      CHECK(OneOp("Conv", {x, w}, AttributesOf(c)).Run(*table, 3)[0].bytes == all.bytes, c.x);
      const size_t in_bytes = x.bytes.size() / 3, out_bytes = all.bytes.size() / 3;
      Shape one = three.x;
      one[0] = 1;
      HostTensor last{DType::kFloat32, one, {x.bytes.begin() + static_cast<ptrdiff_t>(2 * in_bytes), x.bytes.end()}};
      const HostTensor alone = OneOp("Conv", {last, w}, AttributesOf(c)).Run(*table, 2)[0];
      CHECK(
          std::equal(alone.bytes.begin(), alone.bytes.end(), all.bytes.begin() + static_cast<ptrdiff_t>(2 * out_bytes)),
          table->isa, " ", c.x);
    }
}

TEST(fused_conv_has_the_bits_of_separate_ops) {
  for (const cpu::KernelTable* table : HostTables())
    for (const ConvCase& c : kCases) {
      const HostTensor x = RandomFloats(c.x, 6), bias = RandomFloats({c.w[0]}, 8);
      HostTensor w = RandomFloats(c.w, 7);
      w.constant = true;
      HostTensor y = OneOp("Conv", {x, w, bias}, AttributesOf(c)).Run(*table)[0];
      const HostTensor residual = RandomFloats(y.shape, 9);
      y = OneOp("Relu", {OneOp("Add", {y, residual}).Run(*table)[0]}).Run(*table)[0];
      Attributes attributes = AttributesOf(c);
      attributes["activation"] = std::string("relu");
      const HostTensor fused = OneOp("FusedConv", {x, w, bias, residual}, attributes, 1, "zig").Run(*table, 2)[0];
      CHECK(fused.bytes == y.bytes, table->isa, " ", c.x, " ", c.w);
    }
}

TEST(convolutions_of_channels_last_tensors_match_the_definition_and_keep_their_bits) {
  for (const cpu::KernelTable* table : HostTables())
    for (ConvCase c : kCases) {
      c.x[0] = 3;
      const HostTensor x = RandomFloats(c.x, 12, -1, 1), moved = MoveChannels(x);
      HostTensor w = RandomFloats(c.w, 13, -1, 1);
      w.constant = true;
      Attributes attributes = AttributesOf(c);
      attributes["channels_last"] = int64_t{1};
      const HostTensor all = OneOp("FusedConv", {moved, w}, attributes, 1, "zig").Run(*table, 2)[0];
      const HostTensor plain = MoveChannels(all, true);
      const std::vector<double> expected = Reference(c, x, w, plain.shape);
      for (size_t i = 0; i < expected.size(); ++i)
        CHECK(std::fabs(plain.At<float>(static_cast<int64_t>(i)) - expected[i]) < 2e-4, table->isa, " x ", c.x, " w ",
              c.w, " at ", i, " got ", plain.At<float>(static_cast<int64_t>(i)), " expected ", expected[i]);
      for (int threads : {1, 3})
        CHECK(OneOp("FusedConv", {moved, w}, attributes, 1, "zig").Run(*table, threads)[0].bytes == all.bytes,
              table->isa, " ", c.x);
      const ptrdiff_t in = static_cast<ptrdiff_t>(moved.bytes.size() / 3),
                      out = static_cast<ptrdiff_t>(all.bytes.size() / 3);
      Shape one = moved.shape;
      one[0] = 1;
      const HostTensor last{DType::kFloat32, one, {moved.bytes.begin() + 2 * in, moved.bytes.end()}};
      const HostTensor alone = OneOp("FusedConv", {last, w}, attributes, 1, "zig").Run(*table, 2)[0];
      CHECK(std::equal(alone.bytes.begin(), alone.bytes.end(), all.bytes.begin() + 2 * out), table->isa, " ", c.x);
    }
}

TEST(epilogues_of_channels_last_convolutions_have_the_bits_of_separate_ops) {
  for (const cpu::KernelTable* table : HostTables())
    for (const ConvCase& c : kCases)
      for (const char* activation : {"relu", "clip", "hard_swish"}) {
        const HostTensor x = MoveChannels(RandomFloats(c.x, 6)), bias = RandomFloats({c.w[0]}, 8);
        HostTensor w = RandomFloats(c.w, 7);
        w.constant = true;
        Attributes attributes = AttributesOf(c);
        attributes["channels_last"] = int64_t{1};
        HostTensor y = OneOp("FusedConv", {x, w}, attributes, 1, "zig").Run(*table)[0];
        const HostTensor residual = RandomFloats(y.shape, 9);
        y = OneOp("Add", {OneOp("Add", {y, bias}).Run(*table)[0], residual}).Run(*table)[0];
        const std::string name = activation;
        y = (name == "relu"   ? OneOp("Relu", {y})
             : name == "clip" ? OneOp("Clip", {y, Floats({}, {-1}), Floats({}, {2})})
                              : OneOp("HardSwish", {y}))
                .Run(*table)[0];
        attributes["activation"] = name;
        attributes["activation_alpha"] = -1.0f, attributes["activation_beta"] = 2.0f;
        const HostTensor fused = OneOp("FusedConv", {x, w, bias, residual}, attributes, 1, "zig").Run(*table, 2)[0];
        CHECK(fused.bytes == y.bytes, table->isa, " ", c.x, " ", c.w, " ", name);
      }
}

TEST(conv_multiplies_padding_so_that_infinite_weights_give_nan) {
  for (const cpu::KernelTable* table : HostTables())
    for (int64_t group : {1, 2}) {
      HostTensor w = Floats({2, 2 / group, 3, 3}, std::vector<float>(static_cast<size_t>(36 / group), 1.0f));
      w.constant = true;
      const float infinity = INFINITY;
      std::memcpy(w.bytes.data(), &infinity, 4);  // the tap that meets padding at the first pixel
      const HostTensor y = OneOp("Conv", {RandomFloats({1, 2, 4, 4}, 10, 1, 2), w},
                                 {{"pads", std::vector<int64_t>{1, 1, 1, 1}}, {"group", group}})
                               .Run(*table)[0];
      CHECK(std::isnan(y.At<float>(0)) && std::isinf(y.At<float>(5)) && std::isfinite(y.At<float>(16)), table->isa);
      const HostTensor last = MoveChannels(
          OneOp("FusedConv", {MoveChannels(RandomFloats({1, 2, 4, 4}, 10, 1, 2)), w},
                {{"pads", std::vector<int64_t>{1, 1, 1, 1}}, {"group", group}, {"channels_last", int64_t{1}}}, 1, "zig")
              .Run(*table)[0],
          true);
      CHECK(std::isnan(last.At<float>(0)) && std::isinf(last.At<float>(5)) && std::isfinite(last.At<float>(16)),
            table->isa);
    }
}

TEST(conv_of_half_types_computes_in_float32_and_rounds_once) {
  for (const cpu::KernelTable* table : HostTables())
    for (DType dtype : {DType::kFloat16, DType::kBFloat16})
      for (const ConvCase& c : {kCases[1], kCases[18]}) {
        Random random(11);
        const bool half = dtype == DType::kFloat16;
        const auto make = [&](const Shape& shape, std::vector<uint16_t>& narrow, std::vector<float>& wide) {
          for (int64_t i = 0; i < shape.Count(); ++i) {
            const float v = random.Uniform(-1, 1);
            narrow.push_back(half ? FloatToFloat16(v) : FloatToBFloat16(v));
            wide.push_back(half ? Float16ToFloat(narrow.back()) : BFloat16ToFloat(narrow.back()));
          }
        };
        std::vector<uint16_t> x16, w16, b16;
        std::vector<float> x, w, b;
        make(c.x, x16, x), make(c.w, w16, w), make({c.w[0]}, b16, b);
        const HostTensor wide =
            OneOp("Conv", {Floats(c.x, x), Floats(c.w, w), Floats({c.w[0]}, b)}, AttributesOf(c)).Run(*table)[0];
        for (bool constant : {false, true}) {
          const HostTensor y =
              OneOp("Conv", {Tensor(dtype, c.x, x16), Tensor(dtype, c.w, w16, constant), Tensor(dtype, {c.w[0]}, b16)},
                    AttributesOf(c))
                  .Run(*table, 2)[0];
          for (int64_t i = 0; i < y.shape.Count(); ++i) {
            const float v = wide.At<float>(i);
            CHECK(y.At<uint16_t>(i) == (half ? FloatToFloat16(v) : FloatToBFloat16(v)), Name(dtype));
          }
        }
      }
}

TEST(conv_transpose_agrees_with_the_plain_kernel_for_all_windows_and_groups) {
  struct Case {
    Shape x, w;
    std::vector<int64_t> strides, dilations, pads, extra, sizes;
    int64_t group = 1;
    std::string auto_pad = "NOTSET";
  };
  const Case cases[] = {{{1, 3, 4, 5}, {3, 4, 3, 3}, {}, {}, {}, {}, {}},
                        {{2, 6, 5, 4}, {6, 40, 2, 2}, {2, 2}, {}, {}, {}, {}},
                        {{1, 4, 5, 4}, {4, 3, 3, 4}, {2, 3}, {2, 1}, {1, 2, 0, 1}, {1, 2}, {}},
                        {{1, 6, 7}, {6, 2, 5}, {3}, {}, {2, 1}, {}, {}, 2},
                        {{1, 2, 3, 3}, {2, 2, 3, 3}, {2, 2}, {}, {}, {}, {}, 1, "SAME_UPPER"},
                        {{1, 2, 3, 3}, {2, 2, 4, 4}, {2, 2}, {}, {}, {}, {7, 6}},
                        {{1, 2, 3, 2, 3}, {2, 3, 2, 3, 2}, {1, 2, 2}, {}, {0, 1, 0, 0, 1, 0}, {}, {}}};
  for (const cpu::KernelTable* table : HostTables())
    for (const Case& c : cases)
      for (bool constant : {false, true}) {
        Attributes attributes = {{"group", c.group}, {"auto_pad", c.auto_pad}};
        if (!c.strides.empty()) attributes["strides"] = c.strides;
        if (!c.dilations.empty()) attributes["dilations"] = c.dilations;
        if (!c.pads.empty()) attributes["pads"] = c.pads;
        if (!c.extra.empty()) attributes["output_padding"] = c.extra;
        if (!c.sizes.empty()) attributes["output_shape"] = c.sizes;
        const HostTensor x = RandomFloats(c.x, 21, -1, 1), bias = RandomFloats({c.w[1] * c.group}, 23, -1, 1);
        HostTensor w = RandomFloats(c.w, 22, -1, 1);
        w.constant = constant;
        OneOp op("ConvTranspose", {x, w, bias}, attributes);
        const HostTensor y = op.Run(*table, 2)[0];
        CHECK(op.Run(*table, 1)[0].bytes == y.bytes);
        TestSite site(op.node());
        const auto plain = FindPlainKernel(site);
        const HostTensor expected = op.Launch(*plain)[0];
        CHECK(y.shape == expected.shape);
        for (int64_t i = 0; i < y.shape.Count(); ++i)
          CHECK(std::fabs(y.At<float>(i) - expected.At<float>(i)) < 1e-4, table->isa, " x ", c.x, " w ", c.w, " at ",
                i);
      }
}

}  // namespace ziggurat::test
