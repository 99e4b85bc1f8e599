// Ops of strings.
#include <algorithm>

#include "ops/op_list.h"
#include "ops/rules.h"

namespace ziggurat {
namespace {

void InferStringSplit(InferContext& c) {
  std::optional<std::vector<Dim>> pieces = c.InputType(0).shape;
  const Dim most = c.NewSymbol("pieces");
  if (pieces) pieces->push_back(most);
  c.SetOutput(0, Type::Tensor(DType::kString, std::move(pieces)));
  c.SetOutput(1, Type::Tensor(DType::kInt64, c.InputType(0).shape));
}

void InferStringNormalizer(InferContext& c) {
  Choice(c, "case_change_action", {"NONE", "LOWER", "UPPER"});
  c.ExpectRank(0, 1, 2);
  if (!c.HasRank(0)) return c.SetUnranked(0, DType::kString);
  std::vector<Dim> out = c.InputShape(0);
  if (out.size() == 2) c.Same(out[0], 1, "the first dimension");
  // Stop words leave; where none is left, one empty string remains.
  if (!c.node().Strings("stopwords").empty()) out.back() = c.NewSymbol("words");
  c.SetOutput(0, DType::kString, std::move(out));
}

void InferTfIdfVectorizer(InferContext& c) {
  c.ExpectRank(0, 1, 2);
  Choice(c, "mode", {"TF", "IDF", "TFIDF"});
  int64_t width = 0;
  for (int64_t index : c.node().Ints("ngram_indexes")) {
    if (index < 0 || index > INT32_MAX) c.Fail("ngram_indexes holds ", index);
    width = std::max(width, index + 1);
  }
  if (!c.HasRank(0)) return c.SetUnranked(0, DType::kFloat32);
  std::vector<Dim> out = c.InputShape(0);
  out.back() = width;
  c.SetOutput(0, DType::kFloat32, std::move(out));
}

}  // namespace

constexpr OpDef kOp_StringConcat = {
    .name = "StringConcat",
    .inputs = {{"X", kStrings, 'T'}, {"Y", kStrings, 'T'}},
    .infer = BroadcastInputs,
    .flags = kElementwise,
};
constexpr OpDef kOp_RegexFullMatch = {
    .name = "RegexFullMatch",
    .inputs = {{"X", kStrings}},
    .attributes = {attr::String("pattern")},
    .infer = FirstToBool,
    .flags = kElementwise,
};
constexpr OpDef kOp_StringSplit = {
    .name = "StringSplit",
    .inputs = {{"X", kStrings}},
    .min_outputs = 2,
    .max_outputs = 2,
    .attributes = {attr::String("delimiter"), attr::Int("maxsplit")},
    .infer = InferStringSplit,
    .flags = kKernelShaped,
};
constexpr OpDef kOp_StringNormalizer = {
    .name = "StringNormalizer",
    .inputs = {{"X", kStrings}},
    .attributes = {attr::String("case_change_action", "NONE"), attr::Int("is_case_sensitive", 0),
                   attr::String("locale"), attr::Strings("stopwords")},
    .infer = InferStringNormalizer,
    .flags = kKernelShaped,
};
constexpr OpDef kOp_TfIdfVectorizer = {
    .name = "TfIdfVectorizer",
    .inputs = {{"X", kIndices | kStrings}},
    .attributes = {attr::Required(attr::Int("max_gram_length")), attr::Required(attr::Int("max_skip_count")),
                   attr::Required(attr::Int("min_gram_length")), attr::Required(attr::String("mode")),
                   attr::Required(attr::Ints("ngram_counts")), attr::Required(attr::Ints("ngram_indexes")),
                   attr::Ints("pool_int64s"), attr::Strings("pool_strings"), attr::Floats("weights")},
    .infer = InferTfIdfVectorizer,
};

}  // namespace ziggurat
