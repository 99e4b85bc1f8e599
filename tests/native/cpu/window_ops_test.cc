// Pooling, resizing and padding ops against direct sums.
#include "cpu/op_harness.h"

namespace ziggurat::test {
namespace {

using cpu::KernelTable;

struct PoolCase {
  Shape in;
  std::vector<int64_t> kernel, strides, pads, dilations;
  bool ceil_mode;
};

// max, sum over the window and the counts without and with padding, in float64.
void CheckPool(const PoolCase& test, const HostTensor& x, const HostTensor& y, const char* op, bool include_pad,
               const std::string& what) {
  const int64_t height = test.in[2], width = test.in[3];
  for (int64_t i = 0; i < y.shape.Count(); ++i) {
    const int64_t ox = i % y.shape[3], oy = i / y.shape[3] % y.shape[2], plane = i / (y.shape[2] * y.shape[3]);
    double max = -INFINITY, sum = 0;
    int64_t count = 0;
    for (int64_t ky = 0; ky < test.kernel[0]; ++ky)
      for (int64_t kx = 0; kx < test.kernel[1]; ++kx) {
        const int64_t sy = oy * test.strides[0] - test.pads[0] + ky * test.dilations[0];
        const int64_t sx = ox * test.strides[1] - test.pads[1] + kx * test.dilations[1];
        const bool inside = sy >= 0 && sx >= 0 && sy < height && sx < width;
        const bool padded =
            sy >= -test.pads[0] && sx >= -test.pads[1] && sy < height + test.pads[2] && sx < width + test.pads[3];
        if (inside) {
          const double v = x.At<float>((plane * height + sy) * width + sx);
          max = std::max(max, v), sum += v;
        }
        count += include_pad ? padded : inside;
      }
    const double exact = op[0] == 'M' ? max : sum / double(count);
    CHECK(std::fabs(y.At<float>(i) - exact) <= 1e-6 * (1 + std::fabs(exact)), what, " ", op, " at ", i, ": ",
          y.At<float>(i), " for ", exact);
  }
}

TEST(pools_agree_with_direct_windows) {
  const PoolCase cases[] = {
      {{1, 3, 9, 40}, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, false},
      {{2, 2, 8, 8}, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}, false},
      {{1, 2, 14, 35}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, false},
      {{1, 1, 7, 7}, {3, 2}, {2, 3}, {1, 0, 0, 1}, {1, 1}, true},
      {{2, 37, 7, 5}, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, true},
      {{1, 2, 20, 50}, {3, 5}, {1, 2}, {2, 4, 2, 4}, {2, 2}, false},
      {{1, 1, 1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}, false},
      {{1, 1, 5, 6}, {5, 6}, {1, 1}, {0, 0, 0, 0}, {1, 1}, false},
      {{1, 1, 13, 13}, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}, true},
      {{1, 2, 6, 300}, {2, 7}, {3, 4}, {0, 3, 1, 3}, {1, 1}, true},
  };
  for (const KernelTable* table : HostTables())
    for (const PoolCase& test : cases) {
      const HostTensor x = RandomFloats(test.in, 3);
      Attributes attributes = {{"kernel_shape", test.kernel},
                               {"strides", test.strides},
                               {"pads", test.pads},
                               {"dilations", test.dilations},
                               {"ceil_mode", int64_t{test.ceil_mode}}};
      CheckPool(test, x, OneOp("MaxPool", {x}, attributes).Run(*table, 2)[0], "MaxPool", false,
                Cat(table->isa, test.in));
      CheckPool(test, x, OneOp("AveragePool", {x}, attributes).Run(*table)[0], "AveragePool", false,
                Cat(table->isa, test.in));
      attributes["count_include_pad"] = int64_t{1};
      CheckPool(test, x, OneOp("AveragePool", {x}, attributes).Run(*table)[0], "AveragePool", true,
                Cat(table->isa, test.in));
      for (bool average : {false, true}) {
        Attributes last = attributes;
        last["kind"] = std::string(average ? "average" : "max");
        OneOp op("ChannelsLastPool", {MoveChannels(x)}, last, 1, "zig");
        const HostTensor y = op.Run(*table, 2)[0];
        CHECK(op.Run(*table, 1)[0].bytes == y.bytes, table->isa);
        CheckPool(test, x, MoveChannels(y, true), average ? "AveragePool" : "MaxPool", true, Cat(table->isa, test.in));
      }
    }
}

