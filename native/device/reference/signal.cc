// Fourier transforms and what belongs to them, computed in double.
#include <cmath>
#include <numbers>

#include "device/reference/plain.h"
#include "device/reference/walk.h"

namespace ziggurat::plain {
namespace {

// x[k] = sum over j of x[j] * exp(sign * 2 pi i j k / n), by splitting off the smallest prime factor; `roots` holds
// exp(sign * 2 pi i t / total) and `step` = total / n.
std::vector<Complex> Transform(const std::vector<Complex>& x, const std::vector<Complex>& roots, size_t step) {
  const size_t n = x.size();
  size_t factor = 2;
  while (factor * factor <= n && n % factor) ++factor;
  if (n % factor || n < 2) factor = n;
  std::vector<Complex> out(n);
  if (factor == n) {
    for (size_t k = 0; k < n; ++k)
      for (size_t j = 0; j < n; ++j) out[k] += x[j] * roots[j * k % n * step];
    return out;
  }
  const size_t part = n / factor;
  for (size_t r = 0; r < factor; ++r) {
    std::vector<Complex> every(part);
    for (size_t j = 0; j < part; ++j) every[j] = x[j * factor + r];
    every = Transform(every, roots, step * factor);
    for (size_t k = 0; k < n; ++k) out[k] += every[k % part] * roots[r * k % n * step];
  }
  return out;
}

std::vector<Complex> Fourier(const std::vector<Complex>& x, bool inverse) {
  const size_t n = x.size();
  std::vector<Complex> roots(n);
  for (size_t t = 0; t < n; ++t) {
    const double angle = 2 * std::numbers::pi * static_cast<double>(t) / static_cast<double>(n);
    roots[t] = Complex(std::cos(angle), inverse ? std::sin(angle) : -std::sin(angle));
  }
  std::vector<Complex> out = Transform(x, roots, 1);
  if (inverse)
    for (Complex& value : out) value /= static_cast<double>(n);
  return out;
}

// The transform's length must be sane before memory is taken for it.
size_t CheckedLength(int64_t length) {
  if (length < 1 || length > (int64_t{1} << 28))
    throw Error(Code::kInvalidArgument, "transform length ", length, " is out of range");
  return static_cast<size_t>(length);
}

// [..., axis, ..., 1 or 2] -> the same with the axis transformed; the last axis holds real and imaginary parts.
void Dft(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const int rank = in.shape.rank(), axis = Axis(args.IntIn(2, -2), rank);
  const bool inverse = args.Int("inverse", 0) != 0, onesided = args.Int("onesided", 0) != 0;
  const int64_t parts = in.shape[rank - 1], out_parts = out.shape[rank - 1];
  if (rank < 2 || axis == rank - 1 || (parts != 1 && parts != 2))
    throw Error(Code::kInvalidArgument, "DFT of axis ", axis, " of shape ", in.shape);
  const int64_t given = in.shape[axis], bins = out.shape[axis];
  const bool from_half = inverse && onesided;
  const size_t n = CheckedLength(args.IntIn(1, from_half ? 2 * (given - 1) : given));
  const int64_t inner = in.shape.Count(axis + 1, rank - 1), outer = in.shape.Count(0, axis);
  ZIGGURAT_CHECK(out.Count() == outer * bins * inner * out_parts);
  const std::vector<double> x = LoadAll<double>(in);
  std::vector<double> y(static_cast<size_t>(out.Count()));
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      std::vector<Complex> row(n);
      for (size_t k = 0; k < n && static_cast<int64_t>(k) < given; ++k) {
        const size_t at = static_cast<size_t>(((o * given + static_cast<int64_t>(k)) * inner + i) * parts);
        row[k] = Complex(x[at], parts == 2 ? x[at + 1] : 0);
      }
      if (from_half) {  // the other half is the mirror image; the ends are real
        row[0] = row[0].real();
        if (n % 2 == 0) row[n / 2] = row[n / 2].real();
        for (size_t k = n / 2 + 1; k < n; ++k) row[k] = std::conj(row[n - k]);
      }
      row = Fourier(row, inverse);
      for (int64_t k = 0; k < bins && k < static_cast<int64_t>(n); ++k) {
        const size_t at = static_cast<size_t>(((o * bins + k) * inner + i) * out_parts);
        y[at] = row[k].real();
        if (out_parts == 2) y[at + 1] = row[k].imag();
      }
    }
  StoreAll<double>(out, y);
}

// signal [batch, length, 1 or 2] -> [batch, frames, bins, 2]
void Stft(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  if (in.shape.rank() < 2 || out.shape.rank() != 4) throw Error(Code::kInvalidArgument, "STFT of shape ", in.shape);
  const int64_t batches = in.shape[0], length = in.shape[1], parts = in.shape.Count(2, in.shape.rank());
  const int64_t frames = out.shape[1], bins = out.shape[2], step = LoadOne<int64_t>(args.In(1));
  const std::vector<double> window = args.Has(2) ? LoadAll<double>(args.In(2)) : std::vector<double>{};
  const int64_t default_length = window.empty() ? length : static_cast<int64_t>(window.size());
  const size_t n = CheckedLength(args.IntIn(3, default_length));
  if (step < 1 || (parts != 1 && parts != 2))
    throw Error(Code::kInvalidArgument, "frame_step ", step, " must be positive");
  ZIGGURAT_CHECK(out.shape[0] == batches && out.shape[3] == 2);
  // A window shorter than the frame sits in its middle.
  const size_t lead = window.size() < n ? (n - window.size()) / 2 : 0;
  const std::vector<double> x = LoadAll<double>(in);
  std::vector<double> y(static_cast<size_t>(out.Count()));
  for (int64_t b = 0; b < batches; ++b)
    for (int64_t f = 0; f < frames; ++f) {
      std::vector<Complex> row(n);
      for (size_t k = 0; k < n; ++k) {
        const int64_t at = f * step + static_cast<int64_t>(k);
        if (at < 0 || at >= length) break;
        const size_t from = static_cast<size_t>((b * length + at) * parts);
        double weight = 1;
        if (!window.empty()) weight = k >= lead && k - lead < window.size() ? window[k - lead] : 0;
        row[k] = weight * Complex(x[from], parts == 2 ? x[from + 1] : 0);
      }
      row = Fourier(row, false);
      for (int64_t k = 0; k < bins && k < static_cast<int64_t>(n); ++k) {
        const size_t at = static_cast<size_t>(((b * frames + f) * bins + k) * 2);
        y[at] = row[k].real(), y[at + 1] = row[k].imag();
      }
    }
  StoreAll<double>(out, y);
}

// Triangular filters, evenly spaced on the mel scale, over the bins of a spectrum: [bins, filters].
void MelWeightMatrix(const Args& args) {
  const TensorView& out = args.Out(0);
  const int64_t filters = LoadOne<int64_t>(args.In(0)), bins = out.shape[0];
  const double length = LoadOne<double>(args.In(1)), rate = LoadOne<double>(args.In(2));
  const auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
  const double low = mel(LoadOne<double>(args.In(3))), high = mel(LoadOne<double>(args.In(4)));
  if (!(rate > 0) || out.shape.rank() != 2 || out.shape[1] != filters)
    throw Error(Code::kInvalidArgument, "MelWeightMatrix of ", filters, " filters at a sample rate of ", rate);
  std::vector<int64_t> edge;
  for (int64_t i = 0; i < filters + 2; ++i) {
    const double hertz =
        700 *
        (std::pow(10, (low + static_cast<double>(i) * (high - low) / static_cast<double>(filters + 2)) / 2595) - 1);
    edge.push_back(TruncateToInt64(std::floor((length + 1) * hertz / rate)));
  }
  std::vector<double> weights(static_cast<size_t>(out.Count()));
  const auto set = [&](int64_t bin, int64_t filter, double weight) {
    if (bin < 0 || bin >= bins)
      throw Error(Code::kInvalidArgument, "mel filter ", filter, " reaches beyond the spectrum's ", bins, " bins");
    weights[static_cast<size_t>(bin * filters + filter)] = weight;
  };
  for (int64_t i = 0; i < filters; ++i) {
    const int64_t left = edge[i], centre = edge[i + 1], right = edge[i + 2];
    if (left == centre) set(centre, i, 1);
    for (int64_t j = left; left < centre && j <= centre; ++j)
      set(j, i, static_cast<double>(j - left) / static_cast<double>(centre - left));
    for (int64_t j = centre; j < right; ++j)
      set(j, i, static_cast<double>(right - j) / static_cast<double>(right - centre));
  }
  StoreAll<double>(out, weights);
}

// a0 - a1 cos(2 pi i / n) + a2 cos(4 pi i / n)
void Window(const Args& args, double a0, double a1, double a2) {
  const TensorView& out = args.Out(0);
  const int64_t size = out.Count();
  const double n = static_cast<double>(args.Int("periodic", 1) ? size : size - 1);
  for (int64_t i = 0; i < size; ++i) {
    const double angle = n > 0 ? 2 * std::numbers::pi * static_cast<double>(i) / n : 0;
    StoreOne<double>(out, i, a0 - a1 * std::cos(angle) + a2 * std::cos(2 * angle));
  }
}

void HannWindow(const Args& args) { Window(args, 0.5, 0.5, 0); }
void HammingWindow(const Args& args) { Window(args, 25.0 / 46, 21.0 / 46, 0); }
void BlackmanWindow(const Args& args) { Window(args, 0.42, 0.5, 0.08); }

constexpr PlainOp kOps[] = {
    {"DFT", Dft},
    {"STFT", Stft},
    {"MelWeightMatrix", MelWeightMatrix},
    {"HannWindow", HannWindow},
    {"HammingWindow", HammingWindow},
    {"BlackmanWindow", BlackmanWindow},
};

}  // namespace

std::span<const PlainOp> SignalOps() { return kOps; }

}  // namespace ziggurat::plain
