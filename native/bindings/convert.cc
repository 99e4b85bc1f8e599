#include "bindings/convert.h"

#include <pybind11/stl.h>  // shapes of string tensors are handed to NumPy as vectors

#include "tensor/bool_bytes.h"

namespace ziggurat::bindings {
namespace {

DType BuiltinDType(char kind, ssize_t bytes) {
  switch (kind) {
    case 'f':
      return bytes == 4 ? DType::kFloat32 : bytes == 8 ? DType::kFloat64 : bytes == 2 ? DType::kFloat16 : DType{};
    case 'i':
      return bytes == 8 ? DType::kInt64 : bytes == 4 ? DType::kInt32 : bytes == 2 ? DType::kInt16 : DType::kInt8;
    case 'u':
      return bytes == 8 ? DType::kUint64 : bytes == 4 ? DType::kUint32 : bytes == 2 ? DType::kUint16 : DType::kUint8;
    case 'b':
      return DType::kBool;
    case 'c':
      return bytes == 8 ? DType::kComplex64 : bytes == 16 ? DType::kComplex128 : DType{};
    case 'O':
    case 'U':
    case 'S':
    case 'T':
      return DType::kString;
    default:
      return DType::kUndefined;
  }
}

const char* CodeName(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return "invalid_argument";
    case Code::kInvalidModel:
      return "invalid_model";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kNotFound:
      return "not_found";
    case Code::kOutOfMemory:
      return "out_of_memory";
    case Code::kCancelled:
      return "cancelled";
    case Code::kDeadlineExceeded:
      return "deadline_exceeded";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kInternal:
      break;
  }
  return "internal";
}

std::string StringFrom(const py::handle& value) {
  if (py::isinstance<py::bytes>(value)) return value.cast<std::string>();
  if (py::isinstance<py::str>(value)) return value.cast<std::string>();
  throw Error(Code::kInvalidArgument, "a string tensor holds str or bytes, not ",
              std::string(py::str(py::type::handle_of(value).attr("__name__"))));
}

py::object StringToPython(const std::string& value) {
  PyObject* text = PyUnicode_DecodeUTF8(value.data(), static_cast<ssize_t>(value.size()), nullptr);
  if (text) return py::reinterpret_steal<py::object>(text);
  PyErr_Clear();
  return py::bytes(value);
}

py::object TensorToPython(const TensorView& view, std::shared_ptr<void> owner) {
  const std::vector<ssize_t> shape(view.shape.begin(), view.shape.end());
  if (view.dtype == DType::kString) {
    py::list items;
    for (int64_t i = 0; i < view.Count(); ++i) items.append(StringToPython(view.As<std::string>()[i]));
    py::array flat = py::module_::import("numpy").attr("empty")(view.Count(), py::arg("dtype") = "O");
    for (int64_t i = 0; i < view.Count(); ++i) flat[py::int_(i)] = items[i];
    return flat.attr("reshape")(py::cast(shape));
  }
  if (!owner) {  // the caller's own array was written: wrapped without an owner, engine/ returns the original
    return py::array(NumpyDType(view.dtype), shape, view.data, py::none());
  }
  auto* keep = new std::shared_ptr<void>(std::move(owner));
  py::capsule base(keep, [](void* pointer) { delete static_cast<std::shared_ptr<void>*>(pointer); });
  return py::array(NumpyDType(view.dtype), shape, view.data, base);
}

py::object ElementToPython(const SequenceElement& element);

py::object SequenceToPython(const SequenceValue& sequence) {
  py::list out;
  for (const SequenceElement& element : sequence.elements) out.append(ElementToPython(element));
  return out;
}

py::object ElementToPython(const SequenceElement& element) {
  if (element.sequence) return SequenceToPython(*element.sequence);
  return TensorToPython(element.tensor, element.storage ? element.storage : std::make_shared<int>());
}

}  // namespace

DType DTypeOf(const py::array& array) {
  const py::dtype dtype = array.dtype();
  if (dtype.kind() != 'V') {
    if (const DType found = BuiltinDType(dtype.kind(), dtype.itemsize()); found != DType::kUndefined) {
      // ml_dtypes registers some of its types under the kinds 'f' and 'i'.
      if (dtype.num() < 24 || found == DType::kString) return found;
    }
  }
  return DTypeFromName(dtype.attr("name").cast<std::string>()).value_or(DType::kUndefined);
}