TEST(pools_pad_themselves_and_pool_sequences_and_planes) {
  const HostTensor x = Floats({1, 1, 5}, {1, 5, 2, NAN, 3});
  for (const KernelTable* table : HostTables()) {
    Attributes attributes = {{"kernel_shape", std::vector<int64_t>{2}}, {"auto_pad", std::string("SAME_UPPER")}};
    auto y = OneOp("MaxPool", {x}, attributes).Run(*table)[0].Values<float>();
    CHECK(y[0] == 5 && y[1] == 5 && std::isnan(y[2]) && std::isnan(y[3]) && y[4] == 3, table->isa);
    attributes["auto_pad"] = std::string("SAME_LOWER");
    y = OneOp("MaxPool", {x}, attributes).Run(*table)[0].Values<float>();
    CHECK(y[0] == 1 && y[1] == 5 && y[2] == 5 && std::isnan(y[4]), table->isa);
    attributes["kind"] = std::string("max");
    y = OneOp("ChannelsLastPool", {MoveChannels(x)}, attributes, 1, "zig").Run(*table)[0].Values<float>();
    CHECK(y[0] == 1 && y[1] == 5 && y[2] == 5 && std::isnan(y[4]), table->isa);
    const HostTensor planes = RandomFloats({2, 3, 5, 9}, 1);
    const auto mean = OneOp("GlobalAveragePool", {planes}).Run(*table)[0],
               max = OneOp("GlobalMaxPool", {planes}).Run(*table)[0];
    for (int64_t p = 0; p < 6; ++p) {
      double sum = 0, largest = -INFINITY;
      for (int64_t i = 0; i < 45; ++i)
        sum += planes.At<float>(p * 45 + i), largest = std::max<double>(largest, planes.At<float>(p * 45 + i));
      CHECK(std::fabs(mean.At<float>(p) - sum / 45) < 1e-6 && max.At<float>(p) == largest, table->isa);
    }
  }
}

TEST(pads_of_every_mode) {
  const HostTensor x = Floats({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto run = [&](const KernelTable& table, const char* mode, const std::vector<int64_t>& pads) {
    return OneOp("Pad", {x, Ints(pads), Floats({}, {9})}, {{"mode", std::string(mode)}}).Run(table)[0].Values<float>();
  };
  for (const KernelTable* table : HostTables()) {
    CHECK((run(*table, "constant", {1, 0, 0, 2}) == std::vector<float>{9, 9, 9, 9, 9, 1, 2, 3, 9, 9, 4, 5, 6, 9, 9}));
    CHECK((run(*table, "edge", {0, 1, 1, 0}) == std::vector<float>{1, 1, 2, 3, 4, 4, 5, 6, 4, 4, 5, 6}));
    CHECK((run(*table, "reflect", {0, 2, 0, 2}) == std::vector<float>{3, 2, 1, 2, 3, 2, 1, 6, 5, 4, 5, 6, 5, 4}));
    CHECK((run(*table, "wrap", {0, 1, 0, 4}) == std::vector<float>{3, 1, 2, 3, 1, 2, 3, 1, 6, 4, 5, 6, 4, 5, 6, 4}));
    CHECK((run(*table, "constant", {-1, -1, 0, 1}) == std::vector<float>{5, 6, 9}));
    CHECK((OneOp("Pad", {x, Ints({1, 1}), Absent(), Ints({-1})}).Run(*table)[0].Values<float>() ==
           std::vector<float>{0, 1, 2, 3, 0, 0, 4, 5, 6, 0}));
  }
}

TEST(doubling_a_row_has_the_bits_of_the_general_pass) {
  for (const KernelTable* table : HostTables())
    for (int64_t in : {4, 5, 16, 33, 112}) {
      const HostTensor x = RandomFloats({3, in}, 1);
      const int32_t offset[4] = {-1, 0, 0, 1};
      const float weight[4] = {0.25f, 0.75f, 0.75f, 0.25f};
      std::vector<int32_t> index;
      std::vector<float> weights;
      for (int tap = 0; tap < 2; ++tap)
        for (int64_t j = 0; j < 2 * in; ++j) {
          index.push_back(static_cast<int32_t>(std::clamp<int64_t>(j / 2 + offset[j % 2 * 2 + tap], 0, in - 1)));
          weights.push_back(weight[j % 2 * 2 + tap]);
        }
      const std::vector<float> values = x.Values<float>();
      std::vector<float> general(static_cast<size_t>(6 * in)), doubled(general.size()),
          padded(static_cast<size_t>(in) + 4);
      table->vector->windows.resample_rows({index.data(), weights.data(), 2, 2 * in}, values.data(), in, general.data(),
                                           3);
      table->vector->windows.double_rows(offset, weight, values.data(), in, doubled.data(), 3, padded.data());
      CHECK(general == doubled, table->isa, " ", in);
    }
}

}  // namespace
}  // namespace ziggurat::test
