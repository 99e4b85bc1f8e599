#include "llm/generator.h"

#include <pybind11/stl.h>

#include <random>

#include "bindings/convert.h"
#include "bindings/module.h"
#include "llm/model_runner.h"

namespace ziggurat::bindings {
namespace {

using llm::Generator;
using Tokens = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using Masks = py::array_t<uint32_t, py::array::c_style>;

// Keeps alive what the generator works on.
struct Runtime {
  std::shared_ptr<Model> model;
  std::shared_ptr<KvPool> pool;
  std::unique_ptr<Generator> own;

  // Throws kUnavailable in a forked child.
  Generator* generator() const {
    model->engine()->CheckProcess();
    return own.get();
  }
};

DType KvDType(const std::string& name) {
  if (name == "auto" || name == "f16") return DType::kFloat16;
  if (name == "f32") return DType::kFloat32;
  if (name == "bf16") return DType::kBFloat16;
  if (name == "int8") return DType::kInt8;
  throw Error(Code::kInvalidArgument, "kv_dtype is auto, f32, f16, bf16 or int8, not '", name, "'");
}

std::shared_ptr<Runtime> Make(std::shared_ptr<Model> model, int64_t layers, int64_t kv_heads, int64_t head_dim,
                              int64_t vocab, int64_t context, const std::string& kv_dtype,
                              std::optional<int64_t> kv_bytes, int step_tokens, int max_sequences, bool prefix_cache,
                              bool ngram, std::vector<int32_t> eos) {
  if (vocab < 1 || context < 1) throw Error(Code::kInvalidArgument, "vocab and context must be at least 1");
  const std::shared_ptr<Engine>& engine = model->engine();
  engine->CheckProcess();
  KvShape shape{layers, kv_heads, head_dim, 1, KvDType(kv_dtype)};
  shape.blocks = llm::ChooseBlocks(shape, *engine->budget(), kv_bytes, context, max_sequences);
  auto runtime = std::make_shared<Runtime>();
  runtime->model = model;
  runtime->pool = std::make_shared<KvPool>(engine->memory(), engine->budget(), shape);
  llm::GeneratorOptions options;
  options.vocab = vocab;
  options.context = context;
  options.blocks = static_cast<int>(shape.blocks);
  options.block_tokens = KvPool::kBlockTokens;
  options.prefix_cache = prefix_cache;
  options.ngram = ngram;
  options.scheduler.step_tokens = step_tokens;
  options.scheduler.max_sequences = max_sequences;
  options.eos = std::move(eos);
  runtime->own = std::make_unique<Generator>(std::make_unique<llm::ModelRunner>(model, runtime->pool), options,
                                             Team(engine->thread_pool(), engine->threads()),
                                             cpu::SelectKernels(std::string(engine->isa())));
  return FreedAtHome(runtime, engine);
}

uint64_t SeedFrom(const py::object& seed) {
  if (!seed.is_none()) {
    // Any integer: those of more than 64 bits, and negative ones, by their lowest 64.
    return py::int_(seed & py::int_(~uint64_t{0})).cast<uint64_t>();
  }
  std::random_device device;
  return (uint64_t{device()} << 32) ^ device();
}

int64_t Add(Runtime& self, const Tokens& prompt, std::optional<int64_t> max_tokens, int64_t min_tokens,
            float temperature, int top_k, float top_p, float min_p, float repetition_penalty, float presence_penalty,
            float frequency_penalty, const std::optional<std::map<int32_t, float>>& logit_bias, const py::object& seed,
            int n, std::optional<int> logprobs, std::optional<int> prompt_logprobs, std::vector<int32_t> stop_token_ids,
            bool ignore_eos, bool constrained, int priority, const py::bytes& salt) {
  if (prompt.ndim() != 1) throw Error(Code::kInvalidArgument, "a prompt is a list of token ids");
  llm::Request request;
  request.prompt.assign(prompt.data(), prompt.data() + prompt.size());
  request.n = n;
  request.priority = priority;
  request.salt = salt;
  llm::SamplingParams& p = request.sampling;
  if (max_tokens) p.max_tokens = *max_tokens;
  p.min_tokens = min_tokens;
  p.temperature = temperature;
  p.top_k = top_k;
  p.top_p = top_p;
  p.min_p = min_p;
  p.repetition_penalty = repetition_penalty;
  p.presence_penalty = presence_penalty;
  p.frequency_penalty = frequency_penalty;
  if (logit_bias) p.logit_bias.assign(logit_bias->begin(), logit_bias->end());
  p.seed = SeedFrom(seed);
  p.logprobs = logprobs;
  p.prompt_logprobs = prompt_logprobs;
  p.stop_token_ids = std::move(stop_token_ids);
  p.ignore_eos = ignore_eos;
  p.constrained = constrained;
  return self.generator()->Add(std::move(request));
}

py::object Schedule(Runtime& self) {
  std::optional<std::vector<Generator::MaskRow>> rows;
  {
    py::gil_scoped_release release;
    rows = self.generator()->Schedule();
  }
  if (!rows) return py::none();
  py::list out;
  for (const auto& row : *rows) out.append(py::make_tuple(row.request, row.index));
  return out;
}

// In the order of ziggurat.engine.TokenEvent's fields.
py::tuple ToPython(const llm::TokenEvent& event) {
  static constexpr const char* kFinish[] = {nullptr, "stop", "length", "cancelled", "error"};
  const char* finish = kFinish[static_cast<int>(event.finish)];
  py::object prompt = py::none();
  if (event.prompt_logprobs) {
    py::list scores;
    for (const llm::PromptLogprob& score : *event.prompt_logprobs)
      scores.append(score.logprob ? py::object(py::make_tuple(*score.logprob, score.top)) : py::object(py::none()));
    prompt = scores;
  }
  return py::make_tuple(event.request, event.index,
                        event.token == llm::kNoToken ? py::object(py::none()) : py::object(py::int_(event.token)),
                        event.logprob, event.top, finish ? py::object(py::str(finish)) : py::object(py::none()),
                        event.cached_tokens, prompt, event.error ? ErrorToPython(*event.error) : py::none());
}

py::list Sample(Runtime& self, const std::optional<Masks>& masks) {
  const int64_t words = (self.generator()->options().vocab + 31) / 32;
  if (masks && (masks->ndim() != 2 || masks->shape(1) != words))
    throw Error(Code::kInvalidArgument, "masks are uint32 [rows, ", words, "]");
  std::vector<llm::TokenEvent> events;
  {
    py::gil_scoped_release release;
    events = masks ? self.generator()->Sample(masks->data(), masks->shape(0)) : self.generator()->Sample();
  }
  py::list out;
  for (const llm::TokenEvent& event : events) out.append(ToPython(event));
  return out;
}

py::dict Stats(const Runtime& self) {
  llm::Counters c;
  {
    py::gil_scoped_release release;
    c = self.generator()->counters();
  }
  py::dict out;
  out["running"] = c.running;
  out["waiting"] = c.waiting;
  out["kv_blocks_used"] = c.kv_blocks_used;
  out["kv_blocks_cached"] = c.kv_blocks_cached;
  out["kv_blocks_total"] = c.kv_blocks_total;
  out["kv_bytes"] = self.pool->bytes();
  out["prefix_hit_tokens"] = c.prefix_hit_tokens;
  out["prefix_query_tokens"] = c.prefix_query_tokens;
  out["preemptions"] = c.preemptions;
  out["memory_retries"] = c.memory_retries;
  out["prompt_tokens"] = c.prompt_tokens;
  out["generated_tokens"] = c.generated_tokens;
  out["computed_tokens"] = c.computed_tokens;
  out["draft_tokens"] = c.draft_tokens;
  out["accepted_tokens"] = c.accepted_tokens;
  out["steps"] = c.steps;
  out["schedule_seconds"] = c.schedule_time;
  out["forward_seconds"] = c.forward_time;
  out["sample_seconds"] = c.sample_time;
  return out;
}

py::array Logits(Runtime& self, const Tokens& tokens) {
  if (tokens.ndim() != 1) throw Error(Code::kInvalidArgument, "a text is a list of token ids");
  auto logits = std::make_unique<std::vector<float>>();
  {
    py::gil_scoped_release release;
    *logits = self.generator()->Logits({tokens.data(), static_cast<size_t>(tokens.size())});
  }
  float* data = logits->data();
  py::capsule owner(logits.release(), [](void* p) { delete static_cast<std::vector<float>*>(p); });
  return py::array_t<float>(
      {static_cast<ssize_t>(tokens.size()), static_cast<ssize_t>(self.generator()->options().vocab)}, data, owner);
}

void RegisterPromptTooLong() {
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const llm::PromptTooLong& error) {
      const py::object type = py::module_::import("ziggurat.errors").attr("PromptTooLong");
      const py::object instance = type(error.message(), error.prompt_tokens, error.context_tokens);
      PyErr_SetObject(type.ptr(), instance.ptr());
    }
  });
}

}  // namespace

