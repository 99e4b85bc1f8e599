// RNN, GRU and LSTM.
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// Gates in a cell, and how many outputs follow Y.
void InferRecurrent(InferContext& c, int gates, int states) {
  for (int i = 0; i < 3; ++i) c.ExpectRank(i, 3);
  c.ExpectRank(3, 2);
  c.ExpectRank(4, 1);
  const DType dtype = c.InputDType(0);
  const int64_t layout = c.node().Int("layout");
  if (layout != 0 && layout != 1) c.Fail("layout is ", layout, ", expected 0 or 1");
  const Dim directions =
      Choice(c, "direction", {"forward", "reverse", "bidirectional"}) == "bidirectional" ? Dim(2) : Dim(1);
  std::optional<Dim> hidden;
  if (c.node().Has("hidden_size")) hidden = Dim(c.node().Int("hidden_size"));
  if (c.HasRank(2)) hidden = hidden ? c.Same(*hidden, c.InputShape(2)[2], "hidden sizes") : c.InputShape(2)[2];
  if (!hidden) hidden = c.NewSymbol("hidden");
  if (c.HasRank(1)) {
    c.Same(c.InputShape(1)[0], directions, "the weight's directions");
    c.Same(c.InputShape(1)[1], *hidden * Dim(gates), "rows of the weight and gates times hidden size");
    if (c.HasRank(0)) c.Same(c.InputShape(1)[2], c.InputShape(0)[2], "input sizes of weight and input");
  }
  if (c.HasRank(3)) c.Same(c.InputShape(3)[1], *hidden * Dim(2 * gates), "bias length and both biases of all gates");
  Dim sequence, batch;
  if (c.HasRank(0)) {
    sequence = c.InputShape(0)[layout == 0 ? 0 : 1];
    batch = c.InputShape(0)[layout == 0 ? 1 : 0];
  } else {
    sequence = c.NewSymbol("sequence"), batch = c.NewSymbol("batch");
  }
  if (layout == 0)
    c.SetOutput(0, dtype, {sequence, directions, batch, *hidden});
  else
    c.SetOutput(0, dtype, {batch, sequence, directions, *hidden});
  for (int i = 1; i <= states; ++i) {
    if (layout == 0)
      c.SetOutput(i, dtype, {directions, batch, *hidden});
    else
      c.SetOutput(i, dtype, {batch, directions, *hidden});
  }
}

void InferRNN(InferContext& c) { InferRecurrent(c, 1, 1); }
void InferGRU(InferContext& c) { InferRecurrent(c, 3, 1); }
void InferLSTM(InferContext& c) { InferRecurrent(c, 4, 2); }

}  // namespace

constexpr OpDef kOp_RNN = {
    .name = "RNN",
    .inputs = {{"X", kFloats, 'T'},
               {"W", kFloats, 'T'},
               {"R", kFloats, 'T'},
               {"B", kFloats, 'T', Param::kOptional},
               {"sequence_lens", kInt32s, 0, Param::kOptional},
               {"initial_h", kFloats, 'T', Param::kOptional}},
    .min_outputs = 0,
    .max_outputs = 2,
    .attributes = {attr::Floats("activation_alpha"), attr::Floats("activation_beta"), attr::Strings("activations"),
                   attr::Float("clip"), attr::String("direction", "forward"), attr::Int("hidden_size"),
                   attr::Int("layout", 0)},
    .infer = InferRNN,
};
constexpr OpDef kOp_GRU = {
    .name = "GRU",
    .inputs = {{"X", kFloats, 'T'},
               {"W", kFloats, 'T'},
               {"R", kFloats, 'T'},
               {"B", kFloats, 'T', Param::kOptional},
               {"sequence_lens", kInt32s, 0, Param::kOptional},
               {"initial_h", kFloats, 'T', Param::kOptional}},
    .min_outputs = 0,
    .max_outputs = 2,
    .attributes = {attr::Floats("activation_alpha"), attr::Floats("activation_beta"), attr::Strings("activations"),
                   attr::Float("clip"), attr::String("direction", "forward"), attr::Int("hidden_size"),
                   attr::Int("layout", 0), attr::Int("linear_before_reset", 0)},
    .infer = InferGRU,
};
constexpr OpDef kOp_LSTM = {
    .name = "LSTM",
    .inputs = {{"X", kFloats, 'T'},
               {"W", kFloats, 'T'},
               {"R", kFloats, 'T'},
               {"B", kFloats, 'T', Param::kOptional},
               {"sequence_lens", kInt32s, 0, Param::kOptional},
               {"initial_h", kFloats, 'T', Param::kOptional},
               {"initial_c", kFloats, 'T', Param::kOptional},
               {"P", kFloats, 'T', Param::kOptional}},
    .min_outputs = 0,
    .max_outputs = 3,
    .attributes = {attr::Floats("activation_alpha"), attr::Floats("activation_beta"), attr::Strings("activations"),
                   attr::Float("clip"), attr::String("direction", "forward"), attr::Int("hidden_size"),
                   attr::Int("input_forget", 0), attr::Int("layout", 0)},
    .infer = InferLSTM,
};

}  // namespace ziggurat
