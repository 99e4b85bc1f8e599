// Reductions of float32 (and halves through it) over any axes.
//
// The shape is cut into groups of neighbouring axes that are all kept or all reduced; groups are then reduced one at a
// time, innermost first, so that every stage is a reduction along rows or along columns.
#include <cstring>
#include <string>
#include <vector>

#include "cpu/ops/half.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"

namespace ziggurat::cpu {
namespace {

struct Recipe {
  std::string_view op;
  ReduceOp first;  // the innermost stage
  ReduceOp next;   // the stages after it
};
constexpr Recipe kRecipes[] = {
    {"ReduceSum", ReduceOp::kSum, ReduceOp::kSum},
    {"ReduceMean", ReduceOp::kSum, ReduceOp::kSum},
    {"ReduceMax", ReduceOp::kMax, ReduceOp::kMax},
    {"ReduceMin", ReduceOp::kMin, ReduceOp::kMin},
    {"ReduceProd", ReduceOp::kProd, ReduceOp::kProd},
    {"ReduceL1", ReduceOp::kSumAbs, ReduceOp::kSum},
    {"ReduceL2", ReduceOp::kSumSquare, ReduceOp::kSum},
    {"ReduceLogSum", ReduceOp::kSum, ReduceOp::kSum},
    {"ReduceSumSquare", ReduceOp::kSumSquare, ReduceOp::kSum},
    {"ReduceLogSumExp", ReduceOp::kSum, ReduceOp::kSum},
};

struct Group {
  int64_t size;
  bool reduced;
};

std::vector<Group> GroupsOf(const Shape& shape, uint32_t reduced_axes) {
  std::vector<Group> groups;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const bool reduced = reduced_axes >> axis & 1;
    if (shape[axis] == 1) continue;
    if (!groups.empty() && groups.back().reduced == reduced)
      groups.back().size *= shape[axis];
    else
      groups.push_back({shape[axis], reduced});
  }
  return groups;
}

class ReduceKernel final : public Kernel {
 public:
  ReduceKernel(const KernelTable& table, const Recipe& recipe)
      : name_(Cat(recipe.op, ".f32.", table.isa)),
        kernels_(*table.vector),
        recipe_(recipe),
        log_sum_exp_(recipe.op == "ReduceLogSumExp") {}
  std::string_view name() const override { return name_; }

