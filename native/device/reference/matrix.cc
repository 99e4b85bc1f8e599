// Matrix products. Dot products of floats accumulate in double and round once; integers wrap around.
#include <cmath>

#include "device/reference/moves.h"
#include "device/reference/plain.h"

namespace ziggurat::plain {
namespace {

// out[m, n] += sum over k of a[m, k] * b[k, n]
template <typename C>
void Multiply(const C* a, const C* b, C* out, int64_t m, int64_t k, int64_t n) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t p = 0; p < k; ++p) {
      const C x = a[i * k + p];
      for (int64_t j = 0; j < n; ++j) out[i * n + j] = WrapAdd(out[i * n + j], WrapMul(x, b[p * n + j]));
    }
}

// NumPy's matmul shapes: rank-1 operands gain an axis, leading axes broadcast.
struct Shapes {
  Shape batch;
  Strides a_batch{}, b_batch{};  // in matrices
  int64_t m, k, n;
};
Shapes Resolve(Shape a, Shape b, const Shape& out) {
  if (a.rank() == 0 || b.rank() == 0) throw Error(Code::kInvalidArgument, "MatMul needs a rank of 1 or more");
  Shapes s;
  if (a.rank() == 1) a = Shape{1, a[0]};
  if (b.rank() == 1) b = Shape{b[0], 1};
  s.m = a[a.rank() - 2], s.k = a[a.rank() - 1], s.n = b[b.rank() - 1];
  if (b[b.rank() - 2] != s.k)
    throw Error(Code::kInvalidArgument, "MatMul of shapes ", a, " and ", b, ": inner dimensions differ");
  const Shape a_lead(a.span().first(a.rank() - 2)), b_lead(b.span().first(b.rank() - 2));
  const int rank = std::max(a_lead.rank(), b_lead.rank());
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a_lead.rank()), ib = i - (rank - b_lead.rank());
    const int64_t da = ia < 0 ? 1 : a_lead[ia], db = ib < 0 ? 1 : b_lead[ib];
    s.batch.push_back(da == 1 ? db : da);
  }
  s.a_batch = BroadcastStrides(a_lead, s.batch), s.b_batch = BroadcastStrides(b_lead, s.batch);
  ZIGGURAT_CHECK(out.Count() == s.batch.Count() * s.m * s.n);
  return s;
}

template <typename C>
std::vector<C> Product(const std::vector<C>& a, const std::vector<C>& b, const Shapes& s) {
  const std::vector<int64_t> a_at = AllOffsets(s.batch, s.a_batch), b_at = AllOffsets(s.batch, s.b_batch);
  std::vector<C> out(a_at.size() * static_cast<size_t>(s.m * s.n));
  for (size_t i = 0; i < a_at.size(); ++i)
    Multiply(a.data() + a_at[i] * s.m * s.k, b.data() + b_at[i] * s.k * s.n, out.data() + i * s.m * s.n, s.m, s.k, s.n);
  return out;
}

void MatMul(const Args& args) {
  const TensorView &a = args.In(0), &b = args.In(1), &out = args.Out(0);
  const Shapes shapes = Resolve(a.shape, b.shape, out.shape);
  WithRealType(out.dtype, [&](auto zero) {
    using C = decltype(zero);
    StoreAll<C>(out, Product(LoadAll<C>(a), LoadAll<C>(b), shapes));
  });
}

// Subtracts a zero point: a scalar, or one a row (axis -2) or column (axis -1).
template <typename C>
void SubtractZero(std::vector<C>& x, const Shape& shape, const TensorView& zero, int axis) {
  const std::vector<C> points = LoadAll<C>(zero);
  if (points.size() == 1) {
    for (C& value : x) value -= points[0];
    return;
  }
  const int at = shape.rank() + axis;
  // Either one a row or column of every matrix, or the operand's own shape with a 1 on the other axis.
  const int64_t size = at < 0 ? 1 : shape[at], inner = axis == -2 ? shape[shape.rank() - 1] : 1;
  const int64_t lines = static_cast<int64_t>(points.size());
  if (size == 0 || lines % size != 0)
    throw Error(Code::kInvalidArgument, "zero point of shape ", zero.shape, " for an operand of shape ", shape);
  const int64_t matrix = shape.rank() < 2 ? shape.Count() : shape[shape.rank() - 1] * shape[shape.rank() - 2];
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t position = static_cast<int64_t>(i), line = position / inner % size;
    x[i] -= points[(lines == size ? 0 : position / matrix * size % lines) + line];
  }
}

void MatMulInteger(const Args& args) {
  const TensorView &a = args.In(0), &b = args.In(1), &out = args.Out(0);
  std::vector<int64_t> x = LoadAll<int64_t>(a), y = LoadAll<int64_t>(b);
  if (args.Has(2)) SubtractZero(x, a.shape, args.In(2), -2);
  if (args.Has(3)) SubtractZero(y, b.shape, args.In(3), -1);
  StoreAll<int64_t>(out, Product(x, y, Resolve(a.shape, b.shape, out.shape)));
}

