// Plain kernels at their edges: empty tensors, rank 0, broadcasting, wrap-around, NaN, bad indices. What ops mean on
// ordinary data is tested by the ONNX node suite.
#include <cmath>
#include <limits>

#include "device/plain_run.h"

namespace ziggurat {
namespace {

using namespace test;

constexpr DType kF32 = DType::kFloat32, kI64 = DType::kInt64, kI8 = DType::kInt8;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(plain_add_broadcasts_and_takes_empty_and_scalar_tensors) {
  CHECK(Run1("Add", {Floats({2, 1}, {1, 2}), Floats({3}, {10, 20, 30})}, kF32, {2, 3}).As<float>() ==
        (std::vector<float>{11, 21, 31, 12, 22, 32}));
  CHECK(Run1("Add", {Floats({}, {1}), Floats({}, {2})}, kF32, {}).As<float>() == std::vector<float>{3});
  CHECK(Run1("Add", {Floats({0, 3}, {}), Floats({3}, {1, 2, 3})}, kF32, {0, 3}).As<float>().empty());
  CHECK_ERROR(Code::kInvalidArgument, Run1("Add", {Floats({2}, {1, 2}), Floats({3}, {1, 2, 3})}, kF32, {3}));
}

TEST(plain_integers_wrap_and_never_trap) {
  const int64_t lowest = std::numeric_limits<int64_t>::min(), highest = std::numeric_limits<int64_t>::max();
  CHECK(Run1("Add", {Ints({1}, {highest}), Ints({1}, {1})}, kI64, {1}).As<int64_t>()[0] == lowest);
  CHECK(Run1("Div", {Ints({2}, {lowest, -7}), Ints({2}, {-1, 2})}, kI64, {2}).As<int64_t>() ==
        (std::vector<int64_t>{lowest, -3}));
  CHECK(Run1("Mod", {Ints({3}, {lowest, -7, 7}), Ints({3}, {-1, 3, -3})}, kI64, {3}).As<int64_t>() ==
        (std::vector<int64_t>{0, 2, -2}));
  CHECK(Run1("Abs", {Ints({1}, {lowest})}, kI64, {1}).As<int64_t>()[0] == lowest);
  CHECK(Run1("Div", {Make<int8_t>(kI8, {1}, {-128}), Make<int8_t>(kI8, {1}, {-1})}, kI8, {1}).As<int8_t>()[0] == -128);
  CHECK_ERROR(Code::kInvalidArgument, Run1("Div", {Ints({1}, {1}), Ints({1}, {0})}, kI64, {1}));
  CHECK_ERROR(Code::kInvalidArgument, Run1("Mod", {Ints({1}, {1}), Ints({1}, {0})}, kI64, {1}));
  CHECK_ERROR(Code::kInvalidArgument, Run1("Pow", {Ints({1}, {0}), Ints({1}, {-1})}, kI64, {1}));
}

TEST(plain_nan_wins_in_max_min_and_arg_max) {
  const auto out = Run1("Max", {Floats({3}, {kNan, 1, 2}), Floats({3}, {1, kNan, 1})}, kF32, {3}).As<float>();
  CHECK(std::isnan(out[0]) && std::isnan(out[1]) && out[2] == 2);
  CHECK(std::isnan(Run1("ReduceMax", {Floats({3}, {1, kNan, 2})}, kF32, {1}).As<float>()[0]));
  CHECK(Run1("ArgMax", {Floats({4}, {1, kNan, 2, kNan})}, kI64, {1}).As<int64_t>()[0] == 1);
  CHECK(Run1("ArgMin", {Floats({4}, {2, 1, 1, 3})}, kI64, {1}, {{"select_last_index", int64_t{1}}}).As<int64_t>()[0] ==
        2);
}

TEST(plain_reductions_over_nothing_give_the_identity) {
  CHECK(Run1("ReduceSum", {Floats({2, 0}, {}), Ints({1}, {1})}, kF32, {2, 1}).As<float>() ==
        (std::vector<float>{0, 0}));
  CHECK(Run1("ReduceProd", {Floats({0}, {})}, kF32, {1}).As<float>()[0] == 1);
  CHECK(Run1("ReduceMin", {Make<int8_t>(kI8, {0}, {})}, kI8, {1}).As<int8_t>()[0] == 127);
  CHECK(Run1("ReduceMax", {Floats({0}, {})}, kF32, {1}).As<float>()[0] == -INFINITY);
  CHECK(Run1("ReduceLogSumExp", {Floats({2}, {1000, 1000})}, kF32, {1}).As<float>()[0] == 1000 + std::log(2.0f));
}

TEST(plain_narrow_types_round_once_when_stored) {
  const Host a = Make<uint16_t>(DType::kFloat16, {1}, {FloatToFloat16(2048)});
  const Host b = Make<uint16_t>(DType::kFloat16, {1}, {FloatToFloat16(1)});
  CHECK(Float16ToFloat(Run1("Add", {a, b}, DType::kFloat16, {1}).As<uint16_t>()[0]) == 2048);
  CHECK(Run1("Add", {Make<uint8_t>(DType::kUint8, {1}, {250}), Make<uint8_t>(DType::kUint8, {1}, {10})}, DType::kUint8,
             {1})
            .As<uint8_t>()[0] == 4);
  CHECK(Run1("Cast", {Floats({3}, {-8.7f, 200, kNan})}, DType::kInt4, {3}).As<uint8_t>() ==
        (std::vector<uint8_t>{8, 8, 0}));
  CHECK(Run1("Cast", {Floats({2}, {1e9f, -INFINITY})}, DType::kFloat8E4M3FN, {2}).As<uint8_t>() ==
        (std::vector<uint8_t>{0x7e, 0xfe}));
  CHECK(Run1("Cast", {Floats({1}, {1e9f})}, DType::kFloat8E5M2, {1}, {{"saturate", int64_t{0}}}).As<uint8_t>()[0] ==
        0x7c);
}

TEST(plain_cast_reads_and_writes_strings) {
  CHECK(Run1("Cast", {Strings({4}, {"3.5", "+INF", "-1e-5", "NaN"})}, kF32, {4}).As<float>()[1] == INFINITY);
  CHECK(Run1("Cast", {Strings({2}, {"42", "100.5"})}, kI64, {2}).As<int64_t>() == (std::vector<int64_t>{42, 100}));
  CHECK(Run1("Cast", {Floats({4}, {0.1f, 1, 1e20f, 1e-7f})}, DType::kString, {4}).As<std::string>() ==
        (std::vector<std::string>{"0.1", "1.0", "1e+20", "1e-07"}));
  CHECK_ERROR(Code::kInvalidArgument, Run1("Cast", {Strings({1}, {"Hello"})}, kF32, {1}));
}

TEST(plain_slice_steps_backwards_and_clamps) {
  const Host x = Ints({5}, {0, 1, 2, 3, 4});
  CHECK(Run1("Slice", {x, Ints({1}, {-1}), Ints({1}, {-100}), Ints({1}, {0}), Ints({1}, {-2})}, kI64, {3})
            .As<int64_t>() == (std::vector<int64_t>{4, 2, 0}));
  CHECK(Run1("Slice", {x, Ints({1}, {3}), Ints({1}, {1000})}, kI64, {2}).As<int64_t>() == (std::vector<int64_t>{3, 4}));
  CHECK(Run1("Slice", {x, Ints({1}, {5}), Ints({1}, {9})}, kI64, {0}).As<int64_t>().empty());
}

TEST(plain_pad_reflects_more_than_once_and_crops) {
  const Host x = Ints({3}, {1, 2, 3});
  CHECK(Run1("Pad", {x, Ints({2}, {4, 1})}, kI64, {8}, {{"mode", std::string("reflect")}}).As<int64_t>() ==
        (std::vector<int64_t>{1, 2, 3, 2, 1, 2, 3, 2}));
  CHECK(Run1("Pad", {x, Ints({2}, {-1, 2}), Ints({}, {9})}, kI64, {4}).As<int64_t>() ==
        (std::vector<int64_t>{2, 3, 9, 9}));
  CHECK_ERROR(Code::kInvalidArgument,
              Run1("Pad", {Ints({0}, {}), Ints({2}, {1, 0})}, kI64, {1}, {{"mode", std::string("edge")}}));
}

TEST(plain_indices_out_of_range_are_named) {
  const Host x = Floats({2, 2}, {1, 2, 3, 4});
  CHECK(Run1("Gather", {x, Ints({}, {-1})}, kF32, {2}).As<float>() == (std::vector<float>{3, 4}));
  try {
    Run1("Gather", {x, Ints({1}, {2})}, kF32, {1, 2});
    CHECK(false, "no error");
  } catch (const Error& error) {
    CHECK(error.code() == Code::kInvalidArgument && error.message() == "index 2 is out of range for a size of 2",
          error.what());
  }
  CHECK_ERROR(Code::kInvalidArgument, Run1("GatherElements", {x, Ints({1, 1}, {-3})}, kF32, {1, 1}));
  CHECK_ERROR(Code::kInvalidArgument, Run1("GatherND", {x, Ints({1, 2}, {0, 2})}, kF32, {1}));
  CHECK_ERROR(Code::kInvalidArgument, Run1("ScatterND", {x, Ints({1, 1}, {5}), Floats({1, 2}, {0, 0})}, kF32, {2, 2}));
  CHECK_ERROR(Code::kInvalidArgument, Run1("TopK", {x, Ints({1}, {3})}, kF32, {2, 3}));
}

TEST(plain_scatter_applies_duplicates_in_order) {
  const auto out = Run1("ScatterElements", {Floats({3}, {1, 1, 1}), Ints({3}, {0, 0, -1}), Floats({3}, {2, 3, 4})},
                        kF32, {3}, {{"reduction", std::string("add")}});
  CHECK(out.As<float>() == (std::vector<float>{6, 1, 5}));
}

TEST(plain_where_and_strings) {
  CHECK(Run1("Where", {Bools({3}, {1, 0, 1}), Strings({}, {"a"}), Strings({3}, {"x", "y", "z"})}, DType::kString, {3})
            .As<std::string>() == (std::vector<std::string>{"a", "y", "a"}));
}

TEST(plain_kernels_that_shape_their_output) {
  const auto found = Run("NonZero", {Floats({2, 2}, {0, 1, kNan, 0})}, {{kI64, {}, true}});
  CHECK(found[0].view().shape == Shape({2, 2}) && found[0].As<int64_t>() == (std::vector<int64_t>{0, 1, 1, 0}));
  const auto unique =
      Run("Unique", {Floats({4}, {3, 1, 3, 2})},
          {{kF32, {}, true}, {kI64, {}, true}, {kI64, {}, true}, {kI64, {}, true}}, {{"sorted", int64_t{0}}});
  CHECK(unique[0].As<float>() == (std::vector<float>{3, 1, 2}) &&
        unique[3].As<int64_t>() == (std::vector<int64_t>{2, 1, 1}));
  const auto none = Run("NonZero", {Floats({0}, {})}, {{kI64, {}, true}});
  CHECK(none[0].view().shape == Shape({1, 0}));
  const auto boxes = Run("NonMaxSuppression",
                         {Floats({1, 2, 4}, {0, 0, 1, 1, 0, 0, 1, 1}), Floats({1, 1, 2}, {0.5f, kNan}), Ints({1}, {5})},
                         {{kI64, {}, true}});
  CHECK(boxes[0].As<int64_t>() == (std::vector<int64_t>{0, 0, 0}));
}

TEST(plain_conv_pads_and_pool_averages_what_is_inside) {
  const Host x = Floats({1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9}), w = Floats({1, 1, 2, 2}, {1, 0, 0, 1});
  CHECK(Run1("Conv", {x, w}, kF32, {1, 1, 2, 2}).As<float>() == (std::vector<float>{6, 8, 12, 14}));
  CHECK(Run1("Conv", {x, w}, kF32, {1, 1, 2, 2},
             {{"strides", std::vector<int64_t>{2, 2}}, {"pads", std::vector<int64_t>{1, 1, 0, 0}}})
            .As<float>() == (std::vector<float>{1, 3, 7, 14}));
  CHECK(Run1("AveragePool", {x}, kF32, {1, 1, 2, 2},
             {{"kernel_shape", std::vector<int64_t>{2, 2}},
              {"strides", std::vector<int64_t>{2, 2}},
              {"pads", std::vector<int64_t>{1, 1, 0, 0}}})
            .As<float>() == (std::vector<float>{1, 2.5f, 5.5f, 7}));
  CHECK(Run1("Conv", {Floats({0, 1, 3, 3}, {}), w}, kF32, {0, 1, 2, 2}).As<float>().empty());
}

TEST(plain_matmul_of_vectors_batches_and_nothing) {
  CHECK(Run1("MatMul", {Floats({2}, {1, 2}), Floats({2}, {3, 4})}, kF32, {}).As<float>()[0] == 11);
  CHECK(Run1("MatMul", {Floats({2, 1, 2}, {1, 2, 3, 4}), Floats({2, 1}, {1, 1})}, kF32, {2, 1, 1}).As<float>() ==
        (std::vector<float>{3, 7}));
  CHECK(Run1("MatMul", {Floats({2, 0}, {}), Floats({0, 2}, {})}, kF32, {2, 2}).As<float>() == std::vector<float>(4, 0));
  CHECK_ERROR(Code::kInvalidArgument,
              Run1("MatMul", {Floats({1, 2}, {1, 2}), Floats({3, 1}, {1, 2, 3})}, kF32, {1, 1}));
}

TEST(plain_regex_matches_whole_text_in_linear_time) {
  const auto matches = [](const std::string& pattern, const std::string& text) {
    return Run1("RegexFullMatch", {Strings({}, {text})}, DType::kBool, {}, {{"pattern", pattern}}).As<uint8_t>()[0] !=
           0;
  };
  CHECK(matches(R"([\w.+-]+@[\w-]+\.[a-z]{2,3})", "account@gmail.com") && !matches("a|b", "ab"));
  CHECK(matches("(?:a|b)*c?$", "abab") && matches("[^\\d[:upper:]]+", "xyz") && !matches("[^\\d]", "7"));
  CHECK(matches("gr[uü]n", "grün") && matches("a{2,}b{1}", "aaab") && matches("\\bok\\b.", "ok!") && matches("", ""));
  CHECK(!matches("(a*)*b", std::string(5000, 'a')));  // exponential for a backtracking matcher
  CHECK_ERROR(Code::kInvalidArgument, matches("(a", "a"));
  CHECK_ERROR(Code::kInvalidArgument, matches("[a", "a"));
  CHECK_ERROR(Code::kInvalidArgument, matches("*", "a"));
  CHECK_ERROR(Code::kUnsupported, matches("(((a{1000}){1000}){1000})", "a"));
  CHECK_ERROR(Code::kUnsupported, matches("(?=a)", "a"));
}

TEST(plain_random_depends_on_seed_and_position_alone) {
  const Attributes seeded{{"seed", 3.0f}, {"shape", std::vector<int64_t>{4}}};
  const auto a = Run1("RandomNormal", {}, kF32, {4}, seeded).As<float>();
  CHECK(a == Run1("RandomNormal", {}, kF32, {4}, seeded).As<float>());
  CHECK(a != Run1("RandomNormal", {}, kF32, {4}, {{"seed", 4.0f}}).As<float>());
  const auto uniform = Run1("RandomUniform", {}, kF32, {4096}, {{"low", -1.0f}, {"high", 3.0f}}).As<float>();
  double sum = 0;
  for (float x : uniform) {
    CHECK(x >= -1 && x < 3);
    sum += x;
  }
  CHECK(std::abs(sum / 4096 - 1) < 0.08);  // four standard errors of 4096 draws
}

TEST(plain_resize_grows_and_shrinks) {
  const Host x = Floats({1, 1, 1, 2}, {1, 3});
  const Host scales = Floats({4}, {1, 1, 1, 2});
  CHECK(Run1("Resize", {x, kAbsent, scales}, kF32, {1, 1, 1, 4}).As<float>() == (std::vector<float>{1, 1, 3, 3}));
  CHECK(Run1("Resize", {x, kAbsent, scales}, kF32, {1, 1, 1, 4}, {{"mode", std::string("linear")}}).As<float>() ==
        (std::vector<float>{1, 1.5f, 2.5f, 3}));
  CHECK_ERROR(Code::kInvalidArgument, Run1("Resize", {x, kAbsent, Floats({4}, {1, 1, 1, -2})}, kF32, {1, 1, 1, 4}));
}

}  // namespace
}  // namespace ziggurat
