// GraphBuilder: what service/ziggurat/formats writes its graphs with.
#include "ir/graph.h"

#include <pybind11/stl.h>

#include "bindings/convert.h"
#include "bindings/module.h"
#include "ops/op_def.h"

namespace ziggurat::bindings {
namespace {

// Value numbers run through a graph and all graphs nested in it.
using ValueTable = std::vector<Value*>;

Shape ShapeFrom(const std::vector<int64_t>& dims) { return Shape(std::span<const int64_t>(dims)); }

std::shared_ptr<Constant> ConstantFrom(int dtype, const std::vector<int64_t>& dims, const py::object& data) {
  if (!IsValidDType(dtype)) throw Error(Code::kInvalidModel, "element type ", dtype, " does not exist");
  if (static_cast<DType>(dtype) == DType::kString)
    return Constant::Strings(ShapeFrom(dims), data.cast<std::vector<std::string>>());
  const py::buffer_info info = py::buffer(data).request();
  return Constant::Copy(static_cast<DType>(dtype), ShapeFrom(dims), info.ptr,
                        static_cast<size_t>(info.size * info.itemsize));
}

class GraphBuilder {
 public:
  explicit GraphBuilder(std::string name)
      : graph_(std::make_shared<Graph>(std::move(name))), values_(std::make_shared<ValueTable>()) {}

  int Input(const std::string& name, int dtype, const py::object& shape) {
    return AddInput(name, TensorType(name, dtype, shape));
  }
  int InputOfType(const std::string& name, const py::tuple& spec) { return AddInput(name, TypeFrom(name, spec)); }

  int AddConstant(const std::string& name, int dtype, const std::vector<int64_t>& dims, const py::object& data) {
    return Number(graph_->AddConstant(ConstantFrom(dtype, dims, data), name));
  }
  int AddFileConstant(const std::string& name, int dtype, const std::vector<int64_t>& dims, const std::string& path,
                      int64_t offset, int64_t length) {
    if (!IsValidDType(dtype)) throw Error(Code::kInvalidModel, "element type ", dtype, " does not exist");
    return Number(graph_->AddConstant(
        Constant::FileRange(static_cast<DType>(dtype), ShapeFrom(dims), path, offset, length), name));
  }

  int AddEncoded(const std::string& name, const std::vector<int64_t>& dims, int ggml_type, const py::object& data) {
    const py::buffer_info info = py::buffer(data).request();
    return Number(AddingTo(name, [&] {
      return Constant::Encoded(GgmlEncoding(ggml_type), ShapeFrom(dims), info.ptr,
                               static_cast<size_t>(info.size * info.itemsize));
    }));
  }
  int AddEncodedFile(const std::string& name, const std::vector<int64_t>& dims, int ggml_type, const std::string& path,
                     int64_t offset, int64_t length) {
    return Number(AddingTo(name, [&] {
      return Constant::EncodedFileRange(GgmlEncoding(ggml_type), ShapeFrom(dims), path, offset, length);
    }));
  }

  std::vector<int> AddNode(const std::string& domain, const std::string& op, const std::string& name,
                           const std::vector<int>& inputs, const std::vector<std::string>& outputs,
                           const py::dict& attributes) {
    const OpDef* def = FindOp(domain, op);
    if (!def)
      throw Error(Code::kUnsupported, "unknown operator ", domain.empty() ? "ai.onnx" : domain, ".", op)
          .AtNode(op, name);
    std::vector<Value*> values;
    for (int input : inputs) values.push_back(input < 0 ? nullptr : At(input));
    std::vector<std::string> names;
    for (const std::string& output : outputs) names.push_back(output.empty() ? "-" : output);
    Attributes converted;
    for (const auto& [key, value] : attributes) converted[key.cast<std::string>()] = AttributeFrom(value);
    Node* node = graph_->AddNode(*def, std::move(values), std::move(converted), std::move(names), name);
    std::vector<int> numbers;
    for (size_t i = 0; i < outputs.size(); ++i) {
      Value* value = node->Output(i);
      numbers.push_back(value ? Number(value) : -1);
    }
    return numbers;
  }

