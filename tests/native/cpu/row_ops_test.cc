// Softmax, normalisation and reduction ops through their kernels: any axis, any rank, halves, threads.
#include "cpu/op_harness.h"

namespace ziggurat::test {
namespace {

using cpu::KernelTable;

void CheckClose(const HostTensor& y, const std::vector<double>& exact, double bound, const std::string& what) {
  CHECK(y.shape.Count() == static_cast<int64_t>(exact.size()), what, " shape ", y.shape);
  for (size_t i = 0; i < exact.size(); ++i)
    CHECK(std::fabs(y.At<float>(static_cast<int64_t>(i)) - exact[i]) <= bound * (1 + std::fabs(exact[i])), what, " at ",
          i, ": ", y.At<float>(static_cast<int64_t>(i)), " for ", exact[i]);
}

TEST(softmax_works_along_every_axis) {
  const HostTensor x = RandomFloats({3, 5, 4, 37}, 1);
  for (const KernelTable* table : HostTables())
    for (int64_t axis : {-4, 1, 2, -1})
      for (const char* op : {"Softmax", "LogSoftmax"}) {
        const HostTensor y = OneOp(op, {x}, {{"axis", axis}}).Run(*table)[0];
        const int real = static_cast<int>(axis < 0 ? axis + 4 : axis);
        const int64_t n = x.shape[real], inner = x.shape.Count(real + 1, 4);
        std::vector<double> exact(static_cast<size_t>(x.shape.Count()));
        for (int64_t i = 0; i < x.shape.Count(); ++i) {
          const int64_t base = i / (n * inner) * n * inner + i % inner;
          double sum = 0;
          for (int64_t k = 0; k < n; ++k) sum += std::exp(double(x.At<float>(base + k * inner)));
          const double p = std::exp(double(x.At<float>(i))) / sum;
          exact[static_cast<size_t>(i)] = op[0] == 'L' ? std::log(p) : p;
        }
        CheckClose(y, exact, 2e-6, Cat(table->isa, " ", op, " axis ", axis));
        CHECK(OneOp(op, {x}, {{"axis", axis}}).Run(*table, 3)[0].bytes == y.bytes);
      }
}

struct Reduction {
  const char* op;
  double start;
  double (*step)(double, double);
  double (*finish)(double, double);
};
const Reduction kReductions[] = {
    {"ReduceSum", 0, [](double a, double x) { return a + x; }, [](double a, double) { return a; }},
    {"ReduceMean", 0, [](double a, double x) { return a + x; }, [](double a, double n) { return a / n; }},
    {"ReduceMax", -INFINITY, [](double a, double x) { return std::max(a, x); }, [](double a, double) { return a; }},
    {"ReduceMin", INFINITY, [](double a, double x) { return std::min(a, x); }, [](double a, double) { return a; }},
    {"ReduceProd", 1, [](double a, double x) { return a * x; }, [](double a, double) { return a; }},
    {"ReduceL1", 0, [](double a, double x) { return a + std::fabs(x); }, [](double a, double) { return a; }},
    {"ReduceL2", 0, [](double a, double x) { return a + x * x; }, [](double a, double) { return std::sqrt(a); }},
    {"ReduceLogSum", 0, [](double a, double x) { return a + x; }, [](double a, double) { return std::log(a); }},
    {"ReduceSumSquare", 0, [](double a, double x) { return a + x * x; }, [](double a, double) { return a; }},
    {"ReduceLogSumExp", 0, [](double a, double x) { return a + std::exp(x); },
     [](double a, double) { return std::log(a); }},
};

TEST(reductions_work_over_every_set_of_axes) {
  const Shape shape{3, 4, 1, 5, 6};
  const HostTensor x = RandomFloats(shape, 4, 0.5f, 1.6f);
  for (const KernelTable* table : HostTables())
    for (const Reduction& reduction : kReductions)
      for (uint32_t mask = 1; mask < 32; ++mask) {
        std::vector<int64_t> axes;
        Shape kept;
        for (int axis = 0; axis < 5; ++axis) {
          if (mask >> axis & 1) axes.push_back(axis % 2 ? axis - 5 : axis);
          kept.push_back(mask >> axis & 1 ? 1 : shape[axis]);
        }
        std::vector<double> exact(static_cast<size_t>(kept.Count()), reduction.start);
        for (int64_t i = 0; i < shape.Count(); ++i) {
          double& slot = exact[static_cast<size_t>(BroadcastIndex(i, shape, kept))];
          slot = reduction.step(slot, x.At<float>(i));
        }
        for (double& value : exact) value = reduction.finish(value, double(shape.Count() / kept.Count()));
        const HostTensor y = OneOp(reduction.op, {x, Ints(axes)}).Run(*table)[0];
        CHECK(y.shape == kept);
        CheckClose(y, exact, 1e-5, Cat(table->isa, " ", reduction.op, " mask ", mask));
      }
}

TEST(reductions_without_axes_take_all_and_may_drop_them) {
  const HostTensor x = RandomFloats({4, 3, 100}, 4);
  for (const KernelTable* table : HostTables()) {
    const HostTensor y = OneOp("ReduceSum", {x}, {{"keepdims", int64_t{0}}}).Run(*table)[0];
    double sum = 0;
    for (float value : x.Values<float>()) sum += value;
    CHECK(y.shape.rank() == 0 && std::fabs(y.At<float>(0) - sum) < 1e-3, table->isa);
  }
}

TEST(large_reductions_are_the_same_on_any_number_of_threads) {
  const HostTensor x = RandomFloats({40, 130, 70}, 4);
  for (const KernelTable* table : HostTables())
    for (const auto& axes : {std::vector<int64_t>{0}, {1}, {2}, {0, 2}, {0, 1}})
      CHECK(OneOp("ReduceSum", {x, Ints(axes)}).Run(*table, 3)[0].bytes ==
            OneOp("ReduceSum", {x, Ints(axes)}).Run(*table)[0].bytes);
}

TEST(half_precision_reductions_accumulate_in_float32) {
  // 3000 ones: float16 sums stick at 2048.
  const HostTensor x = Tensor(DType::kFloat16, Shape{3000}, std::vector<uint16_t>(3000, 0x3c00));
  for (const KernelTable* table : HostTables())
    CHECK(OneOp("ReduceSum", {x}).Run(*table)[0].At<uint16_t>(0) == 0x69dc, table->isa);
}

TEST(layer_norm_over_trailing_axes) {
  const HostTensor x = RandomFloats({6, 3, 40}, 1), scale = RandomFloats({3, 40}, 2), bias = RandomFloats({3, 40}, 3);
  for (const KernelTable* table : HostTables()) {
    const auto out = OneOp("LayerNormalization", {x, scale, bias}, {{"axis", int64_t{1}}}, 3).Run(*table, 2);
    std::vector<double> exact;
    for (int64_t r = 0; r < 6; ++r) {
      double mean = 0, variance = 0;
      for (int64_t i = 0; i < 120; ++i) mean += x.At<float>(r * 120 + i) / 120.0;
      for (int64_t i = 0; i < 120; ++i) variance += std::pow(x.At<float>(r * 120 + i) - mean, 2) / 120;
      CHECK(std::fabs(out[1].At<float>(r) - mean) < 1e-6 &&
            std::fabs(out[2].At<float>(r) - 1 / std::sqrt(variance + 1e-5)) < 1e-5);
      for (int64_t i = 0; i < 120; ++i)
        exact.push_back((x.At<float>(r * 120 + i) - mean) / std::sqrt(variance + 1e-5) * scale.At<float>(i) +
                        bias.At<float>(i));
    }
    CheckClose(out[0], exact, 1e-5, table->isa);
  }
}

TEST(group_instance_and_batch_norm) {
  const int64_t channels = 6, inner = 35;
  const HostTensor x = RandomFloats({2, channels, 5, 7}, 1), scale = RandomFloats({channels}, 2),
                   bias = RandomFloats({channels}, 3);
  const HostTensor mean = RandomFloats({channels}, 4), variance = RandomFloats({channels}, 5, 0.1f, 2);
  for (const KernelTable* table : HostTables()) {
    for (int64_t groups : {1, 2, 6}) {
      std::vector<double> exact(static_cast<size_t>(x.shape.Count()));
      const int64_t n = channels / groups * inner;
      for (int64_t g = 0; g < 2 * groups; ++g) {
        double m = 0, v = 0;
        for (int64_t i = 0; i < n; ++i) m += x.At<float>(g * n + i) / double(n);
        for (int64_t i = 0; i < n; ++i) v += std::pow(x.At<float>(g * n + i) - m, 2) / double(n);
        for (int64_t i = 0; i < n; ++i) {
          const int64_t c = (g * n + i) / inner % channels;
          exact[static_cast<size_t>(g * n + i)] =
              (x.At<float>(g * n + i) - m) / std::sqrt(v + 1e-5) * scale.At<float>(c) + bias.At<float>(c);
        }
      }
      CheckClose(OneOp("GroupNormalization", {x, scale, bias}, {{"num_groups", groups}}).Run(*table, 2)[0], exact, 1e-5,
                 table->isa);
      if (groups == channels)
        CheckClose(OneOp("InstanceNormalization", {x, scale, bias}).Run(*table)[0], exact, 1e-5, table->isa);
    }
    std::vector<double> exact;
    for (int64_t i = 0; i < x.shape.Count(); ++i) {
      const int64_t c = i / inner % channels;
      exact.push_back((x.At<float>(i) - mean.At<float>(c)) / std::sqrt(variance.At<float>(c) + 1e-5) *
                          scale.At<float>(c) +
                      bias.At<float>(c));
    }
    CheckClose(OneOp("BatchNormalization", {x, scale, bias, mean, variance}).Run(*table, 2)[0], exact, 1e-5,
               table->isa);
    const HostTensor flat = RandomFloats({9, channels}, 8);
    exact.clear();
    for (int64_t i = 0; i < 9 * channels; ++i) {
      const int64_t c = i % channels;
      exact.push_back((flat.At<float>(i) - mean.At<float>(c)) / std::sqrt(variance.At<float>(c) + 1e-5) *
                          scale.At<float>(c) +
                      bias.At<float>(c));
    }
    CheckClose(OneOp("BatchNormalization", {flat, scale, bias, mean, variance}).Run(*table)[0], exact, 1e-5,
               table->isa);
  }
}

TEST(lrn_is_the_same_on_any_number_of_threads_and_with_channels_last) {
  const HostTensor x = RandomFloats({2, 20, 31, 33}, 1);
  for (const KernelTable* table : HostTables()) {
    const Attributes attributes = {{"size", int64_t{5}}, {"alpha", 1e-3f}};
    const HostTensor y = OneOp("LRN", {x}, attributes).Run(*table)[0];
    CHECK(OneOp("LRN", {x}, attributes).Run(*table, 3)[0].bytes == y.bytes);
    const HostTensor last = OneOp("ChannelsLastLRN", {MoveChannels(x)}, attributes, 1, "zig").Run(*table, 2)[0];
    CHECK(MoveChannels(last, true).bytes == y.bytes, table->isa);
  }
}

}  // namespace
}  // namespace ziggurat::test
