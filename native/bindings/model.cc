#include <pybind11/stl.h>

#include <set>

#include "bindings/convert.h"
#include "bindings/module.h"
#include "device/kv_pool.h"
#include "runtime/check.h"

namespace ziggurat::bindings {
namespace {

class CancelToken {
 public:
  void Cancel() { flag_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return flag_.load(std::memory_order_relaxed); }
  const std::atomic<bool>* flag() const { return &flag_; }

 private:
  std::atomic<bool> flag_{false};
};

// (name, dtype or kind, dims or None): a dim is its size, or its expression's text.
py::list Specs(const std::vector<InputSpec>& specs) {
  py::list out;
  for (const InputSpec& spec : specs) {
    static constexpr const char* kKinds[] = {"tensor", "sequence", "optional", "map", "sparse", "resource"};
    std::string dtype =
        spec.type.IsTensor() ? std::string(Name(spec.type.dtype)) : kKinds[static_cast<int>(spec.type.kind)];
    py::object dims = py::none();
    if (spec.type.IsTensor() && spec.type.shape) {
      py::list list;
      for (size_t i = 0; i < spec.dims.size(); ++i) {
        const Dim& dim = (*spec.type.shape)[i];
        list.append(dim.IsConst() ? py::object(py::int_(dim.Const())) : py::object(py::str(spec.dims[i])));
      }
      dims = list;
    }
    out.append(py::make_tuple(spec.name, dtype, dims));
  }
  return out;
}

// One call: everything that must live while the core looks at it.
struct Call {
  RunRequest request;
  std::vector<std::shared_ptr<void>> storage;
};

std::shared_ptr<KvPool> PoolFrom(const py::handle& feed) {
  if (!py::isinstance<KvPool>(feed)) throw Error(Code::kInvalidArgument, "a KvPool is needed");
  return feed.cast<std::shared_ptr<KvPool>>();
}

void SetFeeds(Call& call, const Model& model, const py::list& feeds) {
  const auto& specs = model.inputs();
  if (feeds.size() != specs.size())
    throw Error(Code::kInvalidArgument, "the model has ", specs.size(), " inputs, got ", feeds.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    TensorView view;
    ObjectValue object;
    std::shared_ptr<void> storage;
    const py::handle feed = feeds[i];
    try {
      if (specs[i].type.IsTensor())
        view = InputViewOf(feed.cast<py::array>(), storage);
      else if (specs[i].type.kind == Kind::kResource)
        object.resource = PoolFrom(feed);
      else
        object = SequenceFrom(feed);
    } catch (Error& error) {
      throw error.AtTensor(specs[i].name);
    }
    call.storage.push_back(std::move(storage));
    call.request.inputs.push_back(view);
    call.request.input_objects.push_back(std::move(object));
  }
}

void SetLimits(Call& call, const std::optional<double>& deadline, const CancelToken* cancel) {
  if (cancel) call.request.limits.cancelled = cancel->flag();
  if (!deadline) return;
  // time.monotonic() and steady_clock read the same clock on Linux.
  const auto since_boot = std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(std::min(*deadline, 4e9)));
  call.request.limits.deadline = std::chrono::steady_clock::time_point(since_boot);
}

py::list Run(const Model& model, const py::list& feeds, const py::list& out, const std::optional<double>& deadline,
             const CancelToken* cancel) {
  Call call;
  SetFeeds(call, model, feeds);
  SetLimits(call, deadline, cancel);
  for (const py::handle array : out) {
    std::shared_ptr<void> none;
    call.request.out.push_back(array.is_none() ? TensorView{} : ViewOf(array.cast<py::array>(), none));
  }
  std::vector<Output> outputs;
  {
    py::gil_scoped_release release;
    outputs = model.Run(call.request);
  }
  for (Output& output : outputs)
    if (output.owner) output.owner = FreedAtHome(std::move(output.owner), model.engine());
  py::list result;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (i < out.size() && !py::handle(out[i]).is_none())
      result.append(out[i]);
    else
      result.append(ToPython(std::move(outputs[i]), model.outputs()[i].type));
  }
  return result;
}

// Bytes of one run at these shapes: None for inputs that are not tensors.
py::dict RunNeedOf(const Model& model, const std::vector<std::optional<std::vector<int64_t>>>& dims) {
  std::vector<Shape> shapes;
  for (const auto& one : dims) shapes.push_back(one ? Shape(std::span<const int64_t>(*one)) : Shape{});
  const RunNeed need = model.NeedOf(shapes);
  py::dict out;
  out["slab"] = need.slab;
  out["scratch"] = need.scratch;
  out["outputs"] = need.outputs;
  out["dynamic_steps"] = need.dynamic_steps;
  return out;
}

py::dict LoadNeedOf(const Model& model) {
  py::dict out;
  out["packed"] = model.load_need().packed;
  out["constants"] = model.load_need().constants;
  out["largest_source"] = model.load_need().largest_source;
  return out;
}

py::list Profile(const Model& model, const py::list& feeds) {
  Call call;
  SetFeeds(call, model, feeds);
  std::vector<StepProfile> profile;
  call.request.profile = &profile;
  {
    py::gil_scoped_release release;
    model.Run(call.request);
  }
  py::list out;
  for (const StepProfile& entry : profile) {
    const Step& step = *entry.step;
    py::dict row;
    row["step"] = out.size();
    row["op"] = step.kind == Step::Kind::kCopy ? "copy" : std::string(step.node->op->name);
    row["node"] = step.node->name;
    row["kernel"] = step.kernel ? std::string(step.kernel->name()) : "runtime";
    row["device"] = model.plan().devices[step.device]->name();
    row["microseconds"] = entry.microseconds;
    row["bytes"] = entry.bytes;
    row["flops"] = entry.flops;
    out.append(std::move(row));
  }
  return out;
}

