// Boxes, and images from bytes.
#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

void InferNonMaxSuppression(InferContext& c) {
  for (int i : {0, 1}) c.ExpectRank(i, 3);
  for (int i : {2, 3, 4}) c.ExpectRank(i, 0, 1);
  if (c.HasRank(0)) c.Same(c.InputShape(0)[2], 4, "coordinates of a box");
  if (c.HasRank(0) && c.HasRank(1)) {
    c.Same(c.InputShape(0)[0], c.InputShape(1)[0], "batches of boxes and scores");
    c.Same(c.InputShape(0)[1], c.InputShape(1)[2], "numbers of boxes and scores");
  }
  c.SetOutput(0, DType::kInt64, {c.NewSymbol("selected"), 3});
}

void InferImageDecoder(InferContext& c) {
  c.ExpectRank(0, 1);
  const std::string format = Choice(c, "pixel_format", {"RGB", "BGR", "Grayscale"});
  c.SetOutput(0, DType::kUint8, {c.NewSymbol("height"), c.NewSymbol("width"), format == "Grayscale" ? 1 : 3});
}

}  // namespace

constexpr OpDef kOp_NonMaxSuppression = {
    .name = "NonMaxSuppression",
    .inputs = {{"boxes", kFloat32s},
               {"scores", kFloat32s},
               {"max_output_boxes_per_class", kInt64s, 0, Param::kOptional},
               {"iou_threshold", kFloat32s, 0, Param::kOptional},
               {"score_threshold", kFloat32s, 0, Param::kOptional}},
    .attributes = {attr::Int("center_point_box", 0)},
    .infer = InferNonMaxSuppression,
    .flags = kKernelShaped,
};
constexpr OpDef kOp_ImageDecoder = {
    .name = "ImageDecoder",
    .inputs = {{"encoded_stream", kUint8s}},
    .attributes = {attr::String("pixel_format", "RGB")},
    .infer = InferImageDecoder,
    .flags = kKernelShaped,
};

}  // namespace ziggurat
