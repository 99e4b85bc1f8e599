// Attention over a paged cache and what feeds it: storing keys and values, rotary positions.
//
// A task is some tokens of one sequence with the query heads that share one head of keys; it walks the chunks of its
// context in ascending order. Where a step has too few such tasks (one sequence decoding), the chunks become tasks of
// their own and are merged afterwards, in the same order: the same bits.
#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/attention_table.h"
#include "cpu/ops/ranges.h"
#include "cpu/ops/registry.h"
#include "device/paged_step.h"

namespace ziggurat::cpu {
namespace {

static_assert(kKvBlock == KvPool::kBlockTokens);

// Rows of queries that a task holds: their scores of a chunk take 2 KiB each.
constexpr int64_t kTaskRows = 32;

int64_t Lines(int64_t floats) { return RoundUp(floats, 16); }
int64_t PartFloats(int64_t rows, int64_t head_dim) { return Lines(rows * head_dim) + 2 * Lines(rows); }

AttentionPart PartAt(float* base, int64_t rows, int64_t head_dim) {
  return {base, base + Lines(rows * head_dim), base + Lines(rows * head_dim) + Lines(rows)};
}

void Clear(const AttentionPart& state, int64_t rows, int64_t head_dim) {
  std::fill_n(state.values, rows * head_dim, 0.0f);
  std::fill_n(state.most, rows, -INFINITY);
  std::fill_n(state.weights, rows, 0.0f);
}

class PagedAttentionKernel final : public Kernel {
 public:
  PagedAttentionKernel(const Node& node, const KernelTable& table)
      : attributes_(node), group_(attributes_.heads / attributes_.kv_heads), kernels_(AttentionOf(table)) {}

  std::string_view name() const override { return "paged_attention"; }

  size_t ScratchBytes(std::span<const TensorView> inputs, std::span<const TensorView>, int workers) const override {
    const Sizes sizes = SizesOf(inputs, workers);
    return static_cast<size_t>((workers * sizes.worker + sizes.parts * sizes.part) * 4);
  }

  void Run(KernelContext& context) const override {
    const PagedStep step(context, attributes_);
    float* out = context.outputs[0].As<float>();
    const int64_t held = step.sequences ? step.starts[step.sequences] : 0, first = step.sequences ? step.starts[0] : 0;
    const int64_t width = context.outputs[0].shape[1];
    std::fill_n(out, first * width, 0.0f);
    std::fill_n(out + held * width, (step.tokens - held) * width, 0.0f);
    const Sizes sizes = SizesOf(context.inputs, context.team.size());
    if (sizes.parts)
      RunSplit(context, step, sizes, out);
    else
      RunTasks(context, step, sizes, out);
  }

 private:
  // In floats.
  struct Sizes {
    int64_t rows;    // of a task
    int64_t worker;  // scratch, part and state of a worker
    int64_t part;
    int64_t parts;   // of the whole step, where chunks are tasks; otherwise 0
    int64_t chunks;  // of the longest context there can be
  };
  // A task's tokens.
  struct Task {
    int64_t sequence, begin, end;
  };

  int64_t TaskTokens() const { return std::max<int64_t>(1, kTaskRows / group_); }

  Sizes SizesOf(std::span<const TensorView> inputs, int workers) const {
    const int64_t tokens = inputs[0].shape[0], head_dim = inputs[0].shape[1] / attributes_.heads;
    Sizes sizes{};
    sizes.rows = std::min(tokens, TaskTokens()) * group_;
    sizes.part = PartFloats(sizes.rows, head_dim);
    sizes.worker = Lines(kernels_.scratch(sizes.rows, head_dim) / 4) + 2 * sizes.part;
    sizes.chunks = (inputs[4].shape[1] * kKvBlock + kAttentionChunk - 1) / kAttentionChunk;
    if (workers > 1 && tokens * attributes_.kv_heads < 2 * workers && sizes.chunks > 1)
      sizes.parts = tokens * attributes_.kv_heads * sizes.chunks;
    return sizes;
  }

  std::vector<Task> Tasks(const PagedStep& step, int64_t tokens) const {
    std::vector<Task> tasks;
    for (int64_t s = 0; s < step.sequences; ++s)
      for (int64_t t = step.starts[s]; t < step.starts[s + 1]; t += tokens)
        tasks.push_back({s, t, std::min(t + tokens, step.starts[s + 1])});
    // The longest contexts first, so that no worker begins one when the others end.
    std::stable_sort(tasks.begin(), tasks.end(), [&](const Task& a, const Task& b) {
      return step.positions[a.end - 1] > step.positions[b.end - 1];
    });
    return tasks;
  }

