#include "runtime/engine.h"

#include <pybind11/stl.h>

#include "bindings/module.h"

namespace ziggurat::bindings {

namespace py = pybind11;

namespace {

py::list Pools(const Engine& engine) {
  py::list out;
  for (const PoolStats& stats : engine.memory()->Stats()) {
    py::dict entry;
    entry["pool"] = stats.pool;
    entry["hits"] = stats.hits;
    entry["misses"] = stats.misses;
    entry["used"] = stats.used;
    entry["cached"] = stats.cached;
    entry["reserved"] = stats.reserved;
    entry["largest_free"] = stats.largest_free;
    entry["fragmentation"] = stats.fragmentation;
    out.append(std::move(entry));
  }
  return out;
}

py::dict Memory(Engine& engine) {
  py::dict out;
  out["limit"] = engine.budget()->limit();
  out["reserved"] = engine.budget()->reserved();
  out["peak"] = engine.budget()->peak();
  out["packed_weights"] = engine.weights().bytes();
  return out;
}

py::list Devices(const Engine& engine) {
  py::list out;
  for (const auto& device : engine.devices()) {
    py::dict entry;
    entry["name"] = device->name();
    entry["kind"] = device->IsHost() ? "cpu" : std::string(device->name());
    entry["description"] = device->description();
    out.append(std::move(entry));
  }
  return out;
}

}  // namespace

void BindEngine(py::module_& module) {
  py::class_<Engine, std::shared_ptr<Engine>>(module, "Engine")
      .def(py::init([](int threads, size_t memory_limit, std::optional<std::string> isa) {
             return std::make_shared<Engine>(EngineOptions{threads, memory_limit, std::move(isa)});
           }),
           py::arg("threads"), py::arg("memory_limit"), py::arg("isa"))
      .def_property_readonly("isa", &Engine::isa)
      .def_property_readonly("threads", &Engine::threads)
      .def_property_readonly("threads_reason", &Engine::threads_reason)
      .def("pools", &Pools)
      .def("memory", &Memory)
      .def("devices", &Devices)
      .def("purge", [](Engine& engine) { engine.memory()->Purge(); }, py::call_guard<py::gil_scoped_release>());
  module.def("usable_isas", [] {
    std::vector<std::string> names;
    for (std::string_view isa : cpu::UsableIsas()) names.emplace_back(isa);
    return names;
  });
}

}  // namespace ziggurat::bindings
