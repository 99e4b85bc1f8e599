// Inference and expansion of the ops of language models.
#include "ops/build.h"
#include "ops/expander.h"

namespace ziggurat::test {
namespace {

Value* Encoded(Build& b, int64_t rows, int64_t columns) {
  const std::vector<uint8_t> bytes(static_cast<size_t>(rows * columns / 32 * 18));
  return b.graph.AddConstant(Constant::Encoded(GgmlEncoding(2), {rows, columns}, bytes.data(), bytes.size()));
}

TEST(linear_and_embed_take_encoded_weights_and_expand_to_what_they_mean) {
  Build b;
  Value* w = Encoded(b, 7, 64);
  Value* y = b.Op("Linear", {b.In("x", {"tokens", "64"}), w}, {}, "zig");
  Value* e = b.Op("Embed", {w, b.In("ids", {"tokens"}, DType::kInt64)}, {}, "zig");
  CHECK(b.graph.ToString(y->type) == "float32[tokens,7]", b.graph.ToString(y->type));
  CHECK(b.graph.ToString(e->type) == "float32[tokens,64]", b.graph.ToString(e->type));
  b.graph.AddOutput(y, "y"), b.graph.AddOutput(e, "e");
  Expander::Expand(*y->producer);
  Expander::Expand(*e->producer);
  std::string ops;
  for (const auto& node : b.graph.nodes()) ops += Cat(node->op->name, " ");
  CHECK(ops == "Dequantize Gemm Dequantize Gather ", ops);
}

TEST(ops_that_take_no_blocks_are_given_decoded_elements) {
  Build b;
  Value* sum = b.Op("Add", {Encoded(b, 2, 32), b.In("x", {"2", "32"})});
  CHECK(sum->producer->inputs[0]->producer->op->name == "Dequantize");
  CHECK(sum->producer->inputs[0]->type.encoding.IsPlain());
  // A rewrite cannot slip one in either.
  b.graph.SetInput(sum->producer, 0, Encoded(b, 2, 32));
  CHECK_ERROR(Code::kInvalidModel, InferTypes(*sum->producer));
}

TEST(language_ops_refuse_shapes_that_cannot_be) {
  Build b;
  Value* kv = b.graph.AddInput("kv", Type::Resource());
  Value *x = b.In("x", {"tokens", "48"}), *ids = b.In("ids", {"tokens"}, DType::kInt64);
  Value* blocks = b.In("blocks", {"sequences", "blocks"}, DType::kInt64);
  auto attend = [&](int64_t heads, int64_t kv_heads, int64_t window) {
    return b.Op("PagedAttention", {x, kv, ids, ids, blocks},
                {{"layer", int64_t{0}}, {"heads", heads}, {"kv_heads", kv_heads}, {"scale", 1.0f}, {"window", window}},
                "zig");
  };
  CHECK(b.graph.ToString(attend(6, 3, 0)->type) == "float32[tokens,48]");
  CHECK_ERROR(Code::kInvalidModel, attend(6, 4, 0));
  CHECK_ERROR(Code::kInvalidModel, attend(0, 1, 0));
  CHECK_ERROR(Code::kInvalidModel, attend(5, 5, 0));
  CHECK_ERROR(Code::kInvalidModel, attend(6, 3, -1));
  CHECK_ERROR(Code::kInvalidModel, b.Op("Linear", {x, Encoded(b, 4, 64)}, {}, "zig"));
  CHECK_ERROR(Code::kInvalidModel, b.Op("Dequantize", {b.In("p", {"2", "32"})}, {}, "zig"));
  CHECK_ERROR(Code::kInvalidModel, b.Op("KvWrite", {kv, x, x, ids}, {{"layer", int64_t{-1}}}, "zig"));
  CHECK_ERROR(Code::kInvalidModel,
              b.Op("KvWrite", {kv, x, b.In("v", {"tokens", "24"}), ids}, {{"layer", int64_t{0}}}, "zig"));
  CHECK_ERROR(Code::kInvalidModel, b.Op("KvWrite", {x, x, x, ids}, {{"layer", int64_t{0}}}, "zig"));
}

}  // namespace
}  // namespace ziggurat::test
