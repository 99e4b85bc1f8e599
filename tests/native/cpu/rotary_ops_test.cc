// RotaryEmbedding's kernel: its definition bit for bit, in both layouts of pairs and both of heads, whole and partial.
#include "cpu/op_harness.h"

namespace ziggurat::test {
namespace {

struct Form {
  int64_t batch, tokens, heads, width, size;  // size 0: all of the width
  bool interleaved, flat, gathers;
};

constexpr Form kForms[] = {
    {1, 1, 1, 2, 0, false, true, false},   {2, 5, 3, 20, 0, false, true, false}, {2, 5, 3, 20, 0, true, true, false},
    {2, 5, 3, 20, 6, false, true, false},  {1, 7, 2, 34, 10, true, true, false}, {2, 3, 4, 16, 0, false, false, false},
    {2, 3, 4, 18, 12, true, false, false}, {2, 5, 3, 64, 0, false, true, true},  {3, 4, 2, 8, 4, true, false, true},
    {1, 0, 2, 8, 0, false, true, false},
};

HostTensor Positions(const Form& form, int64_t cached) {
  std::vector<int64_t> values;
  for (int64_t i = 0; i < form.batch * form.tokens; ++i) values.push_back((i * 5 + 2) % cached);
  return Tensor(DType::kInt64, {form.batch, form.tokens}, values);
}

// As the standard defines it: each product rounded by itself, then their sum.
std::vector<float> Defined(const Form& form, const HostTensor& x, const HostTensor& cosine, const HostTensor& sine,
                           const HostTensor& positions) {
  std::vector<float> y = x.Values<float>();
  const int64_t size = form.size ? form.size : form.width, half = size / 2;
  for (int64_t b = 0; b < form.batch; ++b)
    for (int64_t t = 0; t < form.tokens; ++t)
      for (int64_t h = 0; h < form.heads; ++h) {
        const int64_t row = b * form.tokens + t;
        const int64_t from = (form.flat ? row * form.heads + h : (b * form.heads + h) * form.tokens + t) * form.width;
        for (int64_t i = 0; i < half; ++i) {
          const int64_t first = from + (form.interleaved ? 2 * i : i),
                        second = form.interleaved ? first + 1 : first + half;
          const int64_t angle = (form.gathers ? positions.At<int64_t>(row) : row) * half + i;
          const float a = x.At<float>(first), c = x.At<float>(second);
          const float real = cosine.At<float>(angle), imaginary = sine.At<float>(angle);
          y[static_cast<size_t>(first)] = real * a - imaginary * c;
          y[static_cast<size_t>(second)] = imaginary * a + real * c;
        }
      }
  return y;
}

TEST(rotary_positions_are_their_definition_bit_for_bit) {
  for (const Form& form : kForms) {
    const int64_t half = (form.size ? form.size : form.width) / 2, cached = 11;
    const Shape shape = form.flat ? Shape{form.batch, form.tokens, form.heads * form.width}
                                  : Shape{form.batch, form.heads, form.tokens, form.width};
    const Shape cache = form.gathers ? Shape{cached, half} : Shape{form.batch, form.tokens, half};
    const HostTensor x = RandomFloats(shape, 1), cosine = RandomFloats(cache, 2, -1, 1),
                     sine = RandomFloats(cache, 3, -1, 1);
    const HostTensor positions = Positions(form, cached);
    std::vector<HostTensor> inputs = {x, cosine, sine};
    if (form.gathers) inputs.push_back(positions);
    const Attributes attributes = {
        {"interleaved", int64_t{form.interleaved}}, {"num_heads", form.heads}, {"rotary_embedding_dim", form.size}};
    const std::vector<float> exact = Defined(form, x, cosine, sine, positions);
    for (const cpu::KernelTable* table : HostTables())
      for (int threads : {1, 2}) {
        const std::vector<float> y =
            OneOp("RotaryEmbedding", inputs, attributes).Run(*table, threads)[0].Values<float>();
        CHECK(y.size() == exact.size() &&
                  (y.empty() || std::memcmp(y.data(), exact.data(), y.size() * sizeof(float)) == 0),
              table->isa, " width ", form.width, " size ", form.size);
      }
  }
}

TEST(rotary_positions_out_of_the_cache_are_refused) {
  const HostTensor x = RandomFloats({1, 2, 8}, 1), cache = RandomFloats({5, 4}, 2);
  const Attributes attributes = {{"num_heads", int64_t{1}}};
  for (int64_t bad : {5, -6}) {
    const HostTensor positions = Tensor(DType::kInt64, {1, 2}, std::vector<int64_t>{0, bad});
    CHECK_ERROR(Code::kInvalidArgument,
                OneOp("RotaryEmbedding", {x, cache, cache, positions}, attributes).Run(*HostTables()[0]));
  }
  const HostTensor narrow = RandomFloats({1, 2, 3}, 2), whole = RandomFloats({1, 2, 4}, 2);
  CHECK_ERROR(Code::kInvalidArgument, OneOp("RotaryEmbedding", {x, narrow, whole}, attributes).Run(*HostTables()[0]));
  CHECK_ERROR(Code::kInvalidArgument, OneOp("RotaryEmbedding", {x, whole, narrow}, attributes).Run(*HostTables()[0]));
}

}  // namespace
}  // namespace ziggurat::test
