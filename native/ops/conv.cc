// Convolutions: plain, transposed, deformable and of quantised tensors.
#include "ops/op_list.h"
#include "ops/rules.h"
#include "ops/window.h"

namespace ziggurat {
namespace {

// What the weight's spatial dimensions say of the kernel, where they are numbers.
std::vector<int64_t> KernelOf(const InferContext& c, int weight, int axes) {
  std::vector<int64_t> kernel;
  for (int i = 0; i < axes; ++i) {
    const Dim& dim = c.InputShape(weight)[i + 2];
    if (!dim.IsConst()) return {};
    if (dim.Const() < 1) c.Fail("the weight has shape ", ToString(c, c.InputShape(weight)));
    kernel.push_back(dim.Const());
  }
  return kernel;
}

int64_t Group(const InferContext& c) {
  const int64_t group = c.node().Int("group", 1);
  // The most keeps products with it within 64 bits, and loops over groups short.
  if (group < 1 || group > INT32_MAX) c.Fail("group is ", group, ", it lies in 1 to ", INT32_MAX);
  return group;
}

// The windows of a convolution, or nullopt where shapes do not tell them.
std::optional<Windows> ConvWindows(const InferContext& c, int x, int w) {
  c.ExpectRank(x, 3, kMaxRank);
  c.ExpectRank(w, 3, kMaxRank);
  if (!c.HasRank(x) || !c.HasRank(w)) return std::nullopt;
  const int rank = c.InputType(x).Rank();
  if (c.InputType(w).Rank() != rank) c.Fail("input has rank ", rank, " and weight ", c.InputType(w).Rank());
  const std::vector<int64_t> kernel = KernelOf(c, w, rank - 2);
  if (kernel.empty() && !c.node().Has("kernel_shape")) return std::nullopt;
  Windows windows = ReadWindows(c, rank - 2, kernel);
  if (!kernel.empty() && windows.kernel != kernel)
    c.Fail("kernel_shape differs from weight shape ", ToString(c, c.InputShape(w)));
  return windows;
}

void CheckBias(const InferContext& c, int b, const Dim& channels) {
  if (!c.HasInput(b)) return;
  c.ExpectRank(b, 1);
  if (c.HasRank(b)) c.Same(channels, c.InputShape(b)[0], "output channels and bias length");
}

// zig.FusedConv may keep its channels last; the weights are the same for both.
bool KeepsChannelsLast(const InferContext& c) { return c.node().Int("channels_last") != 0; }

void InferConvAt(InferContext& c, int x, int w, int b, DType dtype) {
  const std::optional<Windows> windows = ConvWindows(c, x, w);
  const int64_t group = Group(c);
  if (!windows) {
    if (!c.HasRank(x)) return c.SetUnranked(0, dtype);
    return c.SetOutput(0, dtype, c.NewSymbols("conv", c.InputType(x).Rank()));
  }
  const bool last = KeepsChannelsLast(c);
  const auto in = last ? ChannelsFirst(c.InputShape(x)) : c.InputShape(x);
  const auto& weight = c.InputShape(w);
  c.Same(in[1], weight[1] * Dim(group), "input channels and the weight's channels times group");
  if (weight[0].IsConst() && weight[0].Const() % group != 0)
    c.Fail(weight[0].Const(), " output channels do not divide into ", group, " groups");
  CheckBias(c, b, weight[0]);
  std::vector<Dim> out = {in[0], weight[0]};
  for (size_t i = 0; i + 2 < in.size(); ++i) out.push_back(windows->OutputSize(c, i, in[i + 2]));
  c.SetOutput(0, dtype, last ? ChannelsLast(std::move(out)) : std::move(out));
}

void InferConv(InferContext& c) { InferConvAt(c, 0, 1, 2, c.InputDType(0)); }
void InferConvInteger(InferContext& c) { InferConvAt(c, 0, 1, -1, DType::kInt32); }
void InferQLinearConv(InferContext& c) { InferConvAt(c, 0, 3, 8, c.InputDType(7)); }

void InferDeformConv(InferContext& c) {
  InferConvAt(c, 0, 1, 3, c.InputDType(0));
  if (c.node().Int("offset_group", 1) < 1) c.Fail("offset_group is below 1");
}

void InferConvTranspose(InferContext& c) {
  const std::optional<Windows> windows = ConvWindows(c, 0, 1);
  const int64_t group = Group(c);
  if (!windows) {
    if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0));
    return c.SetOutput(0, c.InputDType(0), c.NewSymbols("conv", c.InputType(0).Rank()));
  }
  const auto &in = c.InputShape(0), &weight = c.InputShape(1);
  c.Same(in[1], weight[0], "input channels and the weight's first dimension");
  const Dim channels = weight[1] * Dim(group);
  CheckBias(c, 2, channels);
  const size_t axes = in.size() - 2;
  std::vector<int64_t> extra = c.node().Ints("output_padding"), wanted = c.node().Ints("output_shape");
  if (extra.empty()) extra.assign(axes, 0);
  if (wanted.size() == axes + 2) wanted.erase(wanted.begin(), wanted.begin() + 2);  // some exporters give it whole
  if (extra.size() != axes) c.Fail("output_padding has ", extra.size(), " values, expected ", axes);
  if (!wanted.empty() && wanted.size() != axes) c.Fail("output_shape has ", wanted.size(), " values, expected ", axes);
  std::vector<Dim> out = {in[0], channels};
  for (size_t i = 0; i < axes; ++i)
    out.push_back(wanted.empty() ? windows->TransposedSize(i, in[i + 2], extra[i]) : Dim(wanted[i]));
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

}  // namespace

