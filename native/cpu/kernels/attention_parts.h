// What the attention units of one instruction set share. Include it from kernel units only.
#pragma once

#include <math.h>

#include "cpu/kernels/attention.h"
#include "cpu/kernels/vector_math.h"
#include "cpu/kernels/vector_tree.h"
#include "cpu/simd.h"

namespace ziggurat::cpu::ZIGGURAT_ISA {

int64_t AttentionScratch(int64_t rows, int64_t head_dim);
void AttentionChunk(const AttentionTile& tile, int64_t chunk, const AttentionPart& part);
void AttentionMerge(int64_t rows, int64_t head_dim, const AttentionPart& part, const AttentionPart& state);
void AttentionFinish(const AttentionTile& tile, const AttentionPart& state, float* out, int64_t out_token);
void StoreKeys(const KvRows& keys, int64_t begin, int64_t end);
void StoreValues(const KvRows& values, int64_t begin, int64_t end);
void Rotary(const RotaryArgs& args);
void DenseAttend(const DenseAttention& args);
int64_t DenseScratch(int64_t queries, int64_t keys, int64_t size, int64_t value_size);

}  // namespace ziggurat::cpu::ZIGGURAT_ISA
