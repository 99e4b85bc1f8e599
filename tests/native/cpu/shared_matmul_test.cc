// Products that share their left side have the bits that each has alone: any sizes, any number of threads.
#include "cpu/op_harness.h"

namespace ziggurat::test {
namespace {

using cpu::KernelTable;

HostTensor Constant(HostTensor tensor) {
  tensor.constant = true;
  return tensor;
}

struct Products {
  HostTensor a;
  std::vector<HostTensor> b, bias;

  std::vector<HostTensor> Shared(const KernelTable& table, int threads) const {
    std::vector<HostTensor> inputs = {a};
    inputs.insert(inputs.end(), b.begin(), b.end());
    inputs.insert(inputs.end(), bias.begin(), bias.end());
    return OneOp("SharedMatMul", inputs, {}, static_cast<int>(b.size()), "zig").Run(table, threads);
  }
  HostTensor Alone(const KernelTable& table, size_t i) const {
    const std::vector<HostTensor> inputs = {a, b[i], bias.empty() ? Absent() : bias[i]};
    return OneOp("FusedMatMul", inputs, {}, 1, "zig").Run(table)[0];
  }
};

void CheckSame(const Shape& rows, int64_t k, const std::vector<int64_t>& columns, bool biased) {
  Products products;
  Shape left = rows;
  left.push_back(k);
  products.a = RandomFloats(left, 1);
  for (size_t i = 0; i < columns.size(); ++i) {
    products.b.push_back(Constant(RandomFloats({k, columns[i]}, 10 + i)));
    if (biased) products.bias.push_back(RandomFloats({columns[i]}, 20 + i));
  }
  for (const KernelTable* table : HostTables())
    for (int threads : {1, 2, 3}) {
      const auto got = products.Shared(*table, threads);
      for (size_t i = 0; i < columns.size(); ++i) {
        const HostTensor want = products.Alone(*table, i);
        CHECK(got[i].shape == want.shape && got[i].bytes == want.bytes, table->isa, ' ', left, " product ", i, " on ",
              threads, " threads");
      }
    }
}

TEST(products_with_one_left_side_keep_their_bits) {
  for (int64_t m : {1, 2, 13, 57, 128, 150, 300})
    for (const std::vector<int64_t>& columns : {std::vector<int64_t>{64, 64, 64}, {1, 70, 33}, {200}, {31, 257}})
      CheckSame({m}, 96, columns, m % 2 == 0);
  CheckSame({3, 40}, 130, {50, 50, 50}, true);
  CheckSame({2, 2, 30}, 1100, {96, 32}, true);  // rows too long to be packed for several
  CheckSame({0}, 8, {3, 4}, true);
  CheckSame({5}, 1, {1, 1}, false);
}

TEST(matrices_that_do_not_fit_are_refused) {
  const auto refused = [](std::vector<HostTensor> inputs, int outputs) {
    try {
      OneOp("SharedMatMul", std::move(inputs), {}, outputs, "zig");
    } catch (const Error& error) {
      return error.code() == Code::kInvalidModel;
    }
    return false;
  };
  const HostTensor a = RandomFloats({2, 4}, 1), b = Constant(RandomFloats({4, 3}, 2)),
                   c = Constant(RandomFloats({5, 3}, 3));
  CHECK(!refused({a, b, b}, 2));
  CHECK(refused({a, b, c}, 2));
  CHECK(refused({a, b, b, RandomFloats({3}, 4)}, 2));
  CHECK(refused({a, b, b, RandomFloats({3}, 4), RandomFloats({2}, 5)}, 2));
}

}  // namespace
}  // namespace ziggurat::test
