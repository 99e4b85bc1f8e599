// RNN, GRU and LSTM: one walk over time, one cell function each. States stay in double between steps.
#include <algorithm>
#include <cmath>

#include "device/reference/plain.h"

namespace ziggurat::plain {
namespace {

struct Activation {
  std::string name;
  double alpha = 0, beta = 0;

  double operator()(double x) const {
    if (name == "Sigmoid") return 1 / (1 + std::exp(-x));
    if (name == "Tanh") return std::tanh(x);
    if (name == "Relu") return std::max(0.0, x);
    if (name == "Affine") return alpha * x + beta;
    if (name == "LeakyRelu") return x < 0 ? alpha * x : x;
    if (name == "ThresholdedRelu") return x >= alpha ? x : 0;
    if (name == "ScaledTanh") return alpha * std::tanh(beta * x);
    if (name == "HardSigmoid") return std::clamp(alpha * x + beta, 0.0, 1.0);
    if (name == "Elu") return x >= 0 ? x : alpha * std::expm1(x);
    if (name == "Softsign") return x / (1 + std::abs(x));
    if (name == "Softplus") return std::log1p(std::exp(x));
    throw Error(Code::kInvalidArgument, "activation '", name, "' is unknown");
  }
};

// The sizes and weights of one launch; per-direction offsets are into the flat arrays.
struct Net {
  int64_t times, batch, input, hidden, directions, gates;
  bool batch_first;
  double clip;
  std::vector<double> x, w, r, b, h0, c0, p;
  std::vector<int64_t> lengths;
  std::vector<Activation> activations;  // per direction

  double Clip(double v) const { return clip > 0 ? std::clamp(v, -clip, clip) : v; }
  size_t XAt(int64_t t, int64_t n) const {
    return static_cast<size_t>((batch_first ? n * times + t : t * batch + n) * input);
  }
  size_t YAt(int64_t t, int64_t d, int64_t n) const {
    return static_cast<size_t>((batch_first ? (n * times + t) * directions + d : (t * directions + d) * batch + n) *
                               hidden);
  }
  size_t StateAt(int64_t d, int64_t n) const {
    return static_cast<size_t>((batch_first ? n * directions + d : d * batch + n) * hidden);
  }
  // Row `row` (gate * hidden + unit) of W times x, or of R times h.
  double Input(int64_t d, int64_t row, const double* from) const {
    return Dot(w, (d * gates * hidden + row) * input, from, input);
  }
  double Recur(int64_t d, int64_t row, const double* from) const {
    return Dot(r, (d * gates * hidden + row) * hidden, from, hidden);
  }
  double WBias(int64_t d, int64_t row) const { return b.empty() ? 0 : b[d * 2 * gates * hidden + row]; }
  double RBias(int64_t d, int64_t row) const { return b.empty() ? 0 : b[(d * 2 + 1) * gates * hidden + row]; }
  double Peephole(int64_t d, int64_t gate, int64_t unit) const {
    return p.empty() ? 0 : p[(d * 3 + gate) * hidden + unit];
  }
  const Activation& Act(int64_t d, int i) const {
    return activations[static_cast<size_t>(d) * activations.size() / directions + i];
  }

