#include "bindings/module.h"

#include "bindings/convert.h"

PYBIND11_MODULE(_native, module) {
  module.doc() = "The native core. Private: use ziggurat.engine.";
  ziggurat::bindings::RegisterErrors();
  ziggurat::bindings::BindEncode(module);
  ziggurat::bindings::BindGraph(module);
  ziggurat::bindings::BindEngine(module);
  ziggurat::bindings::BindModel(module);
  ziggurat::bindings::BindGenerator(module);
  ziggurat::bindings::BindJsonNumbers(module);
  ziggurat::bindings::BindJsonWriter(module);
}