  GraphBuilder Subgraph(std::string name) { return GraphBuilder(graph_->NewSubgraph(std::move(name)), values_); }
  void Output(int value, const std::string& name) { graph_->AddOutput(At(value), name); }

  int DTypeOf(int value) const {
    const Type& type = At(value)->type;
    return type.IsTensor() ? static_cast<int>(type.dtype) : 0;
  }
  py::object ShapeOf(int value) const {
    const Type& type = At(value)->type;
    if (!type.IsTensor() || !type.shape) return py::none();
    py::list dims;
    for (const Dim& dim : *type.shape) {
      if (dim.IsConst())
        dims.append(dim.Const());
      else
        dims.append(graph_->ToString(dim));
    }
    return dims;
  }
  py::object ConstantValue(int value) const {
    const auto& constant = At(value)->constant;
    if (!constant || constant->dtype() == DType::kString || !constant->encoding().IsPlain()) return py::none();
    const TensorView view = constant->View();
    const std::vector<ssize_t> shape(view.shape.begin(), view.shape.end());
    return py::array(NumpyDType(view.dtype), shape, view.data);  // without a base: NumPy copies
  }
  std::shared_ptr<Graph> Finish() { return graph_; }

 private:
  GraphBuilder(std::shared_ptr<Graph> graph, std::shared_ptr<ValueTable> values)
      : graph_(std::move(graph)), values_(std::move(values)) {}

  int Number(Value* value) {
    values_->push_back(value);
    return static_cast<int>(values_->size()) - 1;
  }
  Value* At(int number) const {
    if (number < 0 || static_cast<size_t>(number) >= values_->size())
      throw Error(Code::kInvalidArgument, "no value has the number ", number);
    return (*values_)[number];
  }
  // What `make` makes, as a value of the graph; its errors name the tensor.
  template <typename Make>
  Value* AddingTo(const std::string& name, const Make& make) {
    try {
      return graph_->AddConstant(make(), name);
    } catch (Error& error) {
      throw error.AtTensor(name);
    }
  }
  int AddInput(const std::string& name, Type type) { return Number(graph_->AddInput(name, std::move(type))); }

  Type TensorType(const std::string& name, int dtype, const py::object& shape) {
    if (dtype != 0 && !IsValidDType(dtype))
      throw Error(Code::kInvalidModel, "element type ", dtype, " does not exist").AtTensor(name);
    if (shape.is_none()) return Type::Tensor(static_cast<DType>(dtype), std::nullopt);
    std::vector<Dim> dims;
    const bool outermost = graph_->parent() == nullptr;
    const int input = static_cast<int>(graph_->inputs().size());
    for (const py::handle dim : shape) {
      const int axis = static_cast<int>(dims.size());
      if (axis == kMaxRank)
        throw Error(Code::kUnsupported, "rank above ", kMaxRank, " is not supported").AtTensor(name);
      if (py::isinstance<py::int_>(dim))
        dims.push_back(Dim(dim.cast<int64_t>()));
      else if (py::isinstance<py::str>(dim) && outermost)
        dims.push_back(graph_->NamedSymbol(dim.cast<std::string>(), input, axis));
      else  // a body's names are its own: an iteration may see other sizes than the graph around it
        dims.push_back(graph_->NewSymbol(Cat(name, "_dim", axis), outermost ? input : -1, axis));
    }
    return Type::Tensor(static_cast<DType>(dtype), std::move(dims));
  }

  Type TypeFrom(const std::string& name, const py::tuple& spec) {
    const std::string kind = spec[0].cast<std::string>();
    if (kind == "tensor") return TensorType(name, spec[1].cast<int>(), spec[2]);
    if (kind == "sequence") return Type::Sequence(TypeFrom(name, spec[1]));
    if (kind == "optional") return Type::Optional(TypeFrom(name, spec[1]));
    if (kind == "resource") return Type::Resource();
    throw Error(Code::kUnsupported, "inputs of kind ", kind, " are not supported").AtTensor(name);
  }