  static double Dot(const std::vector<double>& a, int64_t at, const double* b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += a[at + i] * b[i];
    return sum;
  }
};

// New hidden (and cell) state of one sample; `h` and `c` are read and replaced.
using Cell = void (*)(const Net&, const Args&, int64_t d, const double* x, std::vector<double>& h,
                      std::vector<double>& c);

void RnnCell(const Net& net, const Args&, int64_t d, const double* x, std::vector<double>& h, std::vector<double>&) {
  std::vector<double> next(h.size());
  for (int64_t j = 0; j < net.hidden; ++j)
    next[j] =
        net.Act(d, 0)(net.Clip(net.Input(d, j, x) + net.Recur(d, j, h.data()) + net.WBias(d, j) + net.RBias(d, j)));
  h = next;
}

void GruCell(const Net& net, const Args& args, int64_t d, const double* x, std::vector<double>& h,
             std::vector<double>&) {
  const bool linear = args.Int("linear_before_reset", 0) != 0;
  const int64_t n = net.hidden;
  std::vector<double> z(h.size()), r(h.size()), reset(h.size()), next(h.size());
  for (int64_t j = 0; j < n; ++j) {
    z[j] = net.Act(d, 0)(net.Clip(net.Input(d, j, x) + net.Recur(d, j, h.data()) + net.WBias(d, j) + net.RBias(d, j)));
    const int64_t k = n + j;
    r[j] = net.Act(d, 0)(net.Clip(net.Input(d, k, x) + net.Recur(d, k, h.data()) + net.WBias(d, k) + net.RBias(d, k)));
    reset[j] = r[j] * h[j];
  }
  for (int64_t j = 0; j < n; ++j) {
    const int64_t k = 2 * n + j;
    const double recur =
        linear ? r[j] * (net.Recur(d, k, h.data()) + net.RBias(d, k)) : net.Recur(d, k, reset.data()) + net.RBias(d, k);
    const double candidate = net.Act(d, 1)(net.Clip(net.Input(d, k, x) + recur + net.WBias(d, k)));
    next[j] = (1 - z[j]) * candidate + z[j] * h[j];
  }
  h = next;
}

// Gates in the order input, output, forget, cell.
void LstmCell(const Net& net, const Args& args, int64_t d, const double* x, std::vector<double>& h,
              std::vector<double>& c) {
  const bool couple = args.Int("input_forget", 0) != 0;
  const int64_t n = net.hidden;
  std::vector<double> next(h.size());
  for (int64_t j = 0; j < n; ++j) {
    double gate[4];
    for (int64_t g = 0; g < 4; ++g) {
      const int64_t row = g * n + j;
      gate[g] = net.Input(d, row, x) + net.Recur(d, row, h.data()) + net.WBias(d, row) + net.RBias(d, row);
    }
    const double i = net.Act(d, 0)(net.Clip(gate[0] + net.Peephole(d, 0, j) * c[j]));
    const double f = couple ? 1 - i : net.Act(d, 0)(net.Clip(gate[2] + net.Peephole(d, 2, j) * c[j]));
    c[j] = f * c[j] + i * net.Act(d, 1)(net.Clip(gate[3]));
    const double o = net.Act(d, 0)(net.Clip(gate[1] + net.Peephole(d, 1, j) * c[j]));
    next[j] = o * net.Act(d, 2)(c[j]);
  }
  h = next;
}

// Default alpha and beta of an activation, as the ops' text lists them.
Activation WithDefaults(const std::string& name) {
  if (name == "LeakyRelu") return {name, 0.01, 0};
  if (name == "HardSigmoid") return {name, 0.2, 0.5};
  if (name == "ScaledTanh") return {name, 1, 1};
  if (name == "Elu" || name == "ThresholdedRelu" || name == "Affine") return {name, 1, 0};
  return {name};
}

std::vector<Activation> Activations(const Args& args, std::vector<std::string> names, int64_t directions) {
  const size_t each = names.size();
  if (const std::vector<std::string> given = args.node.Strings("activations"); !given.empty()) names = given;
  // One direction's list serves both; the RNN's default lists two, whatever the direction.
  if (names.size() < each * static_cast<size_t>(directions)) {
    if (names.size() != each)
      throw Error(Code::kInvalidArgument, names.size(), " activations for ", directions, " directions");
    for (size_t i = 0; i < each; ++i) names.push_back(names[i]);
  }
  names.resize(each * static_cast<size_t>(directions));
  const std::vector<float> alphas = args.node.Floats("activation_alpha"), betas = args.node.Floats("activation_beta");
  size_t alpha = 0, beta = 0;  // given in order to those activations that take one
  std::vector<Activation> result;
  for (const std::string& name : names) {
    Activation a = WithDefaults(name);
    const bool takes_beta = name == "Affine" || name == "ScaledTanh" || name == "HardSigmoid";
    const bool takes_alpha = takes_beta || name == "LeakyRelu" || name == "ThresholdedRelu" || name == "Elu";
    if (takes_alpha && alpha < alphas.size()) a.alpha = alphas[alpha++];
    if (takes_beta && beta < betas.size()) a.beta = betas[beta++];
    a(0);  // an unknown name is refused before any work
    result.push_back(a);
  }
  return result;
}

Net Read(const Args& args, int64_t gates, std::vector<std::string> activations) {
  Net net;
  const Shape &x = args.In(0).shape, &w = args.In(1).shape, &r = args.In(2).shape;
  if (x.rank() != 3 || w.rank() != 3 || r.rank() != 3)
    throw Error(Code::kInvalidArgument, "X, W and R must have rank 3");
  net.batch_first = args.Int("layout", 0) != 0;
  net.times = x[net.batch_first], net.batch = x[!net.batch_first], net.input = x[2];
  net.directions = w[0], net.hidden = r[2], net.gates = gates;
  const std::string direction = args.String("direction", "forward");
  if (net.directions != (direction == "bidirectional" ? 2 : 1))
    throw Error(Code::kInvalidArgument, "W has ", net.directions, " directions, the attribute says ", direction);
  net.clip = args.Float("clip", 0);
  net.activations = Activations(args, std::move(activations), net.directions);
  const int64_t states = net.directions * net.batch * net.hidden;
  const auto read = [&](int i, int64_t count, const char* name) {
    std::vector<double> values = args.Has(i) ? LoadAll<double>(args.In(i)) : std::vector<double>{};
    if (args.Has(i) && static_cast<int64_t>(values.size()) != count)
      throw Error(Code::kInvalidArgument, name, " of shape ", args.In(i).shape, " must have ", count, " elements");
    return values;
  };
  net.x = LoadAll<double>(args.In(0));
  net.w = read(1, net.directions * gates * net.hidden * net.input, "W");
  net.r = read(2, net.directions * gates * net.hidden * net.hidden, "R");
  net.b = read(3, net.directions * 2 * gates * net.hidden, "B");
  net.h0 = read(5, states, "initial_h");
  net.lengths = args.IntsIn(4);
  if (gates == 4) net.c0 = read(6, states, "initial_c"), net.p = read(7, net.directions * 3 * net.hidden, "P");
  if (args.Has(4) && static_cast<int64_t>(net.lengths.size()) != net.batch)
    throw Error(Code::kInvalidArgument, net.lengths.size(), " sequence lengths for a batch of ", net.batch);
  for (int64_t length : net.lengths)
    if (length < 0 || length > net.times)
      throw Error(Code::kInvalidArgument, "sequence length ", length, " exceeds ", net.times);
  return net;
}

// Steps beyond a sample's length give zeros in Y and leave its state as it was.
void Walk(const Args& args, const Net& net, Cell cell) {
  std::vector<double> y(static_cast<size_t>(net.times * net.directions * net.batch * net.hidden));
  std::vector<double> last_h(static_cast<size_t>(net.directions * net.batch * net.hidden)), last_c = last_h;
  const bool reverse = args.String("direction", "forward") == "reverse";
  for (int64_t d = 0; d < net.directions; ++d)
    for (int64_t n = 0; n < net.batch; ++n) {
      const size_t at = net.StateAt(d, n);
      std::vector<double> h(static_cast<size_t>(net.hidden)), c(h.size());
      if (!net.h0.empty()) std::copy_n(net.h0.begin() + static_cast<int64_t>(at), net.hidden, h.begin());
      if (!net.c0.empty()) std::copy_n(net.c0.begin() + static_cast<int64_t>(at), net.hidden, c.begin());
      const int64_t length = net.lengths.empty() ? net.times : net.lengths[n];
      for (int64_t step = 0; step < length; ++step) {
        const int64_t t = reverse || d == 1 ? length - 1 - step : step;
        cell(net, args, d, net.x.data() + net.XAt(t, n), h, c);
        std::copy(h.begin(), h.end(), y.begin() + static_cast<int64_t>(net.YAt(t, d, n)));
      }
      std::copy(h.begin(), h.end(), last_h.begin() + static_cast<int64_t>(at));
      std::copy(c.begin(), c.end(), last_c.begin() + static_cast<int64_t>(at));
    }
  if (args.HasOut(0)) StoreAll<double>(args.Out(0), y);
  if (args.HasOut(1)) StoreAll<double>(args.Out(1), last_h);
  if (args.HasOut(2)) StoreAll<double>(args.Out(2), last_c);
}

void Rnn(const Args& args) { Walk(args, Read(args, 1, {"Tanh"}), RnnCell); }
void Gru(const Args& args) { Walk(args, Read(args, 3, {"Sigmoid", "Tanh"}), GruCell); }
void Lstm(const Args& args) { Walk(args, Read(args, 4, {"Sigmoid", "Tanh", "Tanh"}), LstmCell); }

constexpr PlainOp kOps[] = {{"RNN", Rnn}, {"GRU", Gru}, {"LSTM", Lstm}};

}  // namespace

std::span<const PlainOp> RnnOps() { return kOps; }

}  // namespace ziggurat::plain
