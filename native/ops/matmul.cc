// Matrix products.
#include "ops/expander.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

// NumPy's matmul: a vector becomes a row on the left, a column on the right, and that dimension is dropped again.
void MatMulShape(InferContext& c, int a, int b, DType dtype) {
  c.ExpectRank(a, 1, kMaxRank);
  c.ExpectRank(b, 1, kMaxRank);
  if (!c.HasRank(a) || !c.HasRank(b)) return c.SetUnranked(0, dtype);
  std::vector<Dim> x = c.InputShape(a), y = c.InputShape(b);
  const bool row = x.size() == 1, column = y.size() == 1;
  if (row) x.insert(x.begin(), Dim(1));
  if (column) y.push_back(1);
  c.Same(x.back(), y[y.size() - 2], "inner dimensions");
  std::vector<Dim> out = c.BroadcastShapes({x.begin(), x.end() - 2}, {y.begin(), y.end() - 2});
  if (!row) out.push_back(x[x.size() - 2]);
  if (!column) out.push_back(y.back());
  c.SetOutput(0, dtype, std::move(out));
}

void InferMatMul(InferContext& c) { MatMulShape(c, 0, 1, c.InputDType(0)); }
void InferMatMulInteger(InferContext& c) { MatMulShape(c, 0, 1, DType::kInt32); }
void InferQLinearMatMul(InferContext& c) { MatMulShape(c, 0, 3, c.InputDType(7)); }

void InferGemm(InferContext& c) {
  c.ExpectRank(0, 2);
  c.ExpectRank(1, 2);
  const bool ta = c.node().Int("transA") != 0, tb = c.node().Int("transB") != 0;
  std::vector<Dim> out(2);
  if (c.HasRank(0) && c.HasRank(1))
    c.Same(c.InputShape(0)[ta ? 0 : 1], c.InputShape(1)[tb ? 1 : 0], "inner dimensions");
  out[0] = c.HasRank(0) ? c.InputShape(0)[ta ? 1 : 0] : c.NewSymbol("rows");
  out[1] = c.HasRank(1) ? c.InputShape(1)[tb ? 0 : 1] : c.NewSymbol("columns");
  c.ExpectRank(2, 0, 2);
  if (c.HasInput(2) && c.HasRank(2)) {
    // C is stretched to the product, never the product to C.
    const auto& bias = c.InputShape(2);
    for (size_t i = 0; i < bias.size(); ++i)
      if (!bias[i].IsConst(1)) c.Same(bias[i], out[2 - bias.size() + i], "dimensions of C and of the product");
  }
  c.SetOutput(0, c.InputDType(0), std::move(out));
}

void ExpandGemm(Expander& e) {
  const std::vector<int64_t> swap = {1, 0};
  Value *a = e.Wide(e.In(0)), *b = e.Wide(e.In(1));
  if (e.node().Int("transA")) a = e.Op("Transpose", {a}, {{"perm", swap}});
  if (e.node().Int("transB")) b = e.Op("Transpose", {b}, {{"perm", swap}});
  Value* y = e.Op("MatMul", {a, b});
  const float alpha = e.node().Float("alpha"), beta = e.node().Float("beta");
  if (alpha != 1.0f) y = e.Op("Mul", {y, e.ScalarLike(y, alpha)});
  if (e.HasIn(2) && beta != 0.0f) {
    Value* c = e.Wide(e.In(2));
    if (beta != 1.0f) c = e.Op("Mul", {c, e.ScalarLike(c, beta)});
    y = e.Op("Add", {y, c});
  }
  e.Return(0, y);
}

// A zero point per row of A or column of B, made to broadcast against the matrix.
Value* Centred(Expander& e, int matrix, int zero_point, bool per_row) {
  Value* x = e.Cast(e.In(matrix), DType::kInt32);
  if (!e.HasIn(zero_point)) return x;
  Value* zero = e.Cast(e.In(zero_point), DType::kInt32);
  if (per_row && e.Rank(zero) == 1 && e.Rank(x) > 1) zero = e.Op("Unsqueeze", {zero, e.Ints({-1})});
  return e.Op("Sub", {x, zero});
}

void ExpandMatMulInteger(Expander& e) {
  e.Return(0, e.Op("MatMul", {Centred(e, 0, 2, true), Centred(e, 1, 3, false)}));
}

// Dequantize, multiply, quantize: the definition.
void ExpandQLinearMatMul(Expander& e) {
  auto dequantize = [&e](int x, bool per_row) {
    Value *value = e.Cast(e.In(x), DType::kFloat32), *scale = e.Wide(e.In(x + 1));
    Value* zero = e.Cast(e.In(x + 2), DType::kFloat32);
    if (per_row && e.Rank(scale) == 1 && e.Rank(value) > 1) scale = e.Op("Unsqueeze", {scale, e.Ints({-1})});
    if (per_row && e.Rank(zero) == 1 && e.Rank(value) > 1) zero = e.Op("Unsqueeze", {zero, e.Ints({-1})});
    return e.Op("Mul", {e.Op("Sub", {value, zero}), scale});
  };
  Value* y = e.Op("MatMul", {dequantize(0, true), dequantize(3, false)});
  e.Return(0, e.Op("QuantizeLinear", {y, e.Wide(e.In(6)), e.In(7)}));
}

