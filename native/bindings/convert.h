// Between NumPy and the core: views of arrays, arrays over outputs, errors as ziggurat.errors.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>

#include "device/sequence.h"
#include "runtime/frame.h"

namespace ziggurat::bindings {

namespace py = pybind11;

// The element type of an array; kUndefined for one that no tensor can have.
DType DTypeOf(const py::array& array);
py::dtype NumpyDType(DType dtype);

// A view of a dense array; the caller keeps the array alive. Arrays of Python strings or bytes are converted, and
// `storage` then owns the result. Throws kInvalidArgument for an array that is not dense or of an unknown type.
TensorView ViewOf(const py::array& array, std::shared_ptr<void>& storage);
// The same for what is only read. Bytes that are no bools (arrays made of a request's bytes may have them) are made
// some.
TensorView InputViewOf(const py::array& array, std::shared_ptr<void>& storage);

// An array, a list (sequence), or None (an empty optional).
py::object ToPython(Output output, const Type& type);
ObjectValue SequenceFrom(const py::handle& value);

// The object, freed in the process that made it alone: in a forked child its locks may be held for ever.
template <typename Object>
std::shared_ptr<Object> FreedAtHome(std::shared_ptr<Object> object, std::shared_ptr<Engine> engine) {
  Object* const raw = object.get();
  return {raw, [object = std::move(object), engine = std::move(engine)](Object*) mutable {
            if (!engine->InChild()) return;
            new std::shared_ptr<Object>(std::move(object));
            new std::shared_ptr<Engine>(std::move(engine));
          }};
}

// The error as an instance of its class of ziggurat.errors.
py::object ErrorToPython(const Error& error);

// Makes ziggurat::Error arrive as the class of ziggurat.errors that has its code.
void RegisterErrors();

}  // namespace ziggurat::bindings
