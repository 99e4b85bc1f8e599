// Element-wise ops through their kernels: broadcasting of every kind, integer corner cases, half precision, threads.
#include <functional>

#include "cpu/op_harness.h"

namespace ziggurat::test {
namespace {

using cpu::KernelTable;

const std::pair<Shape, Shape> kShapePairs[] = {
    {{7}, {7}},
    {{}, {}},
    {{33}, {}},
    {{}, {33}},
    {{5, 40}, {40}},
    {{40}, {5, 40}},
    {{6, 1}, {6, 50}},
    {{6, 50}, {6, 1}},
    {{6, 1}, {1, 50}},
    {{300, 3}, {3}},
    {{2, 3, 4, 5}, {3, 1, 1}},
    {{2, 3, 1, 5}, {1, 4, 1}},
    {{4, 1, 3}, {1, 70, 1}},
    {{1, 1}, {1}},
    {{0, 4}, {4}},
    {{2, 1, 2, 1, 2, 1, 2, 1}, {2, 1, 2, 1, 2}},
    {{1, 30}, {3, 1}},
};

Shape Joined(const Shape& a, const Shape& b) {
  Shape out;
  const int rank = std::max(a.rank(), b.rank());
  for (int i = 0; i < rank; ++i) {
    const int64_t x = i < rank - a.rank() ? 1 : a[i - (rank - a.rank())];
    const int64_t y = i < rank - b.rank() ? 1 : b[i - (rank - b.rank())];
    out.push_back(x == 1 ? y : x);
  }
  return out;
}

TEST(binary_ops_broadcast_as_numpy_does) {
  for (const KernelTable* table : HostTables())
    for (const auto& [a_shape, b_shape] : kShapePairs) {
      const HostTensor a = RandomFloats(a_shape, 1), b = RandomFloats(b_shape, 2);
      const Shape out = Joined(a_shape, b_shape);
      const struct {
        const char* op;
        std::function<float(float, float)> exact;
      } cases[] = {{"Add", [](float x, float y) { return x + y; }},
                   {"Sub", [](float x, float y) { return x - y; }},
                   {"Mul", [](float x, float y) { return x * y; }},
                   {"Div", [](float x, float y) { return x / y; }}};
      for (const auto& test : cases) {
        const HostTensor y = OneOp(test.op, {a, b}).Run(*table)[0];
        CHECK(y.shape == out, test.op, " ", a_shape, " ", b_shape, " gave ", y.shape);
        for (int64_t i = 0; i < out.Count(); ++i) {
          const float want =
              test.exact(a.At<float>(BroadcastIndex(i, out, a_shape)), b.At<float>(BroadcastIndex(i, out, b_shape)));
          CHECK(Bits(y.At<float>(i)) == Bits(want), table->isa, " ", test.op, " ", a_shape, " ", b_shape, " at ", i);
        }
      }
      const HostTensor less = OneOp("Greater", {a, b}).Run(*table)[0];
      for (int64_t i = 0; i < out.Count(); ++i)
        CHECK(less.At<bool>(i) ==
                  (a.At<float>(BroadcastIndex(i, out, a_shape)) > b.At<float>(BroadcastIndex(i, out, b_shape))),
              table->isa, " Greater ", a_shape, " ", b_shape);
    }
}

TEST(where_broadcasts_three_operands) {
  const Shape shapes[][3] = {{{4, 30}, {4, 30}, {}}, {{4, 1}, {30}, {4, 30}},      {{30}, {}, {}},
                             {{}, {5}, {3, 5}},      {{2, 1, 3}, {1, 50, 1}, {1}}, {{1}, {1}, {1}}};
  for (const KernelTable* table : HostTables())
    for (const auto& shape : shapes) {
      const HostTensor a = RandomFloats(shape[1], 1), b = RandomFloats(shape[2], 2);
      std::vector<bool> bits(static_cast<size_t>(shape[0].Count()));
      for (size_t i = 0; i < bits.size(); ++i) bits[i] = i % 3 == 1;
      const HostTensor condition = Tensor(DType::kBool, shape[0], bits);
      const HostTensor y = OneOp("Where", {condition, a, b}).Run(*table)[0];
      const Shape out = Joined(Joined(shape[0], shape[1]), shape[2]);
      CHECK(y.shape == out);
      for (int64_t i = 0; i < out.Count(); ++i) {
        const float want = condition.At<bool>(BroadcastIndex(i, out, shape[0]))
                               ? a.At<float>(BroadcastIndex(i, out, shape[1]))
                               : b.At<float>(BroadcastIndex(i, out, shape[2]));
        CHECK(y.At<float>(i) == want, table->isa, " ", shape[0], " at ", i);
      }
    }
}

TEST(integers_wrap_around_and_never_trap) {
  const std::vector<int64_t> a = {INT64_MIN, INT64_MAX, -7, 7, -7, 0, INT64_MIN, 5};
  const std::vector<int64_t> b = {-1, 2, 2, -2, -2, 3, 1, 5};
  for (const KernelTable* table : HostTables()) {
    const auto run = [&](const char* op, Attributes attributes = {}) {
      return OneOp(op, {Ints(a, false), Ints(b, false)}, std::move(attributes)).Run(*table)[0].Values<int64_t>();
    };
    CHECK((run("Div") == std::vector<int64_t>{INT64_MIN, INT64_MAX / 2, -3, -3, 3, 0, INT64_MIN, 1}), table->isa);
    CHECK((run("Mod") == std::vector<int64_t>{0, 1, 1, -1, -1, 0, 0, 0}), table->isa);
    CHECK((run("Mod", {{"fmod", int64_t{1}}}) == std::vector<int64_t>{0, 1, -1, 1, -1, 0, 0, 0}), table->isa);
    CHECK((run("Add")[1] == INT64_MIN + 1), table->isa);
    CHECK((run("Mul") == std::vector<int64_t>{INT64_MIN, -2, -14, -14, 14, 0, INT64_MIN, 25}), table->isa);
    const HostTensor small = Tensor(DType::kUint8, Shape{3}, std::vector<uint8_t>{200, 255, 3});
    CHECK((OneOp("Mul", {small, small}).Run(*table)[0].Values<uint8_t>() == std::vector<uint8_t>{64, 1, 9}));
    const HostTensor ints = Tensor(DType::kInt32, Shape{3}, std::vector<int32_t>{INT32_MIN, -5, 9});
    CHECK((OneOp("Neg", {ints}).Run(*table)[0].Values<int32_t>() == std::vector<int32_t>{INT32_MIN, 5, -9}));
  }
}

TEST(integer_division_by_zero_is_refused_by_name) {
  for (const char* op : {"Div", "Mod"})
    for (const KernelTable* table : HostTables())
      CHECK_ERROR(Code::kInvalidArgument, OneOp(op, {Ints({1, 2, 3}, false), Ints({1, 0, 1}, false)}).Run(*table));
}

TEST(logic_and_bits) {
  for (const KernelTable* table : HostTables()) {
    const HostTensor a = Tensor(DType::kBool, Shape{4}, std::vector<bool>{false, false, true, true});
    const HostTensor b = Tensor(DType::kBool, Shape{4}, std::vector<bool>{false, true, false, true});
    CHECK((OneOp("And", {a, b}).Run(*table)[0].Values<uint8_t>() == std::vector<uint8_t>{0, 0, 0, 1}));
    CHECK((OneOp("Or", {a, b}).Run(*table)[0].Values<uint8_t>() == std::vector<uint8_t>{0, 1, 1, 1}));
    CHECK((OneOp("Xor", {a, b}).Run(*table)[0].Values<uint8_t>() == std::vector<uint8_t>{0, 1, 1, 0}));
    CHECK((OneOp("Not", {a}).Run(*table)[0].Values<uint8_t>() == std::vector<uint8_t>{1, 1, 0, 0}));
    const HostTensor u = Tensor(DType::kUint32, Shape{3}, std::vector<uint32_t>{1, 0x80000000u, 6});
    const HostTensor shift = Tensor(DType::kUint32, Shape{3}, std::vector<uint32_t>{31, 31, 40});
    const auto left = OneOp("BitShift", {u, shift}, {{"direction", std::string("LEFT")}}).Run(*table)[0];
    CHECK((left.Values<uint32_t>() == std::vector<uint32_t>{0x80000000u, 0, 0}));
    const auto right = OneOp("BitShift", {u, shift}, {{"direction", std::string("RIGHT")}}).Run(*table)[0];
    CHECK((right.Values<uint32_t>() == std::vector<uint32_t>{0, 1, 0}));
  }
}

TEST(variadic_ops_fold_and_broadcast) {
  const HostTensor a = Floats({2, 1}, {1, 2}), b = Floats({1}, {10}), c = Floats({1, 3}, {100, 200, NAN});
  for (const KernelTable* table : HostTables()) {
    const auto sum = OneOp("Sum", {a, b, c}).Run(*table)[0].Values<float>();
    CHECK(sum[0] == 111 && sum[1] == 211 && std::isnan(sum[2]) && sum[3] == 112 && sum[4] == 212, table->isa);
    CHECK(OneOp("Mean", {a, b, c}).Run(*table)[0].At<float>(0) == 37, table->isa);
    const auto largest = OneOp("Max", {a, c, b}).Run(*table)[0].Values<float>();
    CHECK(largest[0] == 100 && std::isnan(largest[2]) && std::isnan(largest[5]), table->isa);
    CHECK(OneOp("Min", {c, b}).Run(*table)[0].At<float>(0) == 10, table->isa);
  }
}

TEST(halves_compute_in_float32_and_round_once) {
  // 1 + 2^-11 is a tie in float16 and stays 1; 1 + 3 * 2^-11 rounds to even, up.
  const HostTensor a = Tensor(DType::kFloat16, Shape{3}, std::vector<uint16_t>{0x3c00, 0x3c00, 0x7bff});
  const HostTensor b = Tensor(DType::kFloat16, Shape{3}, std::vector<uint16_t>{0x1000, 0x1600, 0x7bff});
  const HostTensor wide = Tensor(DType::kBFloat16, Shape{600}, std::vector<uint16_t>(600, 0x4000));
  for (const KernelTable* table : HostTables()) {
    CHECK((OneOp("Add", {a, b}).Run(*table)[0].Values<uint16_t>() == std::vector<uint16_t>{0x3c00, 0x3c02, 0x7c00}));
    CHECK((OneOp("Greater", {a, b}).Run(*table)[0].Values<uint8_t>() == std::vector<uint8_t>{1, 1, 0}));
    for (uint16_t bits : OneOp("Exp", {wide}).Run(*table)[0].Values<uint16_t>())
      CHECK(bits == 0x40ec, table->isa, " ", bits);
    for (uint16_t bits : OneOp("Mul", {wide, wide}).Run(*table)[0].Values<uint16_t>())
      CHECK(bits == 0x4080, table->isa);
  }
}

TEST(threads_change_nothing) {
  const HostTensor a = RandomFloats({37, 4099}, 1), b = RandomFloats({4099}, 2), narrow = RandomFloats({37, 1}, 3);
  for (const KernelTable* table : HostTables()) {
    CHECK(OneOp("Mul", {a, b}).Run(*table, 3)[0].bytes == OneOp("Mul", {a, b}).Run(*table)[0].bytes);
    CHECK(OneOp("Pow", {a, narrow}).Run(*table, 3)[0].bytes == OneOp("Pow", {a, narrow}).Run(*table)[0].bytes);
    CHECK(OneOp("Erf", {a}).Run(*table, 3)[0].bytes == OneOp("Erf", {a}).Run(*table)[0].bytes);
  }
}

TEST(pow_of_common_exponents_has_the_same_bits_scalar_or_not) {
  const HostTensor x = RandomFloats({50}, 9);
  for (const KernelTable* table : HostTables())
    for (float e : {2.0f, 3.0f, 1.0f, -1.0f, 0.5f, 2.7f, 0.0f}) {
      const auto scalar = OneOp("Pow", {x, Floats({}, {e})}).Run(*table)[0];
      const auto full = OneOp("Pow", {x, Floats({50}, std::vector<float>(50, e))}).Run(*table)[0];
      CHECK(scalar.bytes == full.bytes, table->isa, " ", e);
      for (int64_t i = 0; i < 50; ++i)
        CHECK(UlpError(scalar.At<float>(i), std::pow(double(x.At<float>(i)), double(e))) <= 2);
    }
}

}  // namespace
}  // namespace ziggurat::test
