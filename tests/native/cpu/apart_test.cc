// Kernels that work on columns of wider tensors: the bits of dense operands, neighbours that are neither read nor
// written.
#include "device/apart.h"

#include <cmath>

#include "cpu/op_harness.h"

namespace ziggurat::test {
namespace {

using cpu::KernelTable;

constexpr int64_t kBefore = 3;  // columns of the wider tensor before these: no row is aligned
constexpr std::byte kUntouched{0xcd};

// The tensor as columns of one that is `after` + kBefore wider, whose other columns are NaN or, for a result, marked.
struct Wide {
  Wide(const HostTensor& tensor, int64_t after, bool result) : shape(tensor.shape), dtype(tensor.dtype) {
    bytes = static_cast<int64_t>(ByteSize(dtype));
    width = shape[shape.rank() - 1], pitch = width + kBefore + after;
    memory.assign(static_cast<size_t>(Rows() * pitch * bytes), kUntouched);
    const float nan = NAN;
    for (int64_t i = 0; !result && bytes == 4 && i < Rows() * pitch; ++i) std::memcpy(memory.data() + i * 4, &nan, 4);
    for (int64_t row = 0; !result && row < Rows(); ++row)
      std::memcpy(At(row), tensor.bytes.data() + row * width * bytes, static_cast<size_t>(width * bytes));
  }
  int64_t Rows() const { return shape.Count() / width; }
  std::byte* At(int64_t row) { return memory.data() + (row * pitch + kBefore) * bytes; }
  TensorView View() { return {At(0), dtype, shape}; }
  HostTensor Dense() {
    HostTensor dense{dtype, shape, {}};
    for (int64_t row = 0; row < Rows(); ++row) dense.bytes.insert(dense.bytes.end(), At(row), At(row) + width * bytes);
    return dense;
  }
  bool IsOnlyMine() {
    for (int64_t i = 0; i < static_cast<int64_t>(memory.size()); ++i) {
      const int64_t column = i / bytes % pitch;
      if ((column < kBefore || column >= kBefore + width) && memory[static_cast<size_t>(i)] != kUntouched) return false;
    }
    return true;
  }

