// Keys and values into the paged cache; rotary positions.
#include "cpu/kernels/attention_parts.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {
namespace {

// Elements converted at a time, on the stack.
constexpr int64_t kPiece = 128;

// The scale with which the row's largest magnitude becomes 127; NaN where a value is not finite.
float ScaleOf(const float* x, int64_t n) {
  const auto step = [](F32 most, F32 v) ZIGGURAT_LAMBDA { return MaxNan(most, Abs(v)); };
  const float most = MaxLanes(Tree(x, n, Zero(), step, JoinMax));
  return most < INFINITY ? most / 127.0f : __builtin_nanf("");
}

void ToInt8(const float* x, int64_t n, float scale, int8_t* out) {
  if (!(scale > 0)) {
    for (int64_t i = 0; i < n; ++i) out[i] = 0;
    return;
  }
  alignas(64) int32_t whole[kLanes];
  for (int64_t i = 0; i < n; i += kLanes) {
    const int left = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    const F32 rounded = RoundEven(LoadPart(x + i, left) / Set(scale));
    Store(ToI32Round(Clamp(rounded, Set(-127.0f), Set(127.0f))), whole);
    for (int j = 0; j < left; ++j) out[i + j] = static_cast<int8_t>(whole[j]);
  }
}

// Rounds up to kPiece elements to the cache's type and hands them to `put(index, element)`.
template <typename Put>
ZIGGURAT_INLINE void ForElements(const float* x, int64_t n, DType dtype, float scale, Put put) {
  alignas(64) uint16_t codes[kPiece];
  alignas(64) int8_t bytes[kPiece];
  for (int64_t start = 0; start < n; start += kPiece) {
    const int64_t count = n - start < kPiece ? n - start : kPiece;
    const float* from = x + start;
    if (dtype == DType::kFloat32) {
      for (int64_t i = 0; i < count; ++i) put(start + i, from[i]);
    } else if (dtype == DType::kInt8) {
      ToInt8(from, count, scale, bytes);
      for (int64_t i = 0; i < count; ++i) put(start + i, bytes[i]);
    } else {
      for (int64_t i = 0; i < count; i += kLanes) {
        const int left = static_cast<int>(count - i < kLanes ? count - i : kLanes);
        const F32 v = LoadPart(from + i, left);
        if (dtype == DType::kFloat16)
          StoreF16(v, codes + i);
        else
          StoreBf16(v, codes + i);
      }
      for (int64_t i = 0; i < count; ++i) put(start + i, codes[i]);
    }
  }
}

template <bool values>
void StoreRows(const KvRows& args, int64_t begin, int64_t end) {
  const int64_t width = args.head_dim, elements = kKvBlock * width;
  for (int64_t t = begin; t < end; ++t) {
    const int64_t slot = args.slots[t];
    if (slot < 0) continue;
    const int64_t token = slot % kKvBlock;
    std::byte* head = args.blocks + slot / kKvBlock * args.block_stride;
    const float* x = args.rows + t * args.row_stride;
    float scale = 0;
    if (args.dtype == DType::kInt8) {
      scale = ScaleOf(x, width);
      reinterpret_cast<float*>(head + 2 * elements)[values ? kKvBlock + token : token] = scale;
    }
    ForElements(x, width, args.dtype, scale, [=]<typename T>(int64_t i, T element) ZIGGURAT_LAMBDA {
      T* to = reinterpret_cast<T*>(head);
      to[values ? elements + token * width + i : i * kKvBlock + token] = element;
    });
  }
}

// The products are rounded by themselves, as the op's definition has them.
void TurnHalves(const float* x, float* y, const float* cosine, const float* sine, int64_t half) {
  for (int64_t i = 0; i < half; i += kLanes) {
    const int left = static_cast<int>(half - i < kLanes ? half - i : kLanes);
    const F32 a = LoadPart(x + i, left), b = LoadPart(x + half + i, left);
    const F32 c = LoadPart(cosine + i, left), s = LoadPart(sine + i, left);
    StorePart(c * a - s * b, y + i, left);
    StorePart(s * a + c * b, y + half + i, left);
  }
}

void TurnPairs(const float* x, float* y, const float* cosine, const float* sine, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    y[2 * i] = cosine[i] * a - sine[i] * b;
    y[2 * i + 1] = sine[i] * a + cosine[i] * b;
  }
}

}  // namespace

void StoreKeys(const KvRows& keys, int64_t begin, int64_t end) { StoreRows<false>(keys, begin, end); }
void StoreValues(const KvRows& values, int64_t begin, int64_t end) { StoreRows<true>(values, begin, end); }

void Rotary(const RotaryArgs& args) {
  const int64_t half = args.size / 2;
  for (int64_t t = 0; t < args.tokens; ++t)
    for (int64_t head = 0; head < args.heads; ++head) {
      const int64_t at = t * args.x_token + head * args.x_head;
      const float *cosine = args.cosine + t * half, *sine = args.sine + t * half;
      if (args.interleaved)
        TurnPairs(args.x + at, args.y + at, cosine, sine, half);
      else
        TurnHalves(args.x + at, args.y + at, cosine, sine, half);
      if (args.x != args.y)
        for (int64_t i = args.size; i < args.head_dim; ++i) args.y[at + i] = args.x[at + i];
    }
}

extern const AttentionKernels kAttentionKernels;
const AttentionKernels kAttentionKernels = {
    .scratch = &AttentionScratch,
    .chunk = &AttentionChunk,
    .merge = &AttentionMerge,
    .finish = &AttentionFinish,
    .store_keys = &StoreKeys,
    .store_values = &StoreValues,
    .rotary = &Rotary,
    .dense = &DenseAttend,
    .dense_scratch = &DenseScratch,
};

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
