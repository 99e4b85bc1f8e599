// zig.Elementwise has the bits of its nodes, computed one after the other by their own kernels.
#include "ops/element_program.h"

#include <functional>

#include "cpu/op_harness.h"

namespace ziggurat::test {
namespace {

using cpu::KernelTable;

const float kSpecial[] = {-INFINITY, INFINITY, NAN, -0.0f, 0.0f, 1e-42f, 3e38f, -20.5f};

HostTensor Reals(const Shape& shape, uint64_t seed) {
  HostTensor tensor = RandomFloats(shape, seed, -4, 4);
  for (int64_t i = 0; i < std::min<int64_t>(tensor.shape.Count(), 8); ++i)
    std::memcpy(tensor.bytes.data() + i * 4, &kSpecial[(static_cast<uint64_t>(i) + seed) % 8], 4);
  return tensor;
}

HostTensor Bools(const Shape& shape, uint64_t seed) {
  Random random(seed);
  std::vector<bool> values(static_cast<size_t>(shape.Count()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = random.Below(2) != 0;
  return Tensor(DType::kBool, shape, values);
}

// A program and what is fed to it.
struct Case {
  std::vector<std::string> program;
  std::vector<HostTensor> inputs;
  std::vector<int64_t> results;

  OneOp Fused() const {
    return OneOp("Elementwise", inputs, {{"program", program}, {"results", results}}, static_cast<int>(results.size()),
                 "zig");
  }
};

std::vector<HostTensor> NodeByNode(const Case& test, const KernelTable& table) {
  OneOp fused = test.Fused();
  const ElementProgram program = ReadElementProgram(fused.node());
  std::vector<HostTensor> values = test.inputs;
  for (const ElementInstruction& instruction : program.instructions) {
    std::vector<HostTensor> operands;
    for (int operand : instruction.operands)
      operands.push_back(operand < 0 ? Absent() : values[static_cast<size_t>(operand)]);
    values.push_back(OneOp(instruction.op->name, operands, instruction.attributes).Run(table)[0]);
  }
  std::vector<HostTensor> results;
  for (int result : program.results) results.push_back(values[static_cast<size_t>(program.inputs + result)]);
  return results;
}

// Bit for bit, but of a NaN that it is one: of two NaNs in a sum the compiler may let either through.
bool SameBits(const HostTensor& a, const HostTensor& b) {
  if (a.bytes == b.bytes || a.dtype != DType::kFloat32) return a.bytes == b.bytes;
  for (int64_t i = 0; i < a.shape.Count(); ++i) {
    const float x = a.At<float>(i), y = b.At<float>(i);
    if (Bits(x) != Bits(y) && !(std::isnan(x) && std::isnan(y))) return false;
  }
  return true;
}

void CheckCase(const Case& test, const std::string& what) {
  for (const KernelTable* table : HostTables()) {
    const std::vector<HostTensor> want = NodeByNode(test, *table);
    for (int threads : {1, 2, 3}) {
      const std::vector<HostTensor> got = test.Fused().Run(*table, threads);
      for (size_t i = 0; i < want.size(); ++i) {
        CHECK(got[i].shape == want[i].shape && got[i].dtype == want[i].dtype, what);
        CHECK(SameBits(got[i], want[i]), table->isa, " ", what, " result ", i);
      }
    }
  }
}

const char* const kUnary[] = {
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Ceil",
    "Celu alpha=0.5",
    "Clip",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "Gelu approximate=tanh",
    "HardSigmoid alpha=0.3 beta=0.1",
    "HardSwish",
    "LeakyRelu alpha=0.2",
    "Log",
    "Mish",
    "Neg",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink bias=0.1",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Swish alpha=1.702",
    "Tan",
    "Tanh",
    "ThresholdedRelu alpha=0.3",
};

// The op's name with its operands behind it, before its attributes.
std::string With(const std::string& op, const std::string& operands) {
  const size_t space = std::min(op.find(' '), op.size());
  return op.substr(0, space) + " " + operands + op.substr(space);
}

TEST(every_op_of_one_operand_keeps_its_bits_in_a_program) {
  for (const char* op : kUnary) CheckCase({{With(op, "x0"), "Neg t0"}, {Reals({77}, 3)}, {1}}, op);
  for (const char* op : {"IsNaN", "IsInf", "IsInf detect_negative=0"})
    CheckCase({{With(op, "x0"), "Not t0"}, {Reals({77}, 3)}, {0, 1}}, op);
}

// The two broadcast to [6, 50]; else their result would be smaller than the program's others.
bool Fills(const Shape& a, const Shape& b) {
  int64_t rows = 1, columns = 1;
  for (const Shape& shape : {a, b}) {
    if (shape.rank() > 0) columns = std::max(columns, shape[shape.rank() - 1]);
    if (shape.rank() > 1) rows = std::max(rows, shape[0]);
  }
  return rows == 6 && columns == 50;
}

TEST(every_op_of_more_operands_keeps_its_bits_in_a_program) {
  const Shape shapes[] = {{}, {1}, {6, 50}, {50}, {6, 1}, {1, 50}};
  for (const char* op : {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Mod fmod=1"})
    for (const Shape& a : shapes)
      for (const Shape& b : shapes) {
        if (!Fills(a, b)) continue;
        CheckCase({{"Neg x2", With(op, "x0 x1"), "Add t0 t1"}, {Reals(a, 1), Reals(b, 2), Reals({6, 50}, 3)}, {2}},
                  Cat(op, " ", a, " ", b));
      }
  const std::vector<HostTensor> three = {Reals({6, 50}, 1), Reals({6, 50}, 2), Reals({50}, 3)};
  for (const char* op : {"Max", "Min", "Sum", "Mean"}) CheckCase({{With(op, "x0 x2 x1 x2")}, three, {0}}, op);
  for (const char* op : {"PRelu", "SwiGLU"}) CheckCase({{With(op, "x0 x1"), "Add t0 x2"}, three, {0, 1}}, op);
  for (const char* op : {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"})
    CheckCase({{With(op, "x0 x1"), "Where t0 x0 x2"}, three, {0, 1}}, op);
  const std::vector<HostTensor> bools = {Bools({6, 50}, 1), Bools({50}, 2), Bools({6, 1}, 3)};
  for (const char* op : {"And", "Or", "Xor"})
    CheckCase({{With(op, "x0 x1"), "Not t0", "Where t1 t0 x2"}, bools, {0, 2}}, op);
}

TEST(bounds_selections_and_casts_keep_their_bits_in_a_program) {
  const HostTensor x = Reals({3, 400}, 1), low = Floats({}, {-0.5f}), high = Floats({1}, {0.75f});
  for (const char* clip : {"Clip x0 x1 x2", "Clip x0 x1", "Clip x0 _ x2", "Clip x0 x2 x1"})
    CheckCase({{clip, "Add t0 x1"}, {x, low, high}, {0, 1}}, clip);
  for (const Shape& condition : {Shape{3, 400}, Shape{400}, Shape{3, 1}, Shape{}})
    for (const Shape& yes : {Shape{3, 400}, Shape{}})
      CheckCase({{"Where x0 x1 x2", "Abs t0"}, {Bools(condition, 1), Reals(yes, 2), x}, {1}}, Cat(condition, yes));
  const auto cast = [](const HostTensor& from) {
    CheckCase({{"Cast x0 to=1", "Neg t0"}, {from}, {0, 1}}, std::string(Name(from.dtype)));
  };
  cast(Bools({2000}, 1));
  cast(Tensor(DType::kInt64, {3}, std::vector<int64_t>{-5, 1 << 30, INT64_MAX}));
  cast(Tensor(DType::kInt32, {2}, std::vector<int32_t>{-5, INT32_MAX}));
  cast(Tensor(DType::kInt8, {3}, std::vector<int8_t>{-128, 0, 127}));
  cast(Tensor(DType::kUint8, {3}, std::vector<uint8_t>{0, 128, 255}));
  cast(Tensor(DType::kFloat16, {4}, std::vector<uint16_t>{0x3c00, 0x7e00, 0xfc00, 1}));
  cast(Tensor(DType::kBFloat16, {4}, std::vector<uint16_t>{0x3f80, 0x7fc0, 0xff80, 1}));
  cast(Tensor(DType::kFloat64, {3}, std::vector<double>{1e300, -1.0 / 3, 5e-320}));
  const HostTensor ids = Tensor(DType::kInt64, {5}, std::vector<int64_t>{1, 2, 3, 2, 1});
  const HostTensor two = Tensor(DType::kInt64, {}, std::vector<int64_t>{2});
  CheckCase({{"Less x0 x1", "Equal x0 x1", "Or t0 t1", "Cast t2 to=1"}, {ids, two}, {0, 3}}, "integers");
}

// Any program over any shape: results in the middle, values read late, broadcasts of every kind.
TEST(random_programs_keep_the_bits_of_their_nodes) {
  const Shape shapes[] = {{0, 3}, {}, {1}, {7}, {33, 64}, {2, 3, 4, 5}, {1023}, {1025}, {130, 257}, {5, 1, 3001}};
  Random random(11);
  for (int round = 0; round < 60; ++round) {
    const Shape& shape = shapes[round % 10];
    Case test;
    test.inputs.push_back(Reals(shape, static_cast<uint64_t>(round)));
    for (int i = 0; i < 3; ++i) {
      Shape part = shape;
      for (int axis = 0; axis < part.rank(); ++axis)
        if (random.Below(2)) part[axis] = 1;
      test.inputs.push_back(Reals(random.Below(4) ? part : Shape{}, static_cast<uint64_t>(round * 4 + i)));
    }
    const int length = 2 + static_cast<int>(random.Below(30));
    const auto pick = [&](int made) { return made ? Cat("t", random.Below(made)) : std::string("x0"); };
    for (int k = 0; k < length; ++k) {
      const char* const binary[] = {"Add", "Mul", "Sub", "Max"};
      const char* const unary[] = {"Neg", "Tanh", "Abs", "Sigmoid", "Relu"};
      if (random.Below(2)) {
        const std::string other = random.Below(2) ? Cat("x", random.Below(4)) : pick(k);
        test.program.push_back(Cat(binary[random.Below(4)], ' ', pick(k), ' ', other));
      } else {
        test.program.push_back(Cat(unary[random.Below(5)], ' ', pick(k)));
      }
      if (k == length - 1 || random.Below(8) == 0) test.results.push_back(k);
    }
    CheckCase(test, Cat("round ", round));
  }
}

TEST(programs_that_are_none_are_refused_by_name) {
  const auto message = [](std::vector<std::string> program, std::vector<int64_t> results = {0}) {
    try {
      Case{std::move(program), {Reals({4}, 1), Bools({4}, 2)}, std::move(results)}.Fused();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const auto refuses = [&](std::vector<std::string> program, const char* why) {
    const std::string text = message(std::move(program));
    CHECK(text.find(why) != std::string::npos, text);
  };
  CHECK(message({"Neg x0"}).empty());
  refuses({}, "1 to 256 instructions");
  refuses({"Softmax x0"}, "names no op of element programs");
  refuses({""}, "names no op");
  refuses({"Neg x7"}, "there is no x7");
  refuses({"Neg t0"}, "there is no t0 before it");
  refuses({"Neg y0"}, "is no operand");
  refuses({"Neg x"}, "is no number");
  refuses({"Neg x-1"}, "there is no x-1");
  refuses({"Neg x99999999999"}, "is no number");
  refuses({"Add x0"}, "takes 2");
  refuses({"Add x0 _"}, "an operand is absent");
  refuses({"Neg x0 alpha=1"}, "has no attribute 'alpha'");
  refuses({"LeakyRelu x0 alpha=much"}, "is no number");
  refuses({"LeakyRelu alpha=1 x0"}, "operands come before attributes");
  refuses({"Neg x1"}, "does not take operands of such types");
  refuses({"Cast x0 to=7"}, "does not take operands of such types");
  CHECK(message({"Neg x0"}, {3}).find("result 3 is none of 1") != std::string::npos);
}

TEST(a_bound_of_several_elements_is_an_error_of_the_run) {
  Case test{{"Clip x0 x1", "Neg t0"}, {Reals({4}, 1), Floats({2}, {0, 1})}, {1}};
  bool thrown = false;
  try {
    test.Fused().Run(*HostTables().back());
  } catch (const Error& error) {
    thrown = error.code() == Code::kInvalidArgument;
  }
  CHECK(thrown);
}

}  // namespace
}  // namespace ziggurat::test
