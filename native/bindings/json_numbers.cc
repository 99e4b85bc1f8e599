// Numbers of JSON tensors, straight from a request's text into an array: a Python object for each would be forty times
// the array. Only what is surely right is read; whatever else is left to the general parser, which also words errors.
#include <pybind11/stl.h>

#include <charconv>
#include <cmath>
#include <string>

#include "bindings/convert.h"
#include "bindings/module.h"

namespace ziggurat::bindings {
namespace {

constexpr size_t kShortest = 24;        // bytes of an array below which replacing it gains nothing
constexpr size_t kKeepGil = 16 * 1024;  // bytes that are read sooner than the lock is handed over and back

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

const char* SkipSpace(const char* p, const char* end) {
  while (p < end && IsSpace(*p)) ++p;
  return p;
}

// Behind the string that begins at `p`; `end` where it has none.
const char* SkipString(const char* p, const char* end) {
  for (++p; p < end && *p != '"'; ++p)
    if (*p == '\\') ++p;
  return p < end ? p + 1 : end;
}

// Behind the array that begins at `p` if it holds nothing but numbers and arrays of them, else null.
const char* SkipNumbers(const char* p, const char* end) {
  int depth = 0;
  for (; p < end; ++p) {
    if (*p == '[')
      ++depth;
    else if (*p == ']') {
      if (--depth == 0) return p + 1;
    } else if (!IsDigit(*p) && *p != ',' && *p != '.' && *p != '-' && *p != '+' && *p != 'e' && *p != 'E' &&
               !IsSpace(*p)) {
      return nullptr;
    }
  }
  return nullptr;
}

struct Found {
  std::string skeleton;
  std::vector<std::pair<ssize_t, ssize_t>> places;
};

Found Find(std::string_view text, const std::string& mark) {
  const char *const data = text.data(), *p = data, *end = data + text.size(), *copied = data;
  std::string nesting;
  Found found;
  auto& [skeleton, places] = found;
  while (p < end) {
    const char c = *p;
    if (c == '{' || c == '[') {
      nesting.push_back(c);
    } else if (c == '}' || c == ']') {
      if (!nesting.empty()) nesting.pop_back();
    } else if (c == '"') {
      const char* after = SkipString(p, end);
      const bool is_data = after - p == 6 && std::string_view(p + 1, 4) == "data" && nesting == "{[{";
      p = after;
      if (!is_data) continue;
      const char* colon = SkipSpace(p, end);
      if (colon == end || *colon != ':') continue;
      const char* array = SkipSpace(colon + 1, end);
      const char* behind = array < end && *array == '[' ? SkipNumbers(array, end) : nullptr;
      if (!behind || static_cast<size_t>(behind - array) < kShortest) continue;
      skeleton.append(copied, array);
      skeleton += '"' + mark + std::to_string(places.size()) + '"';
      places.emplace_back(array - data, behind - data);
      p = copied = behind;
      continue;
    }
    ++p;
  }
  skeleton.append(copied, end);
  return found;
}

std::string_view TextOf(const py::buffer_info& text) {
  if (text.ndim != 1 || text.itemsize != 1 || (text.size && text.strides[0] != 1))
    throw Error(Code::kInvalidArgument, "text must be dense bytes");
  return {static_cast<const char*>(text.ptr), static_cast<size_t>(text.size)};
}

// (text with the arrays of numbers at {"...": [{"data": [...]}]} replaced by the string mark + index, their places).
py::tuple FindNumbers(const py::buffer& buffer, const std::string& mark) {
  const py::buffer_info info = buffer.request();
  const std::string_view text = TextOf(info);
  Found found;
  if (text.size() < kKeepGil) {
    found = Find(text, mark);
  } else {
    py::gil_scoped_release release;
    found = Find(text, mark);
  }
  return py::make_tuple(py::bytes(found.skeleton), found.places);
}

// Behind the number at `p` as JSON has it, else null; `whole`: it has neither a fraction nor an exponent.
const char* NumberEnd(const char* p, const char* end, bool& whole) {
  whole = true;
  auto digits = [&] {
    const char* first = p;
    while (p < end && IsDigit(*p)) ++p;
    return p != first;
  };
  if (p < end && *p == '-') ++p;
  if (p < end && *p == '0')
    ++p;
  else if (!digits())
    return nullptr;
  if (p < end && *p == '.') {
    whole = false;
    ++p;
    if (!digits()) return nullptr;
  }
  if (p < end && (*p == 'e' || *p == 'E')) {
    whole = false;
    ++p;
    if (p < end && (*p == '+' || *p == '-')) ++p;
    if (!digits()) return nullptr;
  }
  return p;
}

template <class T>
class Reader {
 public:
  Reader(const char* begin, const char* end, T* out) : p_(begin), end_(end), out_(out) {}

