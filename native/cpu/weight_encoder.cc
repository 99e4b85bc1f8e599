#include "cpu/weight_encoder.h"

#include <cstring>
#include <vector>

#include "base/error.h"
#include "tensor/encoding.h"

namespace ziggurat::cpu {

int64_t EncodedBytes(int ggml_type, int64_t rows, int64_t k) {
  if (ggml_type != static_cast<int>(LinearFormat::kQ4_0) && ggml_type != static_cast<int>(LinearFormat::kQ8_0))
    throw Error(Code::kInvalidArgument, "weights are encoded as GGML type 2 (Q4_0) or 8 (Q8_0), not ", ggml_type);
  if (rows < 0 || k < 0 || k % kLinearGroup != 0)
    throw Error(Code::kInvalidArgument, "rows of ", k, " elements are not whole blocks of ", kLinearGroup);
  return GgmlBytes(GgmlEncoding(ggml_type), Shape{rows, k});
}

void EncodeRows(const KernelTable& table, const Team& team, const void* data, DType dtype, int64_t rows, int64_t k,
                int ggml_type, std::byte* out) {
  const int64_t row_bytes = EncodedBytes(ggml_type, 1, k);
  CastFn widen = nullptr;
  if (dtype == DType::kFloat16 || dtype == DType::kBFloat16)
    widen = table.vector->cast.find(dtype, DType::kFloat32);
  else if (dtype != DType::kFloat32)
    throw Error(Code::kInvalidArgument, "weights of ", Name(dtype),
                " cannot be encoded; float32, float16, bfloat16 can");
  const int64_t source_bytes = k * static_cast<int64_t>(ByteSize(dtype));
  // Bytes of a file may begin anywhere.
  const bool copied = widen || reinterpret_cast<uintptr_t>(data) % sizeof(float) != 0;
  std::vector<float> wide(copied ? static_cast<size_t>(k * team.size()) : 0);
  team.ParallelFor(rows, [&](int64_t row, int worker) {
    const std::byte* from = static_cast<const std::byte*>(data) + row * source_bytes;
    const float* w = reinterpret_cast<const float*>(from);
    if (copied) {
      float* to = wide.data() + worker * k;
      widen ? widen(from, to, k) : static_cast<void>(std::memcpy(to, from, static_cast<size_t>(source_bytes)));
      w = to;
    }
    if (table.linear->encode({static_cast<LinearFormat>(ggml_type), w, 1, k, out + row * row_bytes}) >= 0)
      throw Error(Code::kInvalidArgument, "row ", row,
                  " of the weight holds a value that is not finite or too large for ", FindGgmlFormat(ggml_type)->name);
  });
}

}  // namespace ziggurat::cpu
