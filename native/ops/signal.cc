// Fourier transforms, and the filter bank that follows them in audio.
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// The one number of a scalar input, where it is known.
std::optional<Dim> Scalar(const InferContext& c, int i) {
  c.ExpectRank(i, 0, 1);
  if (!c.HasInput(i)) return std::nullopt;
  const auto contents = c.Contents(i);
  if (!contents || contents->size() != 1) return std::nullopt;
  return (*contents)[0];
}

void InferDFT(InferContext& c) {
  c.ExpectRank(0, 2, kMaxRank);
  const bool onesided = c.node().Int("onesided") != 0, inverse = c.node().Int("inverse") != 0;
  const auto axis_input = c.HasInput(2) ? Scalar(c, 2) : Dim(-2);
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0));
  std::vector<Dim> out = c.InputShape(0);
  const int rank = static_cast<int>(out.size());
  if (!axis_input || !axis_input->IsConst()) {
    out = c.NewSymbols("transformed", rank);
  } else {
    const int axis = c.Axis(axis_input->Const(), rank);
    if (axis == rank - 1) c.Fail("the last axis holds real and imaginary parts and is not transformed");
    std::optional<Dim> length = out[axis];
    if (c.HasInput(1)) length = Scalar(c, 1);
    // The inverse of a one-sided spectrum gives back the whole signal.
    if (!c.HasInput(1) && onesided && inverse) length = (*length - Dim(1)) * Dim(2);
    if (!length)
      out[axis] = c.NewSymbol("transformed");
    else
      out[axis] = onesided && !inverse ? FloorDiv(*length, 2) + Dim(1) : *length;
  }
  out[rank - 1] = onesided && inverse ? 1 : 2;
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void InferSTFT(InferContext& c) {
  c.ExpectRank(0, 2, 3);
  c.ExpectRank(2, 1);
  const auto step = Scalar(c, 1);
  std::optional<Dim> length = Scalar(c, 3);
  if (!length && !c.HasInput(3) && c.HasRank(2)) length = c.InputShape(2)[0];
  const bool onesided = c.node().Int("onesided") != 0;
  if (!c.HasInput(2) && !c.HasInput(3)) c.Fail("has neither a window nor a frame_length");
  if (step && step->IsConst() && step->Const() < 1) c.Fail("frame_step is ", step->Const());
  Dim frames, bins;
  if (length && step && c.HasRank(0))
    frames = FloorDiv(c.InputShape(0)[1] - *length, *step) + Dim(1);
  else
    frames = c.NewSymbol("frames");
  if (length)
    bins = onesided ? FloorDiv(*length, 2) + Dim(1) : *length;
  else
    bins = c.NewSymbol("bins");
  c.SetOutput(0, c.InputDType(0), {c.HasRank(0) ? c.InputShape(0)[0] : c.NewSymbol("batch"), frames, bins, 2});
}

void InferMelWeightMatrix(InferContext& c) {
  for (int i = 2; i < 5; ++i) c.ExpectRank(i, 0, 1);
  const auto mels = Scalar(c, 0), length = Scalar(c, 1);
  const DType dtype = DTypeAttribute(c, "output_datatype", DType::kFloat32, kNumbers);
  c.SetOutput(0, dtype,
              {length ? FloorDiv(*length, 2) + Dim(1) : c.NewSymbol("bins"), mels ? *mels : c.NewSymbol("mels")});
}

}  // namespace

constexpr OpDef kOp_DFT = {
    .name = "DFT",
    .inputs = {{"input", kFloats},
               {"dft_length", kIndices, 0, Param::kOptional},
               {"axis", kInt64s, 0, Param::kOptional}},
    .attributes = {attr::Int("inverse", 0), attr::Int("onesided", 0)},
    .infer = InferDFT,
    .shape_inputs = {1, 2},
};
constexpr OpDef kOp_STFT = {
    .name = "STFT",
    .inputs = {{"signal", kFloats, '1'},
               {"frame_step", kIndices, '2'},
               {"window", kFloats, '1', Param::kOptional},
               {"frame_length", kIndices, '2', Param::kOptional}},
    .attributes = {attr::Int("onesided", 1)},
    .infer = InferSTFT,
    .shape_inputs = {1, 3},
};
constexpr OpDef kOp_MelWeightMatrix = {
    .name = "MelWeightMatrix",
    .inputs = {{"num_mel_bins", kIndices, '1'},
               {"dft_length", kIndices, '1'},
               {"sample_rate", kIndices, '1'},
               {"lower_edge_hertz", kFloats, '2'},
               {"upper_edge_hertz", kFloats, '2'}},
    .attributes = {attr::Int("output_datatype", 1)},
    .infer = InferMelWeightMatrix,
    .shape_inputs = {0, 1},
};

}  // namespace ziggurat