py::dtype NumpyDType(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return py::dtype::of<float>();
    case DType::kFloat64:
      return py::dtype::of<double>();
    case DType::kInt64:
      return py::dtype::of<int64_t>();
    case DType::kInt32:
      return py::dtype::of<int32_t>();
    case DType::kBool:
      return py::dtype::of<bool>();
    case DType::kString:
      return py::dtype("O");
    default: {
      const std::string name(Name(dtype));
      if (IsInteger(dtype) && ByteSize(dtype) == 1 && dtype != DType::kInt8 && dtype != DType::kUint8)
        return py::dtype::from_args(py::module_::import("ml_dtypes").attr(name.c_str()));
      if (IsFloat(dtype) && dtype != DType::kFloat16)
        return py::dtype::from_args(py::module_::import("ml_dtypes").attr(name.c_str()));
      return py::dtype(name);
    }
  }
}

TensorView ViewOf(const py::array& array, std::shared_ptr<void>& storage) {
  TensorView view;
  view.dtype = DTypeOf(array);
  if (view.dtype == DType::kUndefined)
    throw Error(Code::kInvalidArgument, "arrays of ", std::string(py::str(array.dtype())), " are not tensors");
  for (ssize_t i = 0; i < array.ndim(); ++i) view.shape.push_back(array.shape(i));
  if (view.dtype == DType::kString) {
    auto strings = std::make_shared<std::vector<std::string>>();
    for (const py::handle item : array.attr("ravel")().attr("tolist")()) strings->push_back(StringFrom(item));
    view.data = strings->data();
    storage = std::move(strings);
    return view;
  }
  if (!(array.flags() & py::array::c_style)) throw Error(Code::kInvalidArgument, "the array is not dense");
  view.data = const_cast<void*>(array.data());
  return view;
}

TensorView InputViewOf(const py::array& array, std::shared_ptr<void>& storage) {
  TensorView view = ViewOf(array, storage);
  const std::byte* bytes = static_cast<const std::byte*>(view.data);
  if (view.dtype != DType::kBool || AreBools(bytes, view.Bytes())) return view;
  auto bools = std::make_shared<std::vector<std::byte>>(view.Bytes());
  MakeBools(bytes, bools->data(), bools->size());
  view.data = bools->data();
  storage = std::move(bools);
  return view;
}

ObjectValue SequenceFrom(const py::handle& value) {
  ObjectValue object;
  object.sequence = std::make_shared<SequenceValue>();
  if (value.is_none()) return object;
  if (py::isinstance<py::array>(value)) {  // a full optional
    std::shared_ptr<void> storage;
    object.sequence->elements.push_back(CopyElement(InputViewOf(py::reinterpret_borrow<py::array>(value), storage)));
    return object;
  }
  for (const py::handle item : value) {
    if (py::isinstance<py::array>(item)) {
      std::shared_ptr<void> storage;
      object.sequence->elements.push_back(CopyElement(InputViewOf(py::reinterpret_borrow<py::array>(item), storage)));
    } else {
      SequenceElement nested;
      nested.sequence = SequenceFrom(item).sequence;
      object.sequence->elements.push_back(std::move(nested));
    }
  }
  return object;
}

py::object ToPython(Output output, const Type& type) {
  if (type.IsTensor()) return TensorToPython(output.view, std::move(output.owner));
  if (!output.object.sequence) return py::none();
  if (type.kind == Kind::kOptional) {
    const auto& elements = output.object.sequence->elements;
    return elements.empty() ? py::none() : ElementToPython(elements.front());
  }
  return SequenceToPython(*output.object.sequence);
}

// Names and attributes of a model may be any bytes.
py::str Readable(const std::string& text) {
  PyObject* decoded = PyUnicode_DecodeUTF8(text.data(), static_cast<ssize_t>(text.size()), "replace");
  if (!decoded) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(decoded);
}

py::object ErrorToPython(const Error& error) {
  const py::object classes = py::module_::import("ziggurat.errors").attr("BY_CODE");
  return classes[CodeName(error.code())](Readable(error.message()), py::arg("node") = Readable(error.node()),
                                         py::arg("op") = Readable(error.op()),
                                         py::arg("tensor") = Readable(error.tensor()));
}

void RegisterErrors() {
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      const py::object instance = ErrorToPython(error);
      PyErr_SetObject(py::type::handle_of(instance).ptr(), instance.ptr());
    } catch (const std::bad_alloc&) {
      // Of small things beside the pool: the same to a caller as a refusal of the pool.
      const py::object instance = ErrorToPython(Error(Code::kOutOfMemory, "the system has no more memory"));
      PyErr_SetObject(py::type::handle_of(instance).ptr(), instance.ptr());
    }
  });
}

}  // namespace ziggurat::bindings