  Shape shape;
  DType dtype;
  int64_t bytes = 0, width = 0, pitch = 0;
  std::vector<std::byte> memory;
};

// Runs the node dense, then with each operand that may be columns, then with all of them; `y` its dense result.
void CheckApart(OneOp op, const KernelTable& table, int wanted_inputs, bool wanted_output) {
  const HostTensor dense = op.Run(table, 1)[0];
  TestSite site(op.node());
  for (int threads : {1, 3})
    for (int64_t after : {int64_t{0}, int64_t{5}, int64_t{64}}) {
      const std::unique_ptr<Kernel> kernel = FindInFamilies(site, table);
      auto* reads = dynamic_cast<ReadsApart*>(kernel.get());
      auto* writes = dynamic_cast<WritesApart*>(kernel.get());
      std::vector<Wide> wide;
      std::vector<TensorView> in;
      int moved = 0;
      wide.reserve(op.inputs().size());
      for (size_t i = 0; i < op.inputs().size(); ++i) {
        HostTensor& input = op.inputs()[i];
        if (!input.absent && !input.constant && reads && reads->TakesApart(static_cast<int>(i))) {
          wide.emplace_back(input, after + static_cast<int64_t>(i), false);
          reads->SetInputPitch(static_cast<int>(i), wide.back().pitch);
          in.push_back(wide.back().View());
          ++moved;
        } else {
          in.push_back(input.View());
        }
      }
      CHECK(moved == wanted_inputs, kernel->name(), " takes ", moved);
      const bool gives = writes && writes->GivesApart();
      CHECK(gives == wanted_output, kernel->name());
      Wide result(dense, gives ? after : -kBefore, true);
      if (gives) writes->SetRowPitch(result.pitch);
      std::vector<TensorView> out = {result.View()};
      HostTensor plain = dense;
      if (!gives) out = {plain.View()};
      ThreadPool pool(threads);
      std::vector<std::byte> scratch(kernel->ScratchBytes(in, out, threads) + 64);
      auto* aligned = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
      KernelContext context{in, out, {}, {}, aligned, Team(pool, threads), [](int, const Shape&) {}};
      if (!gives) std::fill(plain.bytes.begin(), plain.bytes.end(), kUntouched);
      kernel->Run(context);
      CHECK((gives ? result.Dense() : plain).bytes == dense.bytes, kernel->name(), " ", dense.shape, " ", after);
      CHECK(!gives || result.IsOnlyMine(), kernel->name(), " wrote into its neighbours");
    }
}

HostTensor Weights(const Shape& shape, uint64_t seed) {
  HostTensor w = RandomFloats(shape, seed, -1, 1);
  w.constant = true;
  return w;
}

}  // namespace

TEST(convolutions_of_columns_have_the_bits_of_dense_ones) {
  struct Conv {
    Shape x, w;  // x with its channels last
    int64_t group, stride, pad;
  };
  const Conv cases[] = {
      {{3, 7, 5, 24}, {17, 24, 1, 1}, 1, 1, 0},   {{1, 9, 9, 5}, {1, 5, 1, 1}, 1, 1, 0},
      {{2, 9, 8, 7}, {33, 7, 3, 3}, 1, 2, 1},     {{1, 30, 30, 16}, {48, 16, 3, 3}, 1, 1, 1},
      {{3, 13, 11, 40}, {37, 40, 3, 3}, 1, 1, 1}, {{2, 6, 6, 12}, {8, 6, 3, 3}, 2, 1, 1},
      {{3, 8, 9, 37}, {37, 1, 3, 3}, 37, 1, 1},   {{1, 14, 14, 300}, {300, 1, 5, 5}, 300, 2, 2},
      {{1, 13, 13, 5}, {5, 1, 13, 13}, 5, 1, 0},
  };
  for (const KernelTable* table : HostTables())
    for (const Conv& c : cases) {
      const Attributes attributes = {{"channels_last", int64_t{1}},
                                     {"group", c.group},
                                     {"strides", std::vector<int64_t>{c.stride, c.stride}},
                                     {"pads", std::vector<int64_t>{c.pad, c.pad, c.pad, c.pad}},
                                     {"activation", std::string("relu")}};
      const HostTensor x = RandomFloats(c.x, 1), w = Weights(c.w, 2), bias = RandomFloats({c.w[0]}, 3);
      Attributes plain = attributes;
      plain.erase("activation");
      CheckApart(OneOp("FusedConv", {x, w}, plain, 1, "zig"), *table, 1, true);
      const HostTensor residual = RandomFloats(OneOp("FusedConv", {x, w}, plain, 1, "zig").Run(*table)[0].shape, 4);
      CheckApart(OneOp("FusedConv", {x, w, bias, residual}, attributes, 1, "zig"), *table, 2, true);
    }
}

TEST(pools_of_columns_have_the_bits_of_dense_ones) {
  for (const KernelTable* table : HostTables())
    for (int64_t channels : {1, 5, 16, 37})
      for (const char* kind : {"max", "average"}) {
        const HostTensor x = RandomFloats({2, 7, 9, channels}, 1);
        for (int64_t stride : {1, 2})
          CheckApart(OneOp("ChannelsLastPool", {x},
                           {{"kind", std::string(kind)},
                            {"kernel_shape", std::vector<int64_t>{3, 3}},
                            {"strides", std::vector<int64_t>{stride, stride}},
                            {"pads", std::vector<int64_t>{1, 1, 1, 1}}},
                           1, "zig"),
                     *table, 1, true);
        CheckApart(OneOp("MaxPool", {x}, {{"kernel_shape", std::vector<int64_t>{3, 1}}}), *table, 0, false);
      }
}

TEST(element_wise_ops_of_columns_have_the_bits_of_dense_ones) {
  const std::vector<std::string> program = {"Mul x0 x2", "Add t0 x1", "Relu t1"};
  for (const KernelTable* table : HostTables())
    for (int64_t width : {1, 5, 16, 63, 64, 255, 256, 300, 1024, 1100}) {
      const HostTensor x = RandomFloats({2, 3, 5, width}, 1), y = RandomFloats({2, 3, 5, width}, 2),
                       scale = RandomFloats({width}, 3);
      CheckApart(OneOp("Add", {x, y}), *table, 2, true);
      CheckApart(OneOp("Add", {x, scale}), *table, 0, false);
      CheckApart(OneOp("Less", {x, y}), *table, 0, false);
      CheckApart(
          OneOp("Elementwise", {x, y, scale}, {{"program", program}, {"results", std::vector<int64_t>{2}}}, 1, "zig"),
          *table, 2, false);
    }
}

TEST(attention_of_columns_has_the_bits_of_dense_attention) {
  for (const KernelTable* table : HostTables())
    for (int64_t merged : {0, 1}) {
      const Attributes attributes = {{"num_heads", int64_t{3}}, {"merge_heads", merged}, {"scale", 0.5f}};
      const HostTensor q = RandomFloats({2, 9, 21}, 1), k = RandomFloats({2, 70, 21}, 2),
                       v = RandomFloats({2, 70, 15}, 3);
      CheckApart(OneOp("FusedAttention", {q, k, v}, attributes, 1, "zig"), *table, 3, false);
      const HostTensor heads = RandomFloats({2, 3, 11, 17}, 4);
      CheckApart(OneOp("FusedAttention", {heads, heads, heads}, attributes, 1, "zig"), *table, 3, false);
    }
}

TEST(concat_split_and_slice_move_columns) {
  for (const KernelTable* table : HostTables())
    for (int64_t width : {1, 7, 48}) {
      const HostTensor a = RandomFloats({3, 4, width}, 1), b = RandomFloats({3, 4, 9}, 2);
      CheckApart(OneOp("Concat", {a, b, a}, {{"axis", int64_t{2}}}), *table, 3, true);
      CheckApart(OneOp("Concat", {a, b}, {{"axis", int64_t{-1}}}), *table, 2, true);
      CheckApart(OneOp("Concat", {a, a}, {{"axis", int64_t{1}}}), *table, 0, false);
      CheckApart(OneOp("Split", {b}, {{"axis", int64_t{2}}, {"num_outputs", int64_t{1}}}), *table, 1, false);
      CheckApart(OneOp("Slice", {b, Ints({-5}), Ints({100}), Ints({2})}), *table, 1, false);
      CheckApart(OneOp("Slice", {b, Ints({3, 1}), Ints({0, 9}), Ints({1, 2}), Ints({-2, 3})}), *table, 1, false);
    }
}

}  // namespace ziggurat::test
