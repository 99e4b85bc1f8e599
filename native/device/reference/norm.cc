// Normalisations. Statistics are two passes in double: the mean, then the mean of squared distances from it.
#include <algorithm>
#include <cmath>

#include "device/reference/plain.h"
#include "device/reference/walk.h"

namespace ziggurat::plain {
namespace {

struct Moments {
  double mean = 0, variance = 0;
};

// Over rows of `inner` elements, `step` apart, in `outer` rows: every element of one channel or group.
Moments MomentsOf(const double* x, int64_t outer, int64_t step, int64_t inner) {
  Moments m;
  const double count = static_cast<double>(outer * inner);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) m.mean += x[o * step + i];
  m.mean /= count;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) m.variance += (x[o * step + i] - m.mean) * (x[o * step + i] - m.mean);
  m.variance /= count;
  return m;
}

// [N, C, inner]; a tensor of rank 1 is N samples of one channel.
struct Channels {
  int64_t n, c, inner;
  explicit Channels(const Shape& shape)
      : n(shape.rank() ? shape[0] : 1),
        c(shape.rank() > 1 ? shape[1] : 1),
        inner(shape.rank() > 2 ? shape.Count(2, shape.rank()) : 1) {}
};

std::vector<double> PerChannel(const TensorView& view, int64_t channels) {
  std::vector<double> values = LoadAll<double>(view);
  if (static_cast<int64_t>(values.size()) != channels)
    throw Error(Code::kInvalidArgument, "a tensor of shape ", view.shape, " for ", channels, " channels");
  return values;
}

void BatchNormalization(const Args& args) {
  const TensorView& in = args.In(0);
  const Channels s(in.shape);
  const double epsilon = args.Float("epsilon", 1e-5f), momentum = args.Float("momentum", 0.9f);
  const std::vector<double> scale = PerChannel(args.In(1), s.c), bias = PerChannel(args.In(2), s.c);
  std::vector<double> mean = PerChannel(args.In(3), s.c), variance = PerChannel(args.In(4), s.c);
  std::vector<double> x = LoadAll<double>(in);
  if (args.Int("training_mode", 0)) {
    std::vector<double> running_mean = mean, running_variance = variance;
    for (int64_t c = 0; c < s.c; ++c) {
      const Moments m = MomentsOf(x.data() + c * s.inner, s.n, s.c * s.inner, s.inner);
      mean[c] = m.mean, variance[c] = m.variance;
      running_mean[c] = running_mean[c] * momentum + m.mean * (1 - momentum);
      running_variance[c] = running_variance[c] * momentum + m.variance * (1 - momentum);
    }
    if (args.HasOut(1)) StoreAll<double>(args.Out(1), running_mean);
    if (args.HasOut(2)) StoreAll<double>(args.Out(2), running_variance);
  }
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t c = static_cast<int64_t>(i) / s.inner % s.c;
    x[i] = (x[i] - mean[c]) / std::sqrt(variance[c] + epsilon) * scale[c] + bias[c];
  }
  StoreAll<double>(args.Out(0), x);
}

void InstanceNormalization(const Args& args) {
  const Channels s(args.In(0).shape);
  const double epsilon = args.Float("epsilon", 1e-5f);
  const std::vector<double> scale = PerChannel(args.In(1), s.c), bias = PerChannel(args.In(2), s.c);
  std::vector<double> x = LoadAll<double>(args.In(0));
  for (int64_t plane = 0; plane < s.n * s.c; ++plane) {
    double* from = x.data() + plane * s.inner;
    const Moments m = MomentsOf(from, 1, 0, s.inner);
    const double factor = scale[plane % s.c] / std::sqrt(m.variance + epsilon);
    for (int64_t i = 0; i < s.inner; ++i) from[i] = (from[i] - m.mean) * factor + bias[plane % s.c];
  }
  StoreAll<double>(args.Out(0), x);
}

// Layer and RMS normalisation: over all axes from `axis` on; scale and bias broadcast to those.
void NormalizeRows(const Args& args, bool centred) {
  const TensorView& in = args.In(0);
  const int axis = Axis(args.Int("axis", -1), in.shape.rank());
  const int64_t rows = in.shape.Count(0, axis), size = in.shape.Count(axis, in.shape.rank());
  const double epsilon = args.Float("epsilon", 1e-5f);
  const std::vector<double> scale = LoadAll<double>(args.In(1));
  const std::vector<int64_t> scale_at = AllOffsets(in.shape, BroadcastStrides(args.In(1).shape, in.shape));
  std::vector<double> bias;
  std::vector<int64_t> bias_at;
  if (centred && args.Has(2)) {
    bias = LoadAll<double>(args.In(2));
    bias_at = AllOffsets(in.shape, BroadcastStrides(args.In(2).shape, in.shape));
  }
  std::vector<double> x = LoadAll<double>(in);
  for (int64_t r = 0; r < rows; ++r) {
    double* row = x.data() + r * size;
    Moments m;
    if (centred)
      m = MomentsOf(row, 1, 0, size);
    else
      for (int64_t i = 0; i < size; ++i) m.variance += row[i] * row[i] / static_cast<double>(size);
    const double inverse = 1 / std::sqrt(m.variance + epsilon);
    for (int64_t i = 0; i < size; ++i) {
      const size_t at = static_cast<size_t>(r * size + i);
      row[i] = (row[i] - m.mean) * inverse * scale[scale_at[at]] + (bias.empty() ? 0 : bias[bias_at[at]]);
    }
    if (args.HasOut(1)) StoreOne<double>(args.Out(1), r, m.mean);
    if (args.HasOut(2)) StoreOne<double>(args.Out(2), r, inverse);
  }
  StoreAll<double>(args.Out(0), x);
}

void LayerNormalization(const Args& args) { NormalizeRows(args, true); }
void RMSNormalization(const Args& args) { NormalizeRows(args, false); }

// Divides by a power of the sum of squares over the neighbouring channels.
void Lrn(const Args& args) {
  const Channels s(args.In(0).shape);
  const int64_t size = args.Int("size");
  if (size < 1) throw Error(Code::kInvalidArgument, "LRN size ", size, " must be positive");
  const double alpha = args.Float("alpha", 1e-4f), beta = args.Float("beta", 0.75f), bias = args.Float("bias", 1);
  const std::vector<double> x = LoadAll<double>(args.In(0));
  std::vector<double> out(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t c = static_cast<int64_t>(i) / s.inner % s.c;
    const int64_t low = std::max<int64_t>(0, c - (size - 1) / 2), high = std::min(s.c - 1, c + size / 2);
    double sum = 0;
    for (int64_t k = low; k <= high; ++k) {
      const double neighbour = x[static_cast<size_t>(static_cast<int64_t>(i) + (k - c) * s.inner)];
      sum += neighbour * neighbour;
    }
    out[i] = x[i] / std::pow(bias + alpha / static_cast<double>(size) * sum, beta);
  }
  StoreAll<double>(args.Out(0), out);
}

constexpr PlainOp kOps[] = {
    {"BatchNormalization", BatchNormalization},
    {"InstanceNormalization", InstanceNormalization},
    {"LayerNormalization", LayerNormalization},
    {"RMSNormalization", RMSNormalization},
    {"LRN", Lrn},
};

}  // namespace

std::span<const PlainOp> NormOps() { return kOps; }

}  // namespace ziggurat::plain