  AttentionTile TileOf(const KernelContext& context, const PagedStep& step, const Task& task, int64_t kv_head) const {
    AttentionTile tile;
    tile.q_token = attributes_.heads * step.head_dim;
    tile.q = context.inputs[0].As<const float>() + task.begin * tile.q_token + kv_head * group_ * step.head_dim;
    tile.tokens = task.end - task.begin, tile.group = group_, tile.head_dim = step.head_dim;
    tile.positions = step.positions + task.begin;
    tile.window = attributes_.window, tile.scale = attributes_.scale, tile.softcap = attributes_.softcap;
    tile.blocks = step.pool->Layer(attributes_.layer) + kv_head * step.pool->head_stride();
    tile.block_stride = step.pool->block_stride();
    tile.table = step.table + task.sequence * step.table_row;
    tile.dtype = step.pool->shape().dtype;
    return tile;
  }

  // The chunks that some token of the tile sees.
  struct Chunks {
    int64_t first, last;
  };
  Chunks ChunksOf(const AttentionTile& tile) const {
    const auto [least, most] = std::minmax_element(tile.positions, tile.positions + tile.tokens);
    return {PagedStep::First(attributes_, *least) / kAttentionChunk, *most / kAttentionChunk};
  }

  void RunTasks(KernelContext& context, const PagedStep& step, const Sizes& sizes, float* out) const {
    const std::vector<Task> tasks = Tasks(step, TaskTokens());
    const int64_t heads = attributes_.kv_heads;
    float* scratch = reinterpret_cast<float*>(context.scratch);
    context.team.ParallelFor(static_cast<int64_t>(tasks.size()) * heads, [&](int64_t i, int worker) {
      float* own = scratch + worker * sizes.worker;
      AttentionTile tile = TileOf(context, step, tasks[i / heads], i % heads);
      tile.scratch = reinterpret_cast<std::byte*>(own + 2 * sizes.part);
      const int64_t rows = tile.tokens * group_;
      const AttentionPart part = PartAt(own, rows, step.head_dim),
                          state = PartAt(own + sizes.part, rows, step.head_dim);
      Clear(state, rows, step.head_dim);
      const Chunks chunks = ChunksOf(tile);
      for (int64_t chunk = chunks.first; chunk <= chunks.last; ++chunk) {
        kernels_.chunk(tile, chunk, part);
        kernels_.merge(rows, step.head_dim, part, state);
      }
      kernels_.finish(tile, state, OutOf(tasks[i / heads], i % heads, step, out), attributes_.heads * step.head_dim);
    });
  }

  float* OutOf(const Task& task, int64_t kv_head, const PagedStep& step, float* out) const {
    return out + (task.begin * attributes_.heads + kv_head * group_) * step.head_dim;
  }

  // A token at a time, each of its chunks a task.
  void RunSplit(KernelContext& context, const PagedStep& step, const Sizes& sizes, float* out) const {
    const std::vector<Task> tasks = Tasks(step, 1);
    const int64_t heads = attributes_.kv_heads, chunks = sizes.chunks;
    float* scratch = reinterpret_cast<float*>(context.scratch);
    float* parts = scratch + context.team.size() * sizes.worker;
    const auto part_of = [&](int64_t i, int64_t chunk) {
      return PartAt(parts + (i * chunks + chunk) * sizes.part, group_, step.head_dim);
    };
    const int64_t all = static_cast<int64_t>(tasks.size()) * heads;
    context.team.ParallelFor(all * chunks, [&](int64_t j, int worker) {
      const int64_t i = j / chunks, chunk = j % chunks;
      AttentionTile tile = TileOf(context, step, tasks[i / heads], i % heads);
      const Chunks seen = ChunksOf(tile);
      if (chunk < seen.first || chunk > seen.last) return;
      tile.scratch = reinterpret_cast<std::byte*>(scratch + worker * sizes.worker + 2 * sizes.part);
      kernels_.chunk(tile, chunk, part_of(i, chunk));
    });
    const AttentionPart state = PartAt(scratch + sizes.part, group_, step.head_dim);
    for (int64_t i = 0; i < all; ++i) {
      const AttentionTile tile = TileOf(context, step, tasks[i / heads], i % heads);
      Clear(state, group_, step.head_dim);
      const Chunks seen = ChunksOf(tile);
      for (int64_t chunk = seen.first; chunk <= seen.last; ++chunk)
        kernels_.merge(group_, step.head_dim, part_of(i, chunk), state);
      kernels_.finish(tile, state, OutOf(tasks[i / heads], i % heads, step, out), attributes_.heads * step.head_dim);
    }
  }

  PagedAttributes attributes_;
  int64_t group_;
  const AttentionKernels& kernels_;
};

class KvWriteKernel final : public Kernel {
 public:
  KvWriteKernel(const Node& node, const KernelTable& table) : layer_(node.Int("layer")), kernels_(AttentionOf(table)) {}
  std::string_view name() const override { return "kv_write"; }
  void Run(KernelContext& context) const override {
    const KvPool& pool = CheckKvWrite(context, layer_);
    const int64_t tokens = context.inputs[3].shape[0], heads = pool.shape().kv_heads, width = pool.shape().head_dim;
    ForRows(context.team, 2 * heads, tokens * width, kCheapGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t head = i / 2;
        KvRows rows;
        rows.rows = context.inputs[1 + i % 2].As<const float>() + head * width;
        rows.row_stride = heads * width, rows.head_dim = width;
        rows.blocks = pool.Layer(layer_) + head * pool.head_stride(), rows.block_stride = pool.block_stride();
        rows.slots = context.inputs[3].As<const int64_t>();
        rows.dtype = pool.shape().dtype;
        (i % 2 ? kernels_.store_values : kernels_.store_keys)(rows, 0, tokens);
      }
    });
    *context.output_objects[0] = *context.input_objects[0];
  }