// Multiplies by a scale: a scalar, or one a row or column.
void Scale(std::vector<double>& x, const Shape& shape, const TensorView& scale, int axis) {
  std::vector<double> factors = LoadAll<double>(scale);
  const int at = shape.rank() + axis;
  const int64_t size = factors.size() == 1 || at < 0 ? 1 : shape[at], inner = axis == -2 ? shape[shape.rank() - 1] : 1;
  if (static_cast<int64_t>(factors.size()) < size || size == 0)
    throw Error(Code::kInvalidArgument, "scale of shape ", scale.shape, " for an operand of shape ", shape);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= factors[static_cast<int64_t>(i) / inner % size];
}

void QLinearMatMul(const Args& args) {
  const TensorView &a = args.In(0), &b = args.In(3), &out = args.Out(0);
  std::vector<double> x = LoadAll<double>(a), y = LoadAll<double>(b);
  SubtractZero(x, a.shape, args.In(2), -2);
  SubtractZero(y, b.shape, args.In(5), -1);
  Scale(x, a.shape, args.In(1), -2);
  Scale(y, b.shape, args.In(4), -1);
  std::vector<double> product = Product(x, y, Resolve(a.shape, b.shape, out.shape));
  const double scale = LoadOne<double>(args.In(6)), zero = LoadOne<double>(args.In(7));
  const double low = IsSignedInteger(out.dtype) ? -128 : 0, high = IsSignedInteger(out.dtype) ? 127 : 255;
  for (double& value : product) {
    value = value / scale;
    if (IsInteger(out.dtype)) value = std::clamp(std::nearbyint(value) + zero, low, high);
  }
  StoreAll<double>(out, product);
}

void Gemm(const Args& args) {
  const TensorView& out = args.Out(0);
  const bool ta = args.Int("transA", 0) != 0, tb = args.Int("transB", 0) != 0;
  const Shape& a = args.In(0).shape;
  const Shape& b = args.In(1).shape;
  if (a.rank() != 2 || b.rank() != 2)
    throw Error(Code::kInvalidArgument, "Gemm needs two matrices, not ", a, " and ", b);
  const int64_t m = a[ta], k = a[!ta], n = b[!tb];
  if (b[tb] != k) throw Error(Code::kInvalidArgument, "Gemm of ", a, " and ", b, ": inner dimensions differ");
  const double alpha = args.Float("alpha", 1), beta = args.Float("beta", 1);
  WithRealType(out.dtype, [&](auto zero) {
    using C = decltype(zero);
    std::vector<C> x = LoadAll<C>(args.In(0)), y = LoadAll<C>(args.In(1)), sum(static_cast<size_t>(m * n));
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        C& total = sum[i * n + j];
        for (int64_t p = 0; p < k; ++p)
          total = WrapAdd(total, WrapMul(x[ta ? p * m + i : i * k + p], y[tb ? j * k + p : p * n + j]));
        if (alpha != 1) total = static_cast<C>(alpha * static_cast<double>(total));
      }
    if (args.Has(2) && beta != 0) {
      const std::vector<C> c = LoadAll<C>(args.In(2));
      const std::vector<int64_t> at = AllOffsets(out.shape, BroadcastStrides(args.In(2).shape, out.shape));
      for (size_t i = 0; i < sum.size(); ++i)
        sum[i] = WrapAdd(sum[i], beta == 1 ? c[at[i]] : static_cast<C>(beta * static_cast<double>(c[at[i]])));
    }
    StoreAll<C>(out, sum);
  });
}

// Determinant by elimination with partial pivoting.
void Det(const Args& args) {
  const Shape& shape = args.In(0).shape;
  const int rank = shape.rank();
  if (rank < 2 || shape[rank - 1] != shape[rank - 2]) throw Error(Code::kInvalidArgument, "Det of shape ", shape);
  const int64_t n = shape[rank - 1];
  std::vector<double> all = LoadAll<double>(args.In(0));
  for (int64_t matrix = 0; matrix < args.Out(0).Count(); ++matrix) {
    double* x = all.data() + matrix * n * n;
    double determinant = 1;
    for (int64_t c = 0; c < n; ++c) {
      int64_t pivot = c;
      for (int64_t r = c + 1; r < n; ++r)
        if (std::abs(x[r * n + c]) > std::abs(x[pivot * n + c])) pivot = r;
      if (pivot != c) {
        std::swap_ranges(x + c * n, x + c * n + n, x + pivot * n);
        determinant = -determinant;
      }
      determinant *= x[c * n + c];
      if (x[c * n + c] == 0) break;
      for (int64_t r = c + 1; r < n; ++r) {
        const double factor = x[r * n + c] / x[c * n + c];
        for (int64_t j = c; j < n; ++j) x[r * n + j] -= factor * x[c * n + j];
      }
    }
    StoreOne<double>(args.Out(0), matrix, determinant);
  }
}

constexpr PlainOp kOps[] = {
    {"MatMul", MatMul}, {"MatMulInteger", MatMulInteger}, {"QLinearMatMul", QLinearMatMul}, {"Gemm", Gemm},
    {"Det", Det},
};

}  // namespace

std::span<const PlainOp> MatrixOps() { return kOps; }

}  // namespace ziggurat::plain
