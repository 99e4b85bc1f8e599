// A loaded model: a plan, and everything to run it. Thread-safe: any number of runs at once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "passes/batch_dim.h"
#include "passes/runner.h"
#include "runtime/frame.h"

namespace ziggurat {

struct ModelOptions {
  std::string device = "auto";
  int threads = 0;                           // cap on the workers of one run; 0: all of the engine's
  bool optimize = true;                      // run the passes
  std::vector<std::string> disabled_passes;  // "side_by_side" is not a pass: branches run one after the other
  bool keep_constants = false;               // also what kernels have packed, so that steps can be checked (check.h)
  bool measure = false;  // weights are counted, not read: the model tells what it needs, and cannot run
};

struct InputSpec {
  std::string name;
  Type type;
  std::vector<std::string> dims;  // "3", "batch", "?" ...; empty where the rank is unknown
};

struct RunRequest {
  std::vector<TensorView> inputs;          // by model input, dense; dtype kUndefined: not a tensor
  std::vector<ObjectValue> input_objects;  // by model input, or empty
  std::vector<TensorView> out;             // by output, or empty; data null: not given
  RunLimits limits;
  std::vector<StepProfile>* profile = nullptr;
  StepWatch* watch = nullptr;
};

// Bytes that a load leaves in use, and more that it has for a while.
struct LoadNeed {
  size_t packed = 0;          // weights in the kernels' order; the engine shares equal ones among models
  size_t constants = 0;       // kept as they came
  size_t largest_source = 0;  // of what is read to be packed, one at a time
};

// Bytes that one run has until its outputs are let go. What is data-dependent comes on top, from an arena.
struct RunNeed {
  size_t slab = 0, scratch = 0, outputs = 0;
  int dynamic_steps = 0;  // whose outputs' sizes the shapes do not tell
};

class Model {
 public:
  // Optimises and plans the graph, which becomes the model's. Throws.
  Model(std::shared_ptr<Engine> engine, std::shared_ptr<Graph> graph, const ModelOptions& options);
  ~Model();

  const std::vector<InputSpec>& inputs() const { return inputs_; }
  const std::vector<InputSpec>& outputs() const { return outputs_; }
  const Plan& plan() const { return *plan_; }
  const std::vector<PassRecord>& passes() const { return passes_; }
  const std::shared_ptr<Engine>& engine() const { return engine_; }
  const LoadNeed& load_need() const { return need_; }
  // At these shapes of the inputs (those that are not tensors are not looked at). Throws as Run does.
  RunNeed NeedOf(const std::vector<Shape>& shapes) const;
  // Whether requests may share a run along the batch dimension, and where their rows lie. As proved on the graph as it
  // came, or else on the optimised one: the engine's bits do not depend on which.
  const RowProof& rows() const { return rows_; }

  // By graph output. Throws kInvalidArgument naming the input that does not fit.
  std::vector<Output> Run(const RunRequest& request) const;

 private:
  void PlanWithin(std::shared_ptr<Graph> graph, const ModelOptions& options);
  std::vector<int64_t> BindSymbols(const std::vector<TensorView>& inputs) const;
  void SetUp(Frame& frame, const Layout& layout, const RunRequest& request, Buffer& slab) const;
  std::vector<Output> Collect(Frame& frame) const;

  std::shared_ptr<Engine> engine_;
  int threads_;
  bool measured_ = false;
  LoadNeed need_;
  std::shared_ptr<RunGate> gate_ = std::make_shared<RunGate>();
  std::vector<PassRecord> passes_;
  RowProof rows_;
  std::unique_ptr<Plan> plan_;
  std::vector<InputSpec> inputs_, outputs_;
  Reservation weights_;  // constants kept as they came; packed ones have their own
  std::unique_ptr<LayoutCache> layouts_;
};

}  // namespace ziggurat