py::list Check(const std::shared_ptr<Model>& model, const py::list& feeds) {
  Call call;
  SetFeeds(call, *model, feeds);
  std::vector<StepCheck> checks;
  {
    py::gil_scoped_release release;
    checks = CheckSteps(*model, call.request);
  }
  py::list out;
  for (const StepCheck& check : checks) {
    py::dict row;
    row["op"] = check.op;
    row["node"] = check.node;
    row["kernel"] = check.kernel;
    row["distance"] = check.distance;
    row["problem"] = check.problem;
    out.append(std::move(row));
  }
  return out;
}

// Inputs, steps and outputs as a graph: what each reads and writes, by value names.
py::list PlanGraph(const Model& model) {
  const Plan& plan = model.plan();
  std::set<int> written(plan.inputs.begin(), plan.inputs.end());
  for (const Step& step : plan.steps) written.insert(step.outputs.begin(), step.outputs.end());
  py::list out;
  const auto add = [&](std::string op, const std::string& node, std::string kernel, std::string_view device,
                       const std::vector<int>& inputs, const std::vector<int>& outputs) {
    py::list reads, writes, types, places;
    for (int slot : inputs) {
      // A static view has no step: what reads it reads what it shows.
      while (slot >= 0 && plan.slots[slot].storage == Storage::kView && !written.contains(slot))
        slot = plan.slots[slot].view_of;
      if (slot >= 0) reads.append(plan.slots[slot].value->name);
    }
    for (int slot : outputs) {
      if (slot < 0) continue;
      writes.append(plan.slots[slot].value->name);
      types.append(plan.scope->ToString(plan.slots[slot].value->type));
      places.append(plan.PlaceOf(slot));
    }
    py::dict row;
    row["op"] = op, row["node"] = node, row["kernel"] = kernel, row["device"] = device;
    row["inputs"] = reads, row["outputs"] = writes, row["types"] = types, row["places"] = places;
    out.append(std::move(row));
  };
  for (size_t i = 0; i < plan.inputs.size(); ++i) add("input", model.inputs()[i].name, "", "", {}, {plan.inputs[i]});
  for (const Step& step : plan.steps)
    add(step.kind == Step::Kind::kCopy ? "copy" : std::string(step.node->op->name), step.node->name,
        step.kernel ? std::string(step.kernel->name()) : "runtime", plan.devices[step.device]->name(), step.inputs,
        step.outputs);
  for (size_t i = 0; i < plan.outputs.size(); ++i)
    add("output", model.outputs()[i].name, "", "", {plan.outputs[i]}, {});
  return out;
}

py::list Passes(const Model& model) {
  py::list out;
  for (const PassRecord& record : model.passes()) {
    py::dict row;
    row["name"] = record.name;
    row["exact"] = record.exactness == Exactness::kExact;
    row["rewrites"] = record.rewrites;
    row["microseconds"] = record.microseconds;
    out.append(std::move(row));
  }
  return out;
}

}  // namespace

void BindModel(py::module_& module) {
  py::class_<CancelToken>(module, "CancelToken")
      .def(py::init<>())
      .def("cancel", &CancelToken::Cancel)
      .def_property_readonly("cancelled", &CancelToken::cancelled);
  py::class_<Model, std::shared_ptr<Model>>(module, "Model")
      .def(py::init([](std::shared_ptr<Engine> engine, std::shared_ptr<Graph> graph, std::string device, int threads,
                       bool optimize, std::vector<std::string> disabled_passes, bool keep_constants, bool measure) {
             const ModelOptions options{std::move(device),          threads,        optimize,
                                        std::move(disabled_passes), keep_constants, measure};
             py::gil_scoped_release release;
             return FreedAtHome(std::make_shared<Model>(engine, std::move(graph), options), engine);
           }),
           py::arg("engine"), py::arg("graph"), py::arg("device"), py::arg("threads"), py::arg("optimize"),
           py::arg("disabled_passes"), py::arg("keep_constants"), py::arg("measure") = false)
      .def_property_readonly("inputs", [](const Model& model) { return Specs(model.inputs()); })
      .def_property_readonly("outputs", [](const Model& model) { return Specs(model.outputs()); })
      .def("run", &Run, py::arg("feeds"), py::arg("out"), py::arg("deadline"), py::arg("cancel"))
      .def("profile", &Profile, py::arg("feeds"))
      .def("check", &Check, py::arg("feeds"))
      .def("graph", &PlanGraph)
      .def("plan_text", [](const Model& model) { return model.plan().ToString(); })
      .def_property_readonly("fingerprint", [](const Model& model) { return model.plan().Fingerprint(); })
      .def_property_readonly("step_count", [](const Model& model) { return model.plan().steps.size(); })
      .def_property_readonly("fallback_steps", [](const Model& model) { return model.plan().fallback_steps; })
      .def_property_readonly("passes", &Passes)
      .def_property_readonly("rows",
                             [](const Model& model) {
                               const RowProof& rows = model.rows();
                               return py::make_tuple(rows.independent, rows.reason, rows.input_axes, rows.output_axes);
                             })
      .def("load_need", &LoadNeedOf)
      .def("run_need", &RunNeedOf, py::arg("shapes"))
      .def_property_readonly("weight_bytes", [](const Model& model) { return model.plan().weight_bytes; });
}

}  // namespace ziggurat::bindings
