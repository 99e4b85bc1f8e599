// Ops that only move elements, against index arithmetic: any dtype by its size, empty tensors, refused indices.
#include <numeric>
#include <random>

#include "cpu/op_harness.h"

namespace ziggurat::test {
namespace {

using cpu::KernelTable;

// Elements 0, 1, 2, ... of each width that moves know.
std::vector<HostTensor> Counting(const Shape& shape) {
  const auto n = static_cast<size_t>(shape.Count());
  std::vector<uint8_t> bytes(n);
  std::vector<uint16_t> halves(n);
  std::vector<float> floats(n);
  std::vector<int64_t> longs(n);
  for (size_t i = 0; i < n; ++i)
    bytes[i] = static_cast<uint8_t>(i * 7), halves[i] = static_cast<uint16_t>(i), floats[i] = float(i),
    longs[i] = int64_t(i) << 33;
  return {Tensor(DType::kUint8, shape, bytes), Tensor(DType::kBFloat16, shape, halves),
          Tensor(DType::kFloat32, shape, floats), Tensor(DType::kInt64, shape, longs)};
}

void CheckMoved(const HostTensor& y, const HostTensor& x, int64_t i, int64_t from, const std::string& what) {
  const size_t bytes = ByteSize(x.dtype);
  CHECK(std::memcmp(y.bytes.data() + static_cast<size_t>(i) * bytes, x.bytes.data() + static_cast<size_t>(from) * bytes,
                    bytes) == 0,
        what, " ", Name(x.dtype), " element ", i, " should be ", from);
}

TEST(transpose_moves_every_permutation) {
  const Shape shapes[] = {{1},       {5, 70},     {130, 67},  {3, 9, 17}, {2, 3, 4, 5}, {8, 1, 6, 2}, {2, 3, 2, 3, 2},
                          {0, 3, 2}, {16, 24, 8}, {5, 2, 70}, {5, 3, 70}, {5, 4, 71},   {3, 7, 66},   {4, 15, 5}};
  for (const KernelTable* table : HostTables())
    for (const Shape& shape : shapes) {
      std::vector<int64_t> perm(static_cast<size_t>(shape.rank()));
      std::iota(perm.begin(), perm.end(), 0);
      do {
        for (const HostTensor& x : Counting(shape)) {
          const HostTensor y = OneOp("Transpose", {x}, {{"perm", perm}}).Run(*table, shape.Count() > 1000 ? 2 : 1)[0];
          const auto strides = ContiguousStrides(shape);
          for (int64_t i = 0; i < y.shape.Count(); ++i) {
            int64_t rest = i, from = 0;
            for (int axis = shape.rank() - 1; axis >= 0; --axis) {
              from += rest % y.shape[axis] * strides[static_cast<size_t>(perm[static_cast<size_t>(axis)])];
              rest /= y.shape[axis];
            }
            CheckMoved(y, x, i, from, Cat("transpose ", shape));
          }
        }
      } while (std::next_permutation(perm.begin(), perm.end()));
    }
}

TEST(slice_follows_numpy_with_any_step) {
  const Shape shape{6, 7, 3};
  struct Case {
    std::vector<int64_t> starts, ends, axes, steps;
    Shape out;
    std::vector<int64_t> first, step;  // per axis of the input
  };
  const Case cases[] = {
      {{1, 0}, {5, 7}, {0, 1}, {2, 3}, {2, 3, 3}, {1, 0, 0}, {2, 3, 1}},
      {{-1}, {-100}, {1}, {-2}, {6, 4, 3}, {0, 6, 0}, {1, -2, 1}},
      {{100}, {0}, {-3}, {-1}, {5, 7, 3}, {5, 0, 0}, {-1, 1, 1}},
      {{2}, {INT64_MAX}, {2}, {1}, {6, 7, 1}, {0, 0, 2}, {1, 1, 1}},
      {{4}, {2}, {0}, {1}, {0, 7, 3}, {0, 0, 0}, {1, 1, 1}},
      {{-1}, {INT64_MIN}, {0}, {-1}, {6, 7, 3}, {5, 0, 0}, {-1, 1, 1}},
      {{0}, {6}, {0}, {INT64_MAX}, {1, 7, 3}, {0, 0, 0}, {1, 1, 1}},
  };
  for (const KernelTable* table : HostTables())
    for (const Case& test : cases)
      for (const HostTensor& x : Counting(shape)) {
        const HostTensor y =
            OneOp("Slice", {x, Ints(test.starts), Ints(test.ends), Ints(test.axes), Ints(test.steps)}).Run(*table)[0];
        CHECK(y.shape == test.out, y.shape, " for ", test.out);
        for (int64_t i = 0; i < y.shape.Count(); ++i) {
          int64_t rest = i, from = 0, stride = 1;
          for (int axis = 2; axis >= 0; --axis) {
            from +=
                (test.first[static_cast<size_t>(axis)] + rest % y.shape[axis] * test.step[static_cast<size_t>(axis)]) *
                stride;
            rest /= y.shape[axis];
            stride *= shape[axis];
          }
          CheckMoved(y, x, i, from, "slice");
        }
      }
}

TEST(concat_and_split_are_inverse) {
  for (const KernelTable* table : HostTables())
    for (int64_t axis : {0, 1, -1}) {
      const int real = static_cast<int>(axis < 0 ? axis + 3 : axis);
      std::vector<std::vector<HostTensor>> parts;
      for (int64_t size : {2, 0, 5}) {
        Shape shape{4, 4, 4};
        shape[real] = size;
        parts.push_back(Counting(shape));
      }
      for (size_t type = 0; type < 4; ++type) {
        const HostTensor y =
            OneOp("Concat", {parts[0][type], parts[1][type], parts[2][type]}, {{"axis", axis}}).Run(*table, 2)[0];
        CHECK(y.shape[real] == 7);
        const auto back = OneOp("Split", {y, Ints({2, 0, 5})}, {{"axis", axis}}, 3).Run(*table, 2);
        for (size_t i = 0; i < 3; ++i) CHECK(back[i].bytes == parts[i][type].bytes, "part ", i, " axis ", axis);
      }
    }
}

TEST(expand_and_tile_repeat) {
  for (const KernelTable* table : HostTables()) {
    for (const HostTensor& x : Counting({3, 1, 5})) {
      const HostTensor y = OneOp("Expand", {x, Ints({2, 1, 4, 5})}).Run(*table)[0];
      CHECK((y.shape == Shape{2, 3, 4, 5}));
      for (int64_t i = 0; i < y.shape.Count(); ++i) CheckMoved(y, x, i, BroadcastIndex(i, y.shape, x.shape), "expand");
      const HostTensor tiled = OneOp("Tile", {x, Ints({2, 3, 2})}).Run(*table)[0];
      CHECK((tiled.shape == Shape{6, 3, 10}));
      for (int64_t i = 0; i < 180; ++i) CheckMoved(tiled, x, i, i / 30 % 3 * 5 + i % 10 % 5, "tile");
    }
  }
}

TEST(gather_takes_rows_and_refuses_wild_indices) {
  for (const KernelTable* table : HostTables())
    for (int64_t axis : {0, 1, 2})
      for (const HostTensor& x : Counting({4, 3, 5})) {
        const std::vector<int64_t> indices = {2, -1, 0, -3};
        const HostTensor y =
            OneOp("Gather", {x, Tensor(DType::kInt64, Shape{2, 2}, indices)}, {{"axis", axis}}).Run(*table)[0];
        const int64_t limit = x.shape[static_cast<int>(axis)], inner = x.shape.Count(static_cast<int>(axis) + 1, 3);
        for (int64_t i = 0; i < y.shape.Count(); ++i) {
          const int64_t index = indices[static_cast<size_t>(i / inner % 4)];
          CheckMoved(y, x, i, (i / inner / 4 * limit + (index < 0 ? index + limit : index)) * inner + i % inner,
                     "gather");
        }
        for (int32_t wild : {INT32_MAX, INT32_MIN, 5, -6})
          CHECK_ERROR(
              Code::kInvalidArgument,
              OneOp("Gather", {x, Tensor(DType::kInt32, Shape{1}, std::vector<int32_t>{wild})}, {{"axis", int64_t{2}}})
                  .Run(*table));
      }
}

TEST(gather_and_scatter_elements) {
  const HostTensor x = Floats({3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  const HostTensor indices = Tensor(DType::kInt64, Shape{2, 3}, std::vector<int64_t>{1, 2, 0, 2, 0, -3});
  for (const KernelTable* table : HostTables()) {
    CHECK(
        (OneOp("GatherElements", {x, indices}).Run(*table)[0].Values<float>() == std::vector<float>{4, 8, 3, 7, 2, 3}));
    const HostTensor updates = Floats({2, 3}, {10, 11, 12, 20, 21, 22});
    CHECK((OneOp("ScatterElements", {x, indices, updates}).Run(*table)[0].Values<float>() ==
           std::vector<float>{1, 21, 22, 10, 5, 6, 20, 11, 9}));
    const HostTensor wild = Tensor(DType::kInt64, Shape{1, 1}, std::vector<int64_t>{3});
    CHECK_ERROR(Code::kInvalidArgument, OneOp("GatherElements", {x, wild}).Run(*table));
    CHECK_ERROR(Code::kInvalidArgument, OneOp("ScatterElements", {x, wild, Floats({1, 1}, {0})}).Run(*table));
  }
}

TEST(gathered_elements_of_many_lines_are_those_that_the_indices_name) {
  const Shape data{5, 7, 9};
  const HostTensor x = RandomFloats(data, 1);
  for (const KernelTable* table : HostTables())
    for (int threads : {1, 2})
      for (int axis : {0, 1, 2}) {
        Shape shape{4, 6, 8};  // shorter than the data along every axis, longer along the one that indices name
        shape[axis] = 300;
        std::vector<int64_t> values(static_cast<size_t>(shape.Count()));
        std::minstd_rand rng(7);
        for (int64_t& value : values) value = static_cast<int64_t>(rng() % (2 * data[axis])) - data[axis];
        const HostTensor indices = Tensor(DType::kInt64, shape, values);
        const HostTensor y = OneOp("GatherElements", {x, indices}, {{"axis", int64_t{axis}}}).Run(*table, threads)[0];
        for (int64_t i = 0; i < shape.Count(); ++i) {
          int64_t at[3] = {i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]};
          const int64_t index = values[static_cast<size_t>(i)];
          at[axis] = index < 0 ? index + data[axis] : index;
          CheckMoved(y, x, i, (at[0] * data[1] + at[1]) * data[2] + at[2], "gather elements");
        }
      }
}

TEST(gather_and_scatter_nd) {
  const HostTensor x = Floats({2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  const auto indices = [](const Shape& shape, const std::vector<int64_t>& v) {
    return Tensor(DType::kInt64, shape, v);
  };
  for (const KernelTable* table : HostTables()) {
    CHECK((OneOp("GatherND", {x, indices({2, 2}, {0, 1, -1, 0})}).Run(*table)[0].Values<float>() ==
           std::vector<float>{2, 3, 4, 5}));
    CHECK(
        (OneOp("GatherND", {x, indices({2, 1}, {1, 0})}, {{"batch_dims", int64_t{1}}}).Run(*table)[0].Values<float>() ==
         std::vector<float>{2, 3, 4, 5}));
    CHECK((OneOp("ScatterND", {x, indices({1, 2}, {1, 1}), Floats({1, 2}, {-1, -2})}).Run(*table)[0].Values<float>() ==
           std::vector<float>{0, 1, 2, 3, 4, 5, -1, -2}));
    CHECK_ERROR(Code::kInvalidArgument, OneOp("GatherND", {x, indices({1, 3}, {0, 0, 2})}).Run(*table));
    CHECK_ERROR(Code::kInvalidArgument,
                OneOp("ScatterND", {x, indices({1, 3}, {0, -3, 1}), Floats({1}, {0})}).Run(*table));
  }
}

TEST(cast_between_the_types_models_use) {
  const HostTensor x = Floats({7}, {0, -1.9f, 2.5f, 300, NAN, 3e9f, -1e30f});
  const auto to = [](DType dtype) { return Attributes{{"to", static_cast<int64_t>(dtype)}}; };
  for (const KernelTable* table : HostTables()) {
    CHECK((OneOp("Cast", {x}, to(DType::kInt32)).Run(*table)[0].Values<int32_t>() ==
           std::vector<int32_t>{0, -1, 2, 300, INT32_MIN, INT32_MIN, INT32_MIN}));
    CHECK((OneOp("Cast", {x}, to(DType::kInt64)).Run(*table)[0].Values<int64_t>() ==
           std::vector<int64_t>{0, -1, 2, 300, INT64_MIN, 3000000000, INT64_MIN}));
    CHECK((OneOp("Cast", {x}, to(DType::kBool)).Run(*table)[0].Values<uint8_t>() ==
           std::vector<uint8_t>{0, 1, 1, 1, 1, 1, 1}));
    CHECK((OneOp("Cast", {x}, to(DType::kUint8)).Run(*table)[0].Values<uint8_t>()[3] == 44));
    const HostTensor flags = Tensor(DType::kBool, Shape{2}, std::vector<bool>{true, false});
    CHECK((OneOp("Cast", {flags}, to(DType::kFloat16)).Run(*table)[0].Values<uint16_t>() ==
           std::vector<uint16_t>{0x3c00, 0}));
    const HostTensor half = Tensor(DType::kFloat16, Shape{3}, std::vector<uint16_t>{0x3c01, 0x7c00, 0x0001});
    CHECK((OneOp("Cast", {half}, to(DType::kFloat32)).Run(*table)[0].Values<float>() ==
           std::vector<float>{1.0009765625f, INFINITY, 0x1p-24f}));
    CHECK((OneOp("Cast", {half}, to(DType::kBFloat16)).Run(*table)[0].Values<uint16_t>() ==
           std::vector<uint16_t>{0x3f80, 0x7f80, 0x3380}));
    CHECK(
        (OneOp("Cast", {Ints({INT64_MAX, -1, 1LL << 32}, false)}, to(DType::kInt32)).Run(*table)[0].Values<int32_t>() ==
         std::vector<int32_t>{-1, -1, 0}));
  }
}

}  // namespace
}  // namespace ziggurat::test