void BindGenerator(py::module_& module) {
  RegisterPromptTooLong();
  using py::arg;
  module.def(
      "kv_cache_bytes",
      [](int64_t layers, int64_t kv_heads, int64_t head_dim, const std::string& kv_dtype, size_t left, int64_t context,
         int64_t sequences) {
        KvShape shape{layers, kv_heads, head_dim, 1, KvDType(kv_dtype)};
        return KvPool::BlockBytes(shape) *
               static_cast<size_t>(llm::ChooseBlocks(shape, Budget(left), std::nullopt, context, sequences));
      },
      arg("layers"), arg("kv_heads"), arg("head_dim"), arg("kv_dtype"), arg("left"), arg("context"), arg("sequences"));
  py::class_<Runtime, std::shared_ptr<Runtime>>(module, "Generator")
      .def(py::init(&Make), arg("model"), arg("layers"), arg("kv_heads"), arg("head_dim"), arg("vocab"), arg("context"),
           arg("kv_dtype"), arg("kv_bytes"), arg("step_tokens"), arg("max_sequences"), arg("prefix_cache"),
           arg("ngram"), arg("eos"))
      .def("add", &Add, arg("prompt"), py::kw_only(), arg("max_tokens"), arg("min_tokens"), arg("temperature"),
           arg("top_k"), arg("top_p"), arg("min_p"), arg("repetition_penalty"), arg("presence_penalty"),
           arg("frequency_penalty"), arg("logit_bias"), arg("seed"), arg("n"), arg("logprobs"), arg("prompt_logprobs"),
           arg("stop_token_ids"), arg("ignore_eos"), arg("constrained"), arg("priority"), arg("salt"))
      .def(
          "cancel",
          [](Runtime& self, int64_t request, std::optional<int> index) { self.generator()->Cancel(request, index); },
          arg("request"), arg("index"))
      .def("check_process", [](const Runtime& self) { self.model->engine()->CheckProcess(); })
      .def("schedule", &Schedule)
      .def(
          "forward", [](Runtime& self) { self.generator()->Forward(); }, py::call_guard<py::gil_scoped_release>())
      .def("sample", &Sample, arg("masks"))
      .def("stats", &Stats)
      .def("forward_logits", &Logits, arg("token_ids"));
}

}  // namespace ziggurat::bindings
