#include "llm/model_runner.h"

#include <algorithm>
#include <limits>

namespace ziggurat::llm {
namespace {

// The step's numbers for the input of that name; nullopt for a name that steps do not have.
std::optional<TensorView> InputNamed(const StepInputs& in, std::string_view name) {
  auto view = [](const std::vector<int64_t>& values, const Shape& shape) {
    return TensorView{const_cast<int64_t*>(values.data()), DType::kInt64, shape};
  };
  const int64_t tokens = static_cast<int64_t>(in.tokens.size());
  if (name == "tokens") return view(in.tokens, {tokens});
  if (name == "positions") return view(in.positions, {tokens});
  if (name == "slots") return view(in.slots, {tokens});
  if (name == "starts") return view(in.starts, {in.sequences + 1});
  if (name == "blocks") return view(in.blocks, {in.sequences, in.blocks_per_sequence});
  if (name == "rows") return view(in.rows, {static_cast<int64_t>(in.rows.size())});
  return std::nullopt;
}

}  // namespace

ModelRunner::ModelRunner(std::shared_ptr<Model> model, std::shared_ptr<KvPool> pool)
    : model_(std::move(model)), pool_(std::move(pool)) {
  const StepInputs none;
  int resources = 0;
  for (const InputSpec& spec : model_->inputs()) {
    resources += !spec.type.IsTensor();
    if (spec.type.IsTensor() && !InputNamed(none, spec.name))
      throw Error(Code::kInvalidModel, "steps have no input of this name: the graph is not a decoder's")
          .AtTensor(spec.name);
  }
  if (resources != 1) throw Error(Code::kInvalidModel, "a decoder has one KV pool, this graph ", resources);
  const auto& outputs = model_->outputs();
  const auto found = std::find_if(outputs.begin(), outputs.end(), [](const auto& o) { return o.name == "logits"; });
  if (found == outputs.end()) throw Error(Code::kInvalidModel, "the graph has no output 'logits'");
  logits_ = found - outputs.begin();
}

std::span<float> ModelRunner::Run(const StepInputs& inputs) {
  outputs_.clear();  // their memory serves the next ones
  RunRequest request;
  for (const InputSpec& spec : model_->inputs()) {
    request.inputs.push_back(spec.type.IsTensor() ? *InputNamed(inputs, spec.name) : TensorView{});
    request.input_objects.emplace_back();
    if (!spec.type.IsTensor()) request.input_objects.back().resource = pool_;
  }
  outputs_ = model_->Run(request);
  const TensorView& logits = outputs_[logits_].view;
  if (logits.dtype != DType::kFloat32)
    throw Error(Code::kInvalidModel, "logits are float32, not ", Name(logits.dtype)).AtTensor("logits");
  return {logits.As<float>(), static_cast<size_t>(logits.Count())};
}

int64_t ChooseBlocks(const KvShape& shape, const Budget& budget, std::optional<int64_t> bytes, int64_t context,
                     int64_t sequences) {
  const int64_t each = static_cast<int64_t>(KvPool::BlockBytes(shape));
  if (each <= 0) throw Error(Code::kInvalidArgument, "a KV block of this shape is beyond any memory");
  // Block numbers are ints.
  const int64_t most = std::numeric_limits<int32_t>::max() / KvPool::kBlockTokens;
  if (bytes) {
    if (*bytes < each)
      throw Error(Code::kInvalidArgument, "kv_bytes must be at least one block, ", each, " bytes, not ", *bytes);
    return std::min(most, *bytes / each);
  }
  const int64_t left = static_cast<int64_t>(budget.limit() - std::min(budget.limit(), budget.reserved()));
  const int64_t useful = (context + KvPool::kBlockTokens - 1) / KvPool::kBlockTokens * sequences;
  const int64_t blocks = std::min({most, useful, left / 2 / each});
  if (blocks < 1)
    throw Error(Code::kOutOfMemory, "a KV block takes ", FormatBytes(each), ", half of what is left is ",
                FormatBytes(left / 2));
  return blocks;
}

}  // namespace ziggurat::llm
