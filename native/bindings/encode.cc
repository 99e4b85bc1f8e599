#include <pybind11/pybind11.h>

#include "base/cpu_info.h"
#include "base/error.h"
#include "bindings/module.h"
#include "cpu/weight_encoder.h"

namespace ziggurat::bindings {
namespace {

namespace py = pybind11;

// The contiguous bytes of an object, held until this goes.
class Bytes {
 public:
  explicit Bytes(const py::object& object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) throw py::error_already_set();
  }
  ~Bytes() { PyBuffer_Release(&view_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  const void* data() const { return view_.buf; }
  int64_t size() const { return view_.len; }

 private:
  Py_buffer view_;
};

// Rows of weights as GGML blocks: see EncodeRows. threads 0: all this process may use.
py::bytes QuantizeRows(const py::object& data, int dtype, int64_t rows, int64_t k, int ggml_type, int threads) {
  const Bytes source(data);
  const auto type = static_cast<DType>(dtype);
  const int64_t bytes = cpu::EncodedBytes(ggml_type, rows, k);
  const auto expected = static_cast<__int128>(rows) * k * static_cast<int64_t>(ByteSize(type));
  if (expected != source.size())
    throw Error(Code::kInvalidArgument, rows, " rows of ", k, " ", Name(type), " do not take ", source.size(),
                " bytes");
  py::bytes out(static_cast<const char*>(nullptr), static_cast<size_t>(bytes));
  auto* to = reinterpret_cast<std::byte*>(PyBytes_AS_STRING(out.ptr()));
  {
    py::gil_scoped_release released;
    ThreadPool pool(threads > 0 ? threads : DetectThreads().threads);
    cpu::EncodeRows(cpu::SelectKernels(std::nullopt), Team(pool, pool.size()), source.data(), type, rows, k, ggml_type,
                    to);
  }
  return out;
}

}  // namespace

void BindEncode(py::module_& module) {
  module.def("quantize_rows", &QuantizeRows, py::arg("data"), py::arg("dtype"), py::arg("rows"), py::arg("k"),
             py::arg("ggml_type"), py::arg("threads") = 0);
}

}  // namespace ziggurat::bindings
