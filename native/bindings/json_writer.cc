// Numbers of arrays as JSON text: the interpreter's lock is free meanwhile, so that an answer of megabytes does not
// hold up whoever waits for it (the event loop).
#include <charconv>
#include <cmath>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "bindings/convert.h"
#include "bindings/module.h"

namespace ziggurat::bindings {
namespace {

char* Put(char* to, std::string_view text) {
  std::memcpy(to, text.data(), text.size());
  return to + text.size();
}

// Bytes that one number and its comma take at most: float64 -1.7976931348623157e+308, int64 -9223372036854775808, and
// "-Infinity" with its quotes.
constexpr size_t kMostText = 26;

// The shortest text that reads as the same number. Floats keep a mark of being such (".0"), so that typed clients do
// not take them for integers; what JSON has no number for is a string.
template <class T>
char* PutNumber(char* to, T value) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(value)) return Put(to, "\"NaN\"");
    if (std::isinf(value)) return Put(to, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    char* const begin = to;
    to = std::to_chars(to, to + kMostText, value).ptr;
    for (const char* p = begin; p < to; ++p)
      if (*p == '.' || *p == 'e') return to;
    return Put(to, ".0");
  } else {
    return std::to_chars(to, to + kMostText, value).ptr;
  }
}

template <class T>
char* PutNumbers(char* to, const void* data, ssize_t count) {
  const T* values = static_cast<const T*>(data);
  *to++ = '[';
  for (ssize_t i = 0; i < count; ++i) {
    if (i) *to++ = ',';
    to = PutNumber(to, values[i]);
  }
  *to++ = ']';
  return to;
}

using PutFn = char* (*)(char*, const void*, ssize_t);

PutFn PutFor(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return &PutNumbers<float>;
    case DType::kFloat64:
      return &PutNumbers<double>;
    case DType::kInt64:
      return &PutNumbers<int64_t>;
    case DType::kInt32:
      return &PutNumbers<int32_t>;
    case DType::kInt16:
      return &PutNumbers<int16_t>;
    case DType::kInt8:
      return &PutNumbers<int8_t>;
    case DType::kUint64:
      return &PutNumbers<uint64_t>;
    case DType::kUint32:
      return &PutNumbers<uint32_t>;
    case DType::kUint16:
      return &PutNumbers<uint16_t>;
    case DType::kUint8:
      return &PutNumbers<uint8_t>;
    default:
      return nullptr;
  }
}

// The elements of a dense array, flat; None for types that are no such numbers.
py::object WriteNumbers(const py::array& array) {
  const PutFn put = PutFor(DTypeOf(array));
  if (!put || !(array.flags() & py::array::c_style)) return py::none();
  const ssize_t count = array.size();
  // Pages that the text does not reach are never touched, and go with the rest when it is cut to size.
  PyObject* text = PyBytes_FromStringAndSize(nullptr, static_cast<ssize_t>(kMostText) * count + 2);
  if (!text) throw py::error_already_set();
  char* const begin = PyBytes_AS_STRING(text);
  const void* data = array.data();
  char* end;
  {
    py::gil_scoped_release release;
    end = put(begin, data, count);
  }
  if (_PyBytes_Resize(&text, end - begin) != 0) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(text);
}

}  // namespace

void BindJsonWriter(py::module_& module) { module.def("write_numbers", &WriteNumbers, py::arg("array")); }

}  // namespace ziggurat::bindings