  Attribute AttributeFrom(const py::handle& value) {
    if (py::isinstance<py::bool_>(value) || py::isinstance<py::int_>(value)) return value.cast<int64_t>();
    if (py::isinstance<py::float_>(value)) return value.cast<float>();
    if (py::isinstance<py::bytes>(value) || py::isinstance<py::str>(value)) return value.cast<std::string>();
    if (py::isinstance<GraphBuilder>(value)) return value.cast<GraphBuilder&>().graph_;
    const py::tuple tagged = value.cast<py::tuple>();
    const std::string tag = tagged[0].cast<std::string>();
    if (tag == "ints") return tagged[1].cast<std::vector<int64_t>>();
    if (tag == "floats") return tagged[1].cast<std::vector<float>>();
    if (tag == "strings") return tagged[1].cast<std::vector<std::string>>();
    if (tag == "tensor") return ConstantFrom(tagged[1].cast<int>(), tagged[2].cast<std::vector<int64_t>>(), tagged[3]);
    if (tag == "type") return graph_->ToString(TypeFrom("type", tagged[1]));
    throw Error(Code::kInternal, "an attribute cannot be tagged '", tag, "'");
  }

  std::shared_ptr<Graph> graph_;
  std::shared_ptr<ValueTable> values_;
};

}  // namespace

void BindGraph(py::module_& module) {
  py::class_<Graph, std::shared_ptr<Graph>>(module, "Graph")
      .def_property_readonly("name", &Graph::name)
      .def("node_count", [](const Graph& graph) { return graph.nodes().size(); });
  py::class_<GraphBuilder>(module, "GraphBuilder")
      .def(py::init<std::string>(), py::arg("name"))
      .def("input", &GraphBuilder::Input, py::arg("name"), py::arg("dtype"), py::arg("shape"))
      .def("input_of_type", &GraphBuilder::InputOfType, py::arg("name"), py::arg("spec"))
      .def("constant", &GraphBuilder::AddConstant, py::arg("name"), py::arg("dtype"), py::arg("shape"), py::arg("data"))
      .def(
          "string_constant",
          [](GraphBuilder& self, const std::string& name, const std::vector<int64_t>& shape, const py::object& values) {
            return self.AddConstant(name, static_cast<int>(DType::kString), shape, values);
          },
          py::arg("name"), py::arg("shape"), py::arg("values"))
      .def("constant_file", &GraphBuilder::AddFileConstant, py::arg("name"), py::arg("dtype"), py::arg("shape"),
           py::arg("path"), py::arg("offset"), py::arg("length"))
      .def("encoded_constant", &GraphBuilder::AddEncoded, py::arg("name"), py::arg("shape"), py::arg("ggml_type"),
           py::arg("data"))
      .def("encoded_constant_file", &GraphBuilder::AddEncodedFile, py::arg("name"), py::arg("shape"),
           py::arg("ggml_type"), py::arg("path"), py::arg("offset"), py::arg("length"))
      .def("node", &GraphBuilder::AddNode, py::arg("domain"), py::arg("op"), py::arg("name"), py::arg("inputs"),
           py::arg("outputs"), py::arg("attributes"))
      .def("subgraph", &GraphBuilder::Subgraph, py::arg("name"))
      .def("output", &GraphBuilder::Output, py::arg("value"), py::arg("name"))
      .def("dtype_of", &GraphBuilder::DTypeOf, py::arg("value"))
      .def("shape_of", &GraphBuilder::ShapeOf, py::arg("value"))
      .def("constant_value", &GraphBuilder::ConstantValue, py::arg("value"))
      .def("finish", &GraphBuilder::Finish)
      .def_static(
          "knows", [](const std::string& domain, const std::string& op) { return FindOp(domain, op) != nullptr; },
          py::arg("domain"), py::arg("op"));
}

}  // namespace ziggurat::bindings
