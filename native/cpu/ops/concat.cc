// Concat and Split: outer x pieces of contiguous memory. Pieces that lie in their place already, as the plan may have
// it (runtime/parts.h), are left there.
#include <cstring>
#include <string>
#include <vector>

#include "cpu/ops/arguments.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"
#include "cpu/ops/strided.h"
#include "device/apart.h"

namespace ziggurat::cpu {
namespace {

// A tensor's part of a row of the joined tensor, in bytes.
struct Piece {
  std::byte* data;
  int64_t bytes;
  int64_t offset;
  int64_t step;  // from one row to the next
};

// Walks every (outer, piece) pair; rows of `joined`, which the pieces make up, lie `row_step` apart.
template <typename Copy>
void ForPieces(const Team& team, std::byte* joined, int64_t row_step, int64_t outer, std::vector<Piece> pieces,
               const Copy& copy) {
  int64_t row_bytes = 0;
  std::erase_if(pieces, [&](const Piece& piece) { return piece.bytes == 0 || piece.data == joined + piece.offset; });
  for (const Piece& piece : pieces) row_bytes += piece.bytes;
  if (pieces.empty()) return;
  const auto count = static_cast<int64_t>(pieces.size());
  ForRows(team, outer * count, row_bytes / count, kCopyGrain, [&](int64_t begin, int64_t end) {
    int64_t row = begin / count, at = begin % count;
    for (int64_t i = begin; i < end; ++i) {
      const Piece& piece = pieces[static_cast<size_t>(at)];
      copy(joined + row * row_step + piece.offset, piece.data + row * piece.step, static_cast<size_t>(piece.bytes));
      if (++at == count) at = 0, ++row;
    }
  });
}

// Pieces of `tensors` along `axis`; throws if they do not make up `joined`.
template <typename Tensors>
std::vector<Piece> PiecesOf(const Tensors& tensors, const TensorView& joined, int axis, int64_t element_bytes) {
  std::vector<Piece> pieces;
  const int64_t inner = joined.shape.Count(axis + 1, joined.shape.rank()) * element_bytes;
  int64_t offset = 0;
  for (const TensorView& tensor : tensors) {
    bool fits = tensor.shape.rank() == joined.shape.rank();
    for (int i = 0; fits && i < joined.shape.rank(); ++i) fits = i == axis || tensor.shape[i] == joined.shape[i];
    if (!fits)
      throw Error(Code::kInvalidArgument, "shape ", tensor.shape, " is no part of ", joined.shape, " along axis ",
                  axis);
    const int64_t bytes = tensor.shape[axis] * inner;
    pieces.push_back({tensor.template As<std::byte>(), bytes, offset, bytes});
    offset += pieces.back().bytes;
  }
  if (offset != joined.shape[axis] * inner)
    throw Error(Code::kInvalidArgument, "the parts do not add up to ", joined.shape[axis], " along axis ", axis);
  return pieces;
}

bool IsAlongLast(const Node& node) {
  const Type& type = node.Input(0)->type;
  const int64_t axis = node.Int("axis", 0);
  return axis == -1 || (type.HasRank() && axis == type.Rank() - 1);
}

class ConcatKernel final : public Kernel, public WritesApart, public ReadsApart {
 public:
  ConcatKernel(const Node& node, int64_t element_bytes)
      : axis_(node.Int("axis", 0)), element_bytes_(element_bytes), along_last_(IsAlongLast(node)) {}
  std::string_view name() const override { return "copy.Concat"; }
  bool GivesApart() const override { return along_last_; }
  bool TakesApart(int) const override { return along_last_; }
  void Run(KernelContext& context) const override {
    const TensorView& y = context.outputs[0];
    if (y.Count() == 0) return;
    const int axis = ResolveAxis(axis_, y.shape.rank());
    auto pieces = PiecesOf(context.inputs, y, axis, element_bytes_);
    if (along_last_)
      for (size_t i = 0; i < pieces.size(); ++i)
        pieces[i].step = InputPitch(i, context.inputs[i].shape[axis]) * element_bytes_;
    const int64_t row = RowPitch(y.shape.Count(axis, y.shape.rank())) * element_bytes_;
    ForPieces(context.team, y.As<std::byte>(), row, y.shape.Count(0, axis), std::move(pieces),
              [](std::byte* joined, std::byte* piece, size_t bytes) { std::memcpy(joined, piece, bytes); });
  }

 private:
  int64_t axis_, element_bytes_;
  bool along_last_;
};

class SplitKernel final : public Kernel, public ReadsApart {
 public:
  SplitKernel(const Node& node, int64_t element_bytes)
      : axis_(node.Int("axis", 0)), element_bytes_(element_bytes), along_last_(IsAlongLast(node)) {}
  std::string_view name() const override { return "copy.Split"; }
  bool TakesApart(int input) const override { return input == 0 && along_last_; }
  void Run(KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    if (x.Count() == 0) return;
    const int axis = ResolveAxis(axis_, x.shape.rank());
    auto pieces = PiecesOf(context.outputs, x, axis, element_bytes_);
    const int64_t row = InputPitch(0, x.shape.Count(axis, x.shape.rank())) * element_bytes_;
    ForPieces(context.team, x.As<std::byte>(), row, x.shape.Count(0, axis), std::move(pieces),
              [](std::byte* joined, std::byte* piece, size_t bytes) { std::memcpy(piece, joined, bytes); });
  }

 private:
  int64_t axis_, element_bytes_;
  bool along_last_;
};

template <typename KernelType>
std::unique_ptr<Kernel> Make(KernelSite& site, const KernelTable&) {
  const Node& node = site.node();
  const auto bytes = static_cast<int64_t>(ByteSize(node.Input(0)->type.dtype));
  if (bytes == 0) return nullptr;
  for (const Value* output : node.outputs)
    if (!output) return nullptr;
  return std::make_unique<KernelType>(node, bytes);
}

constexpr KernelEntry kEntries[] = {{"Concat", Make<ConcatKernel>}, {"Split", Make<SplitKernel>}};

}  // namespace

std::span<const KernelEntry> ConcatKernels() { return kEntries; }

}  // namespace ziggurat::cpu
