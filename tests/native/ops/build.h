// Short ways to build graphs in tests of ops.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "ir/graph.h"
#include "ops/op_def.h"

namespace ziggurat::test {

// A graph whose dimensions are written as numbers or names: In("x", {"batch", "3"}).
struct Build {
  Graph graph{"test"};

  Value* In(const std::string& name, const std::vector<std::string>& dims, DType dtype = DType::kFloat32) {
    std::vector<Dim> shape;
    for (const std::string& dim : dims)
      shape.push_back(dim.empty() || std::isalpha(dim[0]) ? graph.NamedSymbol(dim, 0, 0) : Dim(std::stoll(dim)));
    return graph.AddInput(name, Type::Tensor(dtype, std::move(shape)));
  }
  Value* Unranked(const std::string& name, DType dtype = DType::kFloat32) {
    return graph.AddInput(name, Type::Tensor(dtype, std::nullopt));
  }
  Value* Ints(const std::vector<int64_t>& values) { return graph.AddConstant(Constant::Int64s(values)); }
  Value* Int(int64_t value) { return graph.AddConstant(Constant::Scalar(DType::kInt64, value)); }
  Value* Float(float value) { return graph.AddConstant(Constant::Scalar(DType::kFloat32, value)); }
  Value* Floats(const std::vector<float>& values) {
    return graph.AddConstant(Constant::Copy(DType::kFloat32, Shape{static_cast<int64_t>(values.size())}, values.data(),
                                            values.size() * sizeof(float)));
  }
  Value* Op(const char* op, std::vector<Value*> inputs, Attributes attributes = {}, const char* domain = "") {
    return graph.Add(GetOp(op, domain), std::move(inputs), std::move(attributes));
  }
  std::vector<Value*> Ops(const char* op, std::vector<Value*> inputs, int outputs, Attributes attributes = {}) {
    return graph.AddNode(GetOp(op), std::move(inputs), std::move(attributes), std::vector<std::string>(outputs), "n")
        ->outputs;
  }
  // "float32[batch,3]"
  std::string Text(const Value* value) const { return graph.ToString(value->type); }
  // "{batch,3}" or "?"
  std::string Contents(const Value* value) const {
    if (!value->contents) return "?";
    std::string out = "{";
    for (const Dim& dim : *value->contents) out += (out.size() > 1 ? "," : "") + graph.ToString(dim);
    return out + "}";
  }
};

// The text of the Error a statement throws; "" if it throws none.
template <typename Statement>
std::string ErrorOf(Statement statement) {
  try {
    statement();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

#define CHECK_TYPE(build, value, expected) CHECK((build).Text(value) == (expected), (build).Text(value))
#define CHECK_CONTENTS(build, value, expected) CHECK((build).Contents(value) == (expected), (build).Contents(value))
#define CHECK_FAILS(statement, expected)                                  \
  do {                                                                    \
    const std::string text = ErrorOf([&] { (void)(statement); });         \
    CHECK(text.find(expected) != std::string::npos, "got: '", text, "'"); \
  } while (false)

}  // namespace ziggurat::test