  // Arrays nested as `shape` says, or one flat array of as many elements.
  bool Read(const std::vector<ssize_t>& shape, ssize_t count) {
    const char* inner = SkipSpace(p_ + 1, end_);
    const bool nested = inner < end_ && *inner == '[';
    if (!(nested ? Level(shape, 0) : Level({count}, 0))) return false;
    return SkipSpace(p_, end_) == end_;
  }

 private:
  bool Take(char c) {
    p_ = SkipSpace(p_, end_);
    if (p_ == end_ || *p_ != c) return false;
    ++p_;
    return true;
  }

  bool Level(const std::vector<ssize_t>& shape, size_t axis) {
    if (axis == shape.size() || !Take('[')) return false;
    const bool last = axis + 1 == shape.size();
    for (ssize_t i = 0; i < shape[axis]; ++i) {
      if (i && !Take(',')) return false;
      if (!(last ? Number() : Level(shape, axis + 1))) return false;
    }
    return Take(']');
  }

  bool Number() {
    p_ = SkipSpace(p_, end_);
    bool whole = false;
    const char* after = NumberEnd(p_, end_, whole);
    if (!after) return false;
    if constexpr (std::is_floating_point_v<T>) {
      double value = 0;  // as the general parser: to float64 first, then to the element type
      if (std::from_chars(p_, after, value).ec != std::errc()) return false;
      *out_ = static_cast<T>(value);
      if (!std::isfinite(*out_)) return false;
    } else {
      const auto result = std::from_chars(p_, after, *out_);
      if (!whole || result.ec != std::errc() || result.ptr != after) return false;
    }
    p_ = after;
    ++out_;
    return true;
  }

  const char *p_, *end_;
  T* out_;
};

template <class T>
bool ReadInto(const char* begin, const char* end, const std::vector<ssize_t>& shape, py::array& array) {
  Reader<T> reader(begin, end, static_cast<T*>(array.mutable_data()));
  const ssize_t count = array.size();
  if (static_cast<size_t>(end - begin) < kKeepGil) return reader.Read(shape, count);
  py::gil_scoped_release release;
  return reader.Read(shape, count);
}

// The array, or None where the text between the two places is not surely numbers of that type and shape.
py::object ReadNumbers(const py::buffer& buffer, ssize_t begin, ssize_t end, const py::dtype& dtype,
                       const std::vector<ssize_t>& shape) {
  const py::buffer_info info = buffer.request();
  const std::string_view text = TextOf(info);
  const char* const data = text.data();
  const ssize_t size = info.size;
  ssize_t count = 1;
  for (const ssize_t extent : shape) {
    // An element takes two bytes of text, so more elements than that are not there, whatever the shape claims.
    if (extent < 0 || (extent && count > size / extent)) return py::none();
    count *= extent;
  }
  if (count == 0) return py::none();
  if (begin < 0 || begin >= end || end > size || data[begin] != '[') return py::none();
  py::array array(dtype, shape);
  bool (*read)(const char*, const char*, const std::vector<ssize_t>&, py::array&) = nullptr;
  switch (DTypeOf(array)) {
    case DType::kFloat32:
      read = &ReadInto<float>;
      break;
    case DType::kFloat64:
      read = &ReadInto<double>;
      break;
    case DType::kInt64:
      read = &ReadInto<int64_t>;
      break;
    case DType::kInt32:
      read = &ReadInto<int32_t>;
      break;
    case DType::kInt16:
      read = &ReadInto<int16_t>;
      break;
    case DType::kInt8:
      read = &ReadInto<int8_t>;
      break;
    case DType::kUint64:
      read = &ReadInto<uint64_t>;
      break;
    case DType::kUint32:
      read = &ReadInto<uint32_t>;
      break;
    case DType::kUint16:
      read = &ReadInto<uint16_t>;
      break;
    case DType::kUint8:
      read = &ReadInto<uint8_t>;
      break;
    default:
      return py::none();
  }
  if (!read(data + begin, data + end, shape, array)) return py::none();
  return array;
}

}  // namespace

void BindJsonNumbers(py::module_& module) {
  module.def("find_numbers", &FindNumbers, py::arg("text"), py::arg("mark"));
  module.def("read_numbers", &ReadNumbers, py::arg("text"), py::arg("begin"), py::arg("end"), py::arg("dtype"),
             py::arg("shape"));
}

}  // namespace ziggurat::bindings
