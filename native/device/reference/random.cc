// Random ops. Element i of a tensor is a function of (seed, i) alone: the same request gives the same bits. Without
// a seed attribute the seed follows from the output's name, so nodes differ from one another and replicas agree.
#include <bit>
#include <cmath>
#include <numbers>
#include <random>

#include "device/reference/moves.h"
#include "device/reference/plain.h"

namespace ziggurat::plain {
namespace {

// SplitMix64's finaliser over a counter: 64 well-mixed bits for each (seed, position).
uint64_t Bits(uint64_t seed, uint64_t position) {
  uint64_t z = seed + (position + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
// In [0, 1), 53 bits.
double Uniform(uint64_t seed, uint64_t position) { return static_cast<double>(Bits(seed, position) >> 11) * 0x1p-53; }
// Standard normal, by Box and Muller from two uniforms of its own.
double Normal(uint64_t seed, uint64_t position) {
  const double u = 1 - Uniform(seed, 2 * position), v = Uniform(seed, 2 * position + 1);
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

uint64_t Seed(const Args& args) {
  if (!args.node.Has("seed")) return args.salt;
  const auto& attribute = args.node.attributes.find("seed")->second;
  if (const int64_t* whole = std::get_if<int64_t>(&attribute)) return Bits(static_cast<uint64_t>(*whole), 0);
  return Bits(std::bit_cast<uint32_t>(args.Float("seed")), 0);
}

void RandomUniform(const Args& args) {
  const TensorView& out = args.Out(0);
  const double low = args.Float("low", 0), high = args.Float("high", 1);
  const uint64_t seed = Seed(args);
  for (int64_t i = 0, n = out.Count(); i < n; ++i)
    StoreOne<double>(out, i, low + (high - low) * Uniform(seed, static_cast<uint64_t>(i)));
}

void RandomNormal(const Args& args) {
  const TensorView& out = args.Out(0);
  const double mean = args.Float("mean", 0), scale = args.Float("scale", 1);
  const uint64_t seed = Seed(args);
  for (int64_t i = 0, n = out.Count(); i < n; ++i)
    StoreOne<double>(out, i, mean + scale * Normal(seed, static_cast<uint64_t>(i)));
}

void Bernoulli(const Args& args) {
  const TensorView& out = args.Out(0);
  const std::vector<double> p = LoadAll<double>(args.In(0));
  const uint64_t seed = Seed(args);
  for (size_t i = 0; i < p.size(); ++i)
    StoreOne<uint64_t>(out, static_cast<int64_t>(i), Uniform(seed, static_cast<uint64_t>(i)) < p[i]);
}

// Rows of unnormalised log-probabilities; each sample inverts the row's cumulative distribution.
void Multinomial(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  if (in.shape.rank() != 2 || in.shape[1] == 0) throw Error(Code::kInvalidArgument, "Multinomial of shape ", in.shape);
  const int64_t classes = in.shape[1], samples = out.shape[1];
  const std::vector<double> x = LoadAll<double>(in);
  const uint64_t seed = Seed(args);
  for (int64_t row = 0; row < in.shape[0]; ++row) {
    const double* logits = x.data() + row * classes;
    double largest = logits[0], sum = 0;
    for (int64_t k = 1; k < classes; ++k) largest = std::max(largest, logits[k]);
    std::vector<double> cumulative;
    for (int64_t k = 0; k < classes; ++k) cumulative.push_back(sum += std::exp(logits[k] - largest));
    for (int64_t i = 0; i < samples; ++i) {
      const double target = sum * Uniform(seed, static_cast<uint64_t>(row * samples + i));
      int64_t chosen = 0;
      while (chosen < classes - 1 && cumulative[chosen] <= target) ++chosen;
      StoreOne<int64_t>(out, row * samples + i, chosen);
    }
  }
}

void Dropout(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const double ratio = args.RealIn(1, 0.5);
  ZIGGURAT_CHECK(in.Count() == out.Count());
  const bool drop = args.IntIn(2, 0) != 0 && ratio != 0;
  if (drop && !(ratio >= 0 && ratio < 1))
    throw Error(Code::kInvalidArgument, "dropout ratio ", ratio, " is not in [0, 1)");
  if (!drop) CopyRun(in, 0, out, 0, in.Count());
  // The generator the standard's own examples use, so that a seeded mask is theirs.
  const uint64_t salt = Seed(args);
  std::mt19937 generator(static_cast<uint32_t>(args.node.Has("seed") ? args.Int("seed") : static_cast<int64_t>(salt)));
  const auto draw = [&] {
    const double high = generator() >> 5, low = generator() >> 6;
    return (high * 0x1p26 + low) * 0x1p-53;
  };
  for (int64_t i = 0, n = in.Count(); i < n && (drop || args.HasOut(1)); ++i) {
    const bool keep = !drop || draw() >= ratio;
    if (drop) StoreOne<double>(out, i, keep ? LoadOne<double>(in, i) / (1 - ratio) : 0);
    if (args.HasOut(1)) StoreOne<uint64_t>(args.Out(1), i, keep);
  }
}

constexpr PlainOp kOps[] = {
    {"RandomUniform", RandomUniform},
    {"RandomUniformLike", RandomUniform},
    {"RandomNormal", RandomNormal},
    {"RandomNormalLike", RandomNormal},
    {"Bernoulli", Bernoulli},
    {"Multinomial", Multinomial},
    {"Dropout", Dropout},
};

}  // namespace

std::span<const PlainOp> RandomOps() { return kOps; }

}  // namespace ziggurat::plain