 private:
  int64_t layer_;
  const AttentionKernels& kernels_;
};

class RotaryKernel final : public Kernel {
 public:
  RotaryKernel(const Node& node, const KernelTable& table)
      : heads_(node.Int("num_heads")),
        size_(node.Int("rotary_embedding_dim")),
        interleaved_(node.Int("interleaved") != 0),
        kernels_(AttentionOf(table)) {}
  std::string_view name() const override { return "rotary.f32"; }
  int InPlaceInput(int) const override { return 0; }

  void Run(KernelContext& context) const override {
    const TensorView &x = context.inputs[0], &y = context.outputs[0];
    const bool flat = x.shape.rank() == 3;
    const int64_t heads = flat ? heads_ : x.shape[1], tokens = x.shape[flat ? 1 : 2];
    const int64_t width = flat ? x.shape[2] / heads : x.shape[3], size = size_ ? size_ : width;
    if (size % 2 || size > width || (flat && x.shape[2] % heads))
      throw Error(Code::kInvalidArgument, size, " elements cannot turn in ", heads, " heads of input ", x.shape);
    const bool gathers = context.inputs.size() > 3 && context.inputs[3].data;
    const int64_t cached = CheckCache(context, x.shape[0], tokens, size, gathers);
    ForRows(context.team, x.shape[0] * tokens, heads * width, kCostlyGrain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t batch = row / tokens, token = row % tokens;
        const int64_t at = (gathers ? Position(context, row, cached) : row) * (size / 2);
        RotaryArgs args;
        const int64_t offset = batch * heads * tokens * width + token * (flat ? heads * width : width);
        args.x = x.As<const float>() + offset, args.y = y.As<float>() + offset;
        args.cosine = context.inputs[1].As<const float>() + at, args.sine = context.inputs[2].As<const float>() + at;
        args.tokens = 1, args.heads = heads, args.head_dim = width;
        args.x_head = flat ? width : tokens * width;
        args.size = size, args.interleaved = interleaved_;
        kernels_.rotary(args);
      }
    });
  }

 private:
  // Both caches are [batch, tokens, size / 2], or [positions, size / 2], whose number of positions is returned.
  static int64_t CheckCache(const KernelContext& context, int64_t batch, int64_t tokens, int64_t size, bool gathers) {
    for (int i : {1, 2}) {
      const Shape& shape = context.inputs[i].shape;
      const Shape wanted = gathers ? Shape{shape[0], size / 2} : Shape{batch, tokens, size / 2};
      if (!(shape == wanted) || !(shape == context.inputs[1].shape))
        throw Error(Code::kInvalidArgument, "a cache of shape ", shape, " does not turn ", size, " elements of ",
                    batch * tokens, " tokens");
    }
    if (gathers && !(context.inputs[3].shape == Shape{batch, tokens}))
      throw Error(Code::kInvalidArgument, "position_ids of shape ", context.inputs[3].shape);
    return context.inputs[1].shape[0];
  }
  static int64_t Position(const KernelContext& context, int64_t row, int64_t cached) {
    const int64_t given = context.inputs[3].As<const int64_t>()[row], position = given < 0 ? given + cached : given;
    if (position < 0 || position >= cached)
      throw Error(Code::kInvalidArgument, "position ", given, " is out of range for a cache of ", cached);
    return position;
  }

  int64_t heads_, size_;
  bool interleaved_;
  const AttentionKernels& kernels_;
};

std::unique_ptr<Kernel> MakePagedAttention(KernelSite& site, const KernelTable& table) {
  return std::make_unique<PagedAttentionKernel>(site.node(), table);
}
std::unique_ptr<Kernel> MakeKvWrite(KernelSite& site, const KernelTable& table) {
  return std::make_unique<KvWriteKernel>(site.node(), table);
}
std::unique_ptr<Kernel> MakeRotary(KernelSite& site, const KernelTable& table) {
  if (site.node().Input(0)->type.dtype != DType::kFloat32) return nullptr;
  return std::make_unique<RotaryKernel>(site.node(), table);
}

constexpr KernelEntry kEntries[] = {
    {"PagedAttention", &MakePagedAttention, "zig"}, {"KvWrite", &MakeKvWrite, "zig"}, {"RotaryEmbedding", &MakeRotary}};

}  // namespace

std::span<const KernelEntry> PagedKernels() { return kEntries; }

}  // namespace ziggurat::cpu
