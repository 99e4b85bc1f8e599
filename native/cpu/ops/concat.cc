// Concat and Split: outer x pieces of contiguous memory.
#include <cstring>
#include <string>
#include <vector>

#include "cpu/ops/arguments.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"
#include "cpu/ops/strided.h"

namespace ziggurat::cpu {
namespace {

// A tensor's part of a row of the joined tensor, in bytes.
struct Piece {
  std::byte* data;
  int64_t bytes;
  int64_t offset;
};

// Walks every (outer, piece) pair; `joined` is the row of `row_bytes` that the pieces make up.
template <typename Copy>
void ForPieces(const Team& team, std::byte* joined, int64_t row_bytes, int64_t outer, const std::vector<Piece>& pieces,
               const Copy& copy) {
  const auto count = static_cast<int64_t>(pieces.size());
  ForRows(team, outer * count, row_bytes / std::max<int64_t>(count, 1), kCopyGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Piece& piece = pieces[i % count];
      if (piece.bytes == 0) continue;
      const int64_t row = i / count;
      copy(joined + row * row_bytes + piece.offset, piece.data + row * piece.bytes, static_cast<size_t>(piece.bytes));
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
    pieces.push_back({tensor.template As<std::byte>(), tensor.shape[axis] * inner, offset});
    offset += pieces.back().bytes;
  }
  if (offset != joined.shape[axis] * inner)
    throw Error(Code::kInvalidArgument, "the parts do not add up to ", joined.shape[axis], " along axis ", axis);
  return pieces;
}

class ConcatKernel final : public Kernel {
 public:
  ConcatKernel(int64_t axis, int64_t element_bytes) : axis_(axis), element_bytes_(element_bytes) {}
  std::string_view name() const override { return "copy.Concat"; }
  void Run(KernelContext& context) const override {
    const TensorView& y = context.outputs[0];
    if (y.Count() == 0) return;
    const int axis = ResolveAxis(axis_, y.shape.rank());
    auto pieces = PiecesOf(context.inputs, y, axis, element_bytes_);
    // What a step before wrote to its place already is there (planner.cc, PlaceParts).
    std::erase_if(pieces, [&](const Piece& piece) { return piece.data == y.As<std::byte>() + piece.offset; });
    if (pieces.empty()) return;
    const int64_t row = y.shape.Count(axis, y.shape.rank()) * element_bytes_;
    ForPieces(context.team, y.As<std::byte>(), row, y.shape.Count(0, axis), pieces,
              [](std::byte* joined, std::byte* piece, size_t bytes) { std::memcpy(joined, piece, bytes); });
  }

 private:
  int64_t axis_, element_bytes_;
};

class SplitKernel final : public Kernel {
 public:
  SplitKernel(int64_t axis, int64_t element_bytes) : axis_(axis), element_bytes_(element_bytes) {}
  std::string_view name() const override { return "copy.Split"; }
  void Run(KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    if (x.Count() == 0) return;
    const int axis = ResolveAxis(axis_, x.shape.rank());
    const auto pieces = PiecesOf(context.outputs, x, axis, element_bytes_);
    const int64_t row = x.shape.Count(axis, x.shape.rank()) * element_bytes_;
    ForPieces(context.team, x.As<std::byte>(), row, x.shape.Count(0, axis), pieces,
              [](std::byte* joined, std::byte* piece, size_t bytes) { std::memcpy(piece, joined, bytes); });
  }

 private:
  int64_t axis_, element_bytes_;
};

template <typename KernelType>
std::unique_ptr<Kernel> Make(KernelSite& site, const KernelTable&) {
  const Node& node = site.node();
  const auto bytes = static_cast<int64_t>(ByteSize(node.Input(0)->type.dtype));
  if (bytes == 0) return nullptr;
  for (const Value* output : node.outputs)
    if (!output) return nullptr;
  return std::make_unique<KernelType>(node.Int("axis", 0), bytes);
}

constexpr KernelEntry kEntries[] = {{"Concat", Make<ConcatKernel>}, {"Split", Make<SplitKernel>}};

}  // namespace

std::span<const KernelEntry> ConcatKernels() { return kEntries; }

}  // namespace ziggurat::cpu
