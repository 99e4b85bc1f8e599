// Float weights to GGML blocks: what weights="int8" and weights="int4" do at load.
#pragma once

#include "base/thread_pool.h"
#include "cpu/kernel_table.h"
#include "tensor/dtype.h"

namespace ziggurat::cpu {

// Bytes of `rows` rows of k elements in that format. Throws kInvalidArgument unless `ggml_type` is Q4_0 or Q8_0 and k a
// multiple of 32.
int64_t EncodedBytes(int ggml_type, int64_t rows, int64_t k);

// Encodes data [rows, k] of float32, float16 or bfloat16 into EncodedBytes bytes at `out`. Q8_0 takes the nearest
// codes, Q4_0 the scale of least squared error among sixteen. Throws kInvalidArgument for another dtype, and naming the
// row where an element is not finite or beyond what a float16 scale reaches.
void EncodeRows(const KernelTable& table, const Team& team, const void* data, DType dtype, int64_t rows, int64_t k,
                int ggml_type, std::byte* out);

}  // namespace ziggurat::cpu
