// The module's table of contents: one binder a file.
#pragma once

#include <pybind11/pybind11.h>

namespace ziggurat::bindings {

void BindGraph(pybind11::module_& module);
void BindEncode(pybind11::module_& module);
void BindEngine(pybind11::module_& module);
void BindModel(pybind11::module_& module);
void BindGenerator(pybind11::module_& module);
void BindJsonNumbers(pybind11::module_& module);
void BindJsonWriter(pybind11::module_& module);

}  // namespace ziggurat::bindings
