#include "passes/passes.h"
#include "passes/runner.h"

namespace ziggurat {
namespace {

// clang-format off
constexpr PipelineRow kPipeline[] = {
    {kEliminateDead,      "what nobody reads costs every later pass time and may keep a use count above one"},
    {kEliminateIdentity,  "before folding: a Cast or Identity between two patterns hides them from each other"},
    {kFoldShapes,         "first of the folds: it makes Shape, Gather and Concat constant without computing them"},
    {kFuseQuantized,      "before folding, which would turn 8-bit weights into floats"},
    {kFoldConstants,      "after shapes: what depended on them is constant by now"},
    {kInlineIf,           "after folding, which computes conditions; before all that looks across the branch"},
    {kFoldShapes,         "again: an inlined branch and folded targets let inference see further"},
    {kFoldConstants,      "again, for the same reason"},
    {kLiftShapes,         "of the shapes that folding left; before what counts the uses of the tensors they ask"},
    {kFoldPositions,      "once dimensions are known alike wherever they were asked"},
    {kEliminateIdentity,  "again: folded operands show that a Slice, Pad, Mul or Reshape does nothing"},
    {kEliminateCommon,    "after folding made equal constants; before patterns, which count uses"},
    {kMergeCasts,         "before patterns, which casts in between would hide"},
    {kMergeReshapes,      "before transposes: a Reshape between two of them may go away"},
    {kMergeTransposes,    "after reshapes; leaves a Reshape where only extents of one move"},
    {kMergeReshapes,      "again: of the Reshapes that transposes became"},
    {kLiftCuts,           "before attention, which looks for the Transpose of each of its inputs"},
    {kMergeTransposes,    "of the parts"},
    {kMergeReshapes,      "again: of the Reshapes around and instead of the parts' Transposes"},
    {kRecognizeAttention, "after transposes have met; before fusion, which would take scale and bias as epilogues"},
    {kRecognizeLayerNorm, "before fusion, which would take the tree's Mul and Add as epilogues"},
    {kRecognizeGelu,      "before fusion, so that Gelu can be an epilogue"},
    {kRecognizeSwish,     "before fusion, for the same reason"},
    {kFoldPad,            "before fusion, which looks at Conv's own inputs only"},
    {kFoldConvScale,      "before fusion: a BatchNormalization between Conv and Relu would stop it"},
    {kFuseConv,           "after all folds: everything that can be an epilogue has its final form"},
    {kChannelsLast,       "after fuse_conv: a residual and an activation move with their convolution"},
    {kMergeTransposes,    "of the Transposes that channels_last left where islands meet"},
    {kSinkTransposes,     "where such islands meet tokens: a view stands between their Transposes"},
    {kUnjoinProducts,     "before the Reshapes it leaves on either side are merged"},
    {kMergeReshapes,      "again: of the Reshapes that transposes and products left"},
    {kEliminateIdentity,  "of Reshapes that have met their opposite, before fusion, which they would stop"},
    {kFuseMatMul,         "with fuse_conv; the two touch different nodes"},
    {kFuseGate,           "after fuse_matmul, which may have taken the activation as an epilogue"},
    {kMergeProducts,      "after fuse_matmul: a product's bias is one of its inputs by now"},
    {kEliminateIdentity,  "for what the rewrites above left over"},
    {kEliminateCommon,    "for constants that folding made twice"},
    {kFuseElementwise,    "last of the fusions: of what no product, norm or attention took"},
    {kEliminateDead,      "the plan is made of what is left"},
};
// clang-format on

}  // namespace

std::span<const PipelineRow> Pipeline() { return kPipeline; }

}  // namespace ziggurat
