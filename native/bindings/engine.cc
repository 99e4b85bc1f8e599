#include "runtime/engine.h"

#include <pybind11/stl.h>

#include "bindings/convert.h"
#include "bindings/module.h"
#include "device/kv_pool.h"

namespace ziggurat::bindings {

namespace py = pybind11;

namespace {

py::list PoolsFrom(const AllPoolStats& pools) {
  py::list out;
  for (const PoolStats& stats : pools) {
    py::dict entry;
    entry["pool"] = stats.pool;
    entry["hits"] = stats.hits;
    entry["misses"] = stats.misses;
    entry["used"] = stats.used;
    entry["cached"] = stats.cached;
    entry["reserved"] = stats.reserved;
    entry["largest_free"] = stats.largest_free;
    entry["fragmentation"] = stats.fragmentation;
    entry["defragmentations"] = stats.defragmentations;
    entry["moved"] = stats.moved;
    entry["released"] = stats.released;
    out.append(std::move(entry));
  }
  return out;
}

py::list Pools(const Engine& engine) {
  engine.CheckProcess();
  return PoolsFrom(engine.memory()->Stats());
}

py::dict Defragment(Engine& engine) {
  engine.CheckProcess();
  DefragmentReport report;
  {
    py::gil_scoped_release release;
    report = engine.Defragment();
  }
  py::dict out;
  out["before"] = PoolsFrom(report.before);
  out["after"] = PoolsFrom(report.after);
  out["moved"] = report.moved;
  out["released"] = report.released;
  return out;
}

py::dict Memory(Engine& engine) {
  engine.CheckProcess();
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

std::shared_ptr<KvPool> MakeKvPool(const std::shared_ptr<Engine>& engine, int64_t layers, int64_t kv_heads,
                                   int64_t head_dim, int64_t blocks, const std::string& dtype) {
  const KvShape shape{layers, kv_heads, head_dim, blocks, DTypeFromName(dtype).value_or(DType::kUndefined)};
  engine->CheckProcess();
  py::gil_scoped_release release;
  return FreedAtHome(std::make_shared<KvPool>(engine->memory(), engine->budget(), shape), engine);
}

Backing BackingNamed(const std::string& name) {
  if (name == "pool") return Backing::kPool;
  if (name == "malloc") return Backing::kMalloc;
  if (name == "system") return Backing::kSystem;
  throw Error(Code::kInvalidArgument, "backing is pool, malloc or system, not '", name, "'");
}

}  // namespace

void BindEngine(py::module_& module) {
  py::class_<Engine, std::shared_ptr<Engine>>(module, "Engine")
      .def(py::init([](int threads, size_t memory_limit, std::optional<std::string> isa, double purge_after,
                       double defragment_above, const std::string& backing) {
             auto engine = std::make_shared<Engine>(EngineOptions{threads, memory_limit, std::move(isa), purge_after,
                                                                  defragment_above, BackingNamed(backing)});
             return FreedAtHome(engine, engine);
           }),
           py::arg("threads"), py::arg("memory_limit"), py::arg("isa"), py::arg("purge_after") = 10.0,
           py::arg("defragment_above") = 0.3, py::arg("backing") = "pool")
      .def_property_readonly("isa", &Engine::isa)
      .def_property_readonly("threads", &Engine::threads)
      .def_property_readonly("runs", [](Engine& engine) { return engine.thread_pool().leases(); })
      .def_property_readonly("threads_reason", &Engine::threads_reason)
      .def("pools", &Pools)
      .def("memory", &Memory)
      .def("devices", &Devices)
      .def(
          "purge",
          [](Engine& engine) {
            engine.CheckProcess();
            engine.memory()->Purge();
          },
          py::call_guard<py::gil_scoped_release>())
      .def("defragment", &Defragment)
      .def(
          "tend",
          [](Engine& engine) {
            engine.CheckProcess();
            engine.Tend();
          },
          py::call_guard<py::gil_scoped_release>())
      .def(
          "fail_allocation", [](Engine& engine, int64_t n) { engine.faults().FailAfter(n); }, py::arg("n"))
      .def("failure_pending", [](Engine& engine) { return engine.faults().pending(); });
  py::class_<KvPool, std::shared_ptr<KvPool>>(module, "KvPool")
      .def(py::init(&MakeKvPool), py::arg("engine"), py::arg("layers"), py::arg("kv_heads"), py::arg("head_dim"),
           py::arg("blocks"), py::arg("dtype"))
      .def_property_readonly("bytes", &KvPool::bytes)
      .def("copy_block", &KvPool::CopyBlock, py::arg("source"), py::arg("target"));
  module.def("usable_isas", [] {
    std::vector<std::string> names;
    for (std::string_view isa : cpu::UsableIsas()) names.emplace_back(isa);
    return names;
  });
}

}  // namespace ziggurat::bindings