  // Two buffers for what lies between stages: the first stage leaves at most half of the elements.
  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView>, int) const override {
    return inputs[0].shape.rank() < 3 ? 0 : (static_cast<size_t>(inputs[0].Count()) / 2 + 16) * 2 * sizeof(float);
  }

  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &y = context.outputs[0];
    std::vector<Group> groups = GroupsOf(x.shape, ReducedAxes(context));
    int64_t stages = 0, count = 1;
    for (const Group& group : groups)
      if (group.reduced) ++stages, count *= group.size;
    float* result = y.As<float>();
    const int64_t size = y.Count();
    if (size == 0) return;
    const auto half = static_cast<int64_t>(x.Count() / 2 + 16);
    float* buffers[2] = {reinterpret_cast<float*>(context.scratch),
                         context.scratch ? reinterpret_cast<float*>(context.scratch) + half : nullptr};
    const float* from = x.As<const float>();
    if (stages == 0) Stage(context.team, recipe_.first, from, result, size, 1, 1);
    for (int64_t stage = 0; stage < stages; ++stage) {
      float* to = stage + 1 == stages ? result : buffers[stage % 2];
      ReduceLast(context.team, stage == 0 ? recipe_.first : recipe_.next, groups, from, to);
      from = to;
    }
    Finish(result, size, count);
  }

 private:
  static uint32_t ReducedAxes(const KernelContext& context) {
    const int rank = context.inputs[0].shape.rank();
    const uint32_t all = (1u << rank) - 1;
    if (context.inputs.size() < 2 || !context.inputs[1].data) return all;
    const int64_t* axes = context.inputs[1].As<const int64_t>();
    const int64_t n = context.inputs[1].Count();
    if (n == 0) return all;
    uint32_t reduced = 0;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
      if (axis < 0 || axis >= rank)
        throw Error(Code::kInvalidArgument, "axis ", axes[i], " is out of range for rank ", rank);
      reduced |= 1u << axis;
    }
    return reduced;
  }

  // Reduces the last reduced group and takes it off the list.
  void ReduceLast(const Team& team, ReduceOp op, std::vector<Group>& groups, const float* x, float* y) const {
    size_t at = groups.size();
    while (!groups[at - 1].reduced) --at;
    int64_t outer = 1, inner = 1;
    for (size_t i = 0; i + 1 < at; ++i) outer *= groups[i].size;
    for (size_t i = at; i < groups.size(); ++i) inner *= groups[i].size;
    Stage(team, op, x, y, outer, groups[at - 1].size, inner);
    groups.erase(groups.begin() + static_cast<int64_t>(at) - 1);
  }

  // y[o, c] = op over k of x[o, k, c].
  void Stage(const Team& team, ReduceOp op, const float* x, float* y, int64_t outer, int64_t n, int64_t inner) const {
    const RowKernels& rows = kernels_.rows;
    if (inner == 1) {
      ForRows(team, outer, n, kCheapGrain, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
          y[r] = log_sum_exp_ ? rows.log_sum_exp(x + r * n, n) : rows.reduce(op, x + r * n, n);
      });
      return;
    }
    ForRanges(team, outer * inner, std::max<int64_t>(64, kCheapGrain / std::max<int64_t>(n, 1)), 64,
              [&](int64_t begin, int64_t end) {
                std::vector<float> row(log_sum_exp_ ? n : 0);
                while (begin < end) {
                  const int64_t column = begin % inner, columns = std::min(inner - column, end - begin);
                  const float* from = x + begin / inner * n * inner + column;
                  if (log_sum_exp_)
                    LogSumExpColumns(from, y + begin, inner, columns, row);
                  else
                    rows.reduce_columns(op, from, y + begin, n, inner, columns);
                  begin += columns;
                }
              });
  }

  void LogSumExpColumns(const float* x, float* y, int64_t stride, int64_t columns, std::vector<float>& row) const {
    const auto n = static_cast<int64_t>(row.size());
    for (int64_t c = 0; c < columns; ++c) {
      for (int64_t k = 0; k < n; ++k) row[k] = x[k * stride + c];
      y[c] = kernels_.rows.log_sum_exp(row.data(), n);
    }
  }

  void Finish(float* y, int64_t size, int64_t count) const {
    if (recipe_.op == "ReduceMean") {
      const auto divisor = static_cast<float>(count);
      kernels_.elementwise.binary(BinaryOp::kDiv, DType::kFloat32)(y, &divisor, y, size, Form::kScalarB);
    } else if (recipe_.op == "ReduceL2") {
      kernels_.elementwise.unary(UnaryOp::kSqrt)(y, y, size, {});
    } else if (recipe_.op == "ReduceLogSum") {
      kernels_.elementwise.unary(UnaryOp::kLog)(y, y, size, {});
    }
  }

  std::string name_;
  const VectorKernels& kernels_;
  const Recipe& recipe_;
  bool log_sum_exp_;
};

std::unique_ptr<Kernel> MakeReduce(KernelSite& site, const KernelTable& table) {
  const Node& node = site.node();
  if (node.Int("noop_with_empty_axes")) {
    const auto axes = site.ConstantInput(1);
    if (!axes || axes->Count() == 0) return nullptr;
  }
  for (const Recipe& recipe : kRecipes)
    if (recipe.op == node.op->name)
      return ForFloats(site, table, [&] { return std::make_unique<ReduceKernel>(table, recipe); });
  return nullptr;
}

constexpr KernelEntry kEntries[] = {
    {"ReduceSum", MakeReduce},       {"ReduceMean", MakeReduce}, {"ReduceMax", MakeReduce},
    {"ReduceMin", MakeReduce},       {"ReduceL1", MakeReduce},   {"ReduceL2", MakeReduce},
    {"ReduceLogSum", MakeReduce},    {"ReduceProd", MakeReduce}, {"ReduceLogSumExp", MakeReduce},
    {"ReduceSumSquare", MakeReduce},
};

}  // namespace

std::span<const KernelEntry> ReduceKernels() { return kEntries; }

}  // namespace ziggurat::cpu