// The product is float32 unless an output scale is given, then of the zero point's type, or uint8.
void InferQuantizedMatMul(InferContext& c) {
  const DType quantized = c.HasInput(7) ? c.InputDType(7) : DType::kUint8;
  MatMulShape(c, 0, 3, c.HasInput(6) ? quantized : DType::kFloat32);
}

void ExpandQuantizedMatMul(Expander& e) {
  const auto dequantized = [&e](int x) {
    std::vector<Value*> inputs = {e.In(x), e.In(x + 1)};
    if (e.HasIn(x + 2)) inputs.push_back(e.In(x + 2));
    return e.Op("DequantizeLinear", std::move(inputs), {{"axis", int64_t{-1}}});
  };
  Value* y = e.Op("MatMul", {dequantized(0), dequantized(3)});
  if (e.HasIn(8)) y = e.Op("Add", {y, e.In(8)});
  if (e.HasIn(6)) {
    std::vector<Value*> inputs = {y, e.In(6)};
    if (e.HasIn(7)) inputs.push_back(e.In(7));
    y = e.Op("QuantizeLinear", std::move(inputs));
  }
  e.Return(0, y);
}

void InferDet(InferContext& c) {
  c.ExpectRank(0, 2, kMaxRank);
  if (!c.HasRank(0)) return c.SetUnranked(0, c.InputDType(0));
  const auto& in = c.InputShape(0);
  c.Same(in[in.size() - 2], in.back(), "the matrix's dimensions");
  c.SetOutput(0, c.InputDType(0), {in.begin(), in.end() - 2});
}

}  // namespace

constexpr OpDef kOp_MatMul = {
    .name = "MatMul",
    .inputs = {{"A", kFloats | kWideInts, 'T'}, {"B", kFloats | kWideInts, 'T'}},
    .infer = InferMatMul,
};
constexpr OpDef kOp_Det = {
    .name = "Det",
    .inputs = {{"X", kFloats}},
    .infer = InferDet,
};
constexpr OpDef kOp_Gemm = {
    .name = "Gemm",
    .inputs = {{"A", kFloats | kWideInts, 'T'},
               {"B", kFloats | kWideInts, 'T'},
               {"C", kFloats | kWideInts, 'T', Param::kOptional}},
    .attributes = {attr::Float("alpha", 1.0f), attr::Float("beta", 1.0f), attr::Int("transA", 0),
                   attr::Int("transB", 0)},
    .infer = InferGemm,
    .expand = ExpandGemm,
};
constexpr OpDef kOp_MatMulInteger = {
    .name = "MatMulInteger",
    .inputs = {{"A", kBytes, '1'},
               {"B", kBytes, '2'},
               {"a_zero_point", kBytes, '1', Param::kOptional},
               {"b_zero_point", kBytes, '2', Param::kOptional}},
    .infer = InferMatMulInteger,
    .expand = ExpandMatMulInteger,
};
// (A - a_zero) a_scale @ (B - b_zero) b_scale + bias, rounded to y's 8 bits where they are given. B's scale and zero
// point are one, or one a column.
constexpr OpDef kOp_ZigQuantizedMatMul = {
    .name = "QuantizedMatMul",
    .domain = "zig",
    .inputs = {{"A", kBytes, '1'},
               {"a_scale", kFloat32s},
               {"a_zero_point", kBytes, '1', Param::kOptional},
               {"B", kBytes, '2'},
               {"b_scale", kFloat32s},
               {"b_zero_point", kBytes, '2', Param::kOptional},
               {"y_scale", kFloat32s, 0, Param::kOptional},
               {"y_zero_point", kBytes, 0, Param::kOptional},
               {"bias", kFloat32s, 0, Param::kOptional}},
    .infer = InferQuantizedMatMul,
    .expand = ExpandQuantizedMatMul,
};
constexpr OpDef kOp_QLinearMatMul = {
    .name = "QLinearMatMul",
    .inputs = {{"a", kFloat8s | kBytes, '1'},
               {"a_scale", kFloats32, 'S'},
               {"a_zero_point", kFloat8s | kBytes, '1'},
               {"b", kFloat8s | kBytes, '2'},
               {"b_scale", kFloats32, 'S'},
               {"b_zero_point", kFloat8s | kBytes, '2'},
               {"y_scale", kFloats32, 'S'},
               {"y_zero_point", kFloat8s | kBytes}},
    .infer = InferQLinearMatMul,
    .expand = ExpandQLinearMatMul,
};

}  // namespace ziggurat