constexpr OpDef kOp_Conv = {
    .name = "Conv",
    .inputs = {{"X", kFloats, 'T'}, {"W", kFloats, 'T'}, {"B", kFloats, 'T', Param::kOptional}},
    .attributes = {attr::String("auto_pad", "NOTSET"), attr::Ints("dilations"), attr::Int("group", 1),
                   attr::Ints("kernel_shape"), attr::Ints("pads"), attr::Ints("strides")},
    .infer = InferConv,
};
constexpr OpDef kOp_ConvInteger = {
    .name = "ConvInteger",
    .inputs = {{"x", kBytes, '1'},
               {"w", kBytes, '2'},
               {"x_zero_point", kBytes, '1', Param::kOptional},
               {"w_zero_point", kBytes, '2', Param::kOptional}},
    .attributes = {attr::String("auto_pad", "NOTSET"), attr::Ints("dilations"), attr::Int("group", 1),
                   attr::Ints("kernel_shape"), attr::Ints("pads"), attr::Ints("strides")},
    .infer = InferConvInteger,
};
constexpr OpDef kOp_ConvTranspose = {
    .name = "ConvTranspose",
    .inputs = {{"X", kFloats, 'T'}, {"W", kFloats, 'T'}, {"B", kFloats, 'T', Param::kOptional}},
    .attributes = {attr::String("auto_pad", "NOTSET"), attr::Ints("dilations"), attr::Int("group", 1),
                   attr::Ints("kernel_shape"), attr::Ints("output_padding"), attr::Ints("output_shape"),
                   attr::Ints("pads"), attr::Ints("strides")},
    .infer = InferConvTranspose,
};
constexpr OpDef kOp_DeformConv = {
    .name = "DeformConv",
    .inputs = {{"X", kFloats, 'T'},
               {"W", kFloats, 'T'},
               {"offset", kFloats, 'T'},
               {"B", kFloats, 'T', Param::kOptional},
               {"mask", kFloats, 'T', Param::kOptional}},
    .attributes = {attr::Ints("dilations"), attr::Int("group", 1), attr::Ints("kernel_shape"),
                   attr::Int("offset_group", 1), attr::Ints("pads"), attr::Ints("strides")},
    .infer = InferDeformConv,
};
constexpr OpDef kOp_QLinearConv = {
    .name = "QLinearConv",
    .inputs = {{"x", kBytes, '1'},
               {"x_scale", kFloat32s},
               {"x_zero_point", kBytes, '1'},
               {"w", kBytes, '2'},
               {"w_scale", kFloat32s},
               {"w_zero_point", kBytes, '2'},
               {"y_scale", kFloat32s},
               {"y_zero_point", kBytes},
               {"B", kInt32s, 0, Param::kOptional}},
    .attributes = {attr::String("auto_pad", "NOTSET"), attr::Ints("dilations"), attr::Int("group", 1),
                   attr::Ints("kernel_shape"), attr::Ints("pads"), attr::Ints("strides")},
    .infer = InferQLinearConv,
};

}  // namespace ziggurat
