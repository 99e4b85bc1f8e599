// zig.SharedMatMul: products with one left side, whose rows a task packs once for all columns that it computes.
#include <string>
#include <vector>

#include "cpu/ops/gemm_tasks.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

// A longer row's packing would not stay in the second-level cache beside the panels of B.
constexpr int64_t kMostPackedK = 1024;

int64_t Lines(int64_t floats) { return RoundUp(floats, 16); }

class SharedMatMulKernel final : public Kernel {
 public:
  SharedMatMulKernel(KernelSite& site, const KernelTable& table)
      : name_(Cat("gemm.shared.f32.", table.isa)), kernels_(*table.matrix) {
    const Node& node = site.node();
    const int products = static_cast<int>(node.outputs.size());
    biased_ = static_cast<int>(node.inputs.size()) == 1 + 2 * products;
    for (int i = 0; i < products; ++i) AddProduct(site, 1 + i);
  }

  std::string_view name() const override { return name_; }
  bool NeedsInput(int i) const override { return i < 1 || i > static_cast<int>(products_.size()); }
  double Flops(std::span<const TensorView> inputs, std::span<const TensorView>) const override {
    double columns = 0;
    for (const Product& product : products_) columns += static_cast<double>(product.columns);
    return 2.0 * static_cast<double>(inputs[0].Count()) * columns;
  }
  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView>, int workers) const override {
    return static_cast<size_t>(workers * WorkerFloats(Rows(inputs[0]))) * sizeof(float);
  }

  void Run(KernelContext& context) const override {
    const TensorView& a = context.inputs[0];
    if (a.shape.rank() < 1 || a.shape[a.shape.rank() - 1] != k_)
      throw Error(Code::kInvalidArgument, "A has shape ", a.shape, ", its rows must have ", k_, " elements");
    const int64_t m = Rows(a);
    if (m == 0) return;
    // As one product with all columns side by side.
    const int64_t panels = products_.back().first_panel + products_.back().panels;
    const GemmGrid grid = CutGemm(m, panels * kernels_.nr, k_, context.team.size(), kernels_.mr, kernels_.nr);
    const auto one = [&](int64_t task, int worker) {
      float* scratch = reinterpret_cast<float*>(context.scratch) + worker * WorkerFloats(m);
      const int64_t row_part = task / grid.column_parts, column_part = task % grid.column_parts;
      RunTask(context, PartStart(m, grid.row_parts, row_part), PartStart(m, grid.row_parts, row_part + 1),
              PartStart(panels, grid.column_parts, column_part), PartStart(panels, grid.column_parts, column_part + 1),
              scratch);
    };
    if (grid.tasks() == 1)
      one(0, 0);
    else
      context.team.ParallelFor(grid.tasks(), one);
  }

 private:
  struct Product {
    std::shared_ptr<const PackedWeight> b;
    int64_t columns = 0;
    int64_t first_panel = 0, panels = 0;  // among those of all products
  };

  void AddProduct(KernelSite& site, int input) {
    const std::optional<TensorView> b = site.ConstantInput(input);
    Product product;
    k_ = b->shape[0], product.columns = b->shape[1];
    product.panels = (product.columns + kernels_.nr - 1) / kernels_.nr;
    if (!products_.empty()) product.first_panel = products_.back().first_panel + products_.back().panels;
    const auto bytes = static_cast<size_t>(PackedBFloats(kernels_, k_, product.columns)) * sizeof(float);
    // The packing that other products have, so that a weight is held once.
    product.b = site.Pack(input, Cat("gemm.b.", kernels_.nr), bytes, [&](std::byte* to) {
      PackBArgs args;
      args.b = {b->data, b->dtype, product.columns, 1};
      args.k = k_, args.n = product.columns;
      args.last_panel = product.panels;
      args.packed = reinterpret_cast<float*>(to);
      kernels_.pack_b(args);
    });
    products_.push_back(std::move(product));
  }

  int64_t Rows(const TensorView& a) const { return k_ ? a.Count() / k_ : 0; }

  bool PacksRows(int64_t rows) const { return rows > 1 && rows <= kMostRows && k_ <= kMostPackedK; }

  int64_t WorkerFloats(int64_t m) const {
    const int64_t packed = k_ <= kMostPackedK ? PackedAFloats(kernels_, std::min(m, kMostRows), k_) : 0;
    return Lines(std::max(kernels_.gemm_scratch(m, k_), packed));
  }

  // Rows [row0, row1) of panels [panel0, panel1): a product at a time.
  void RunTask(const KernelContext& context, int64_t row0, int64_t row1, int64_t panel0, int64_t panel1,
               float* scratch) const {
    if (row0 == row1) return;
    GemmArgs args;
    args.m = row1 - row0, args.k = k_;
    args.a = {context.inputs[0].As<const float>() + row0 * k_, DType::kFloat32, k_, 1};
    args.b_step = kernels_.nr, args.b_panel = kernels_.nr * k_;
    args.scratch = scratch;
    for (size_t i = 0; i < products_.size(); ++i) {
      const Product& product = products_[i];
      const int64_t first = std::max(panel0 - product.first_panel, int64_t{0});
      const int64_t last = std::min(panel1 - product.first_panel, product.panels);
      if (first >= last) continue;
      const bool more = panel1 > product.first_panel + product.panels;
      if (more && !args.a_packed && PacksRows(args.m)) {
        kernels_.pack_a(args.a, args.m, k_, scratch);
        args.a_packed = scratch;
      }
      const int64_t column0 = first * kernels_.nr;
      args.n = std::min(product.columns, last * kernels_.nr) - column0;
      args.b = reinterpret_cast<const float*>(product.b->data()) + first * args.b_panel;
      args.c = context.outputs[i].As<float>() + row0 * product.columns + column0;
      args.c_row = product.columns;
      args.epilogue = {};
      if (biased_) args.epilogue.column_bias = context.inputs[1 + products_.size() + i].As<const float>() + column0;
      kernels_.gemm(args);
    }
  }

  std::string name_;
  const MatrixKernels& kernels_;
  std::vector<Product> products_;
  int64_t k_ = 0;
  bool biased_ = false;
};

// Of matrices that are known, and results that all are wanted; others go to the expansion.
std::unique_ptr<Kernel> MakeShared(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  if (node.Input(0)->type.dtype != DType::kFloat32) return nullptr;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const auto b = site.ConstantInput(static_cast<int>(1 + i));
    if (!node.outputs[i] || !b || b->shape.rank() != 2 || b->Count() == 0) return nullptr;
    if (b->shape[0] != site.ConstantInput(1)->shape[0]) return nullptr;
  }
  return std::make_unique<SharedMatMulKernel>(site, table);
}

constexpr KernelEntry kEntries[] = {{"SharedMatMul", &MakeShared, "zig"}};

}  // namespace

std::span<const KernelEntry> SharedMatmulKernels() { return kEntries; }

}  // namespace ziggurat::cpu
