// Every pass, once. The order they run in, and why, is pipeline.cc's.
#pragma once

#include "passes/pass.h"

namespace ziggurat {

extern const Pass kChannelsLast;
extern const Pass kEliminateCommon;
extern const Pass kEliminateDead;
extern const Pass kEliminateIdentity;
extern const Pass kFoldConstants;
extern const Pass kFoldConvScale;
extern const Pass kFoldPad;
extern const Pass kFoldPositions;
extern const Pass kFoldShapes;
extern const Pass kFuseConv;
extern const Pass kFuseElementwise;
extern const Pass kFuseGate;
extern const Pass kFuseMatMul;
extern const Pass kFuseQuantized;
extern const Pass kInlineIf;
extern const Pass kLiftCuts;
extern const Pass kLiftShapes;
extern const Pass kMergeCasts;
extern const Pass kMergeProducts;
extern const Pass kMergeReshapes;
extern const Pass kMergeTransposes;
extern const Pass kRecognizeAttention;
extern const Pass kRecognizeGelu;
extern const Pass kRecognizeLayerNorm;
extern const Pass kRecognizeSwish;
extern const Pass kSinkTransposes;
extern const Pass kUnjoinProducts;

}  // namespace ziggurat
