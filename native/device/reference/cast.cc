// Cast, CastLike, BitCast: conversions between all element types, strings included.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "device/reference/moves.h"
#include "device/reference/plain.h"
#include "tensor/half.h"

namespace ziggurat::plain {
namespace {

// The largest finite number of a saturating 8-bit float, 0 for other types.
double SaturationLimit(DType dtype) {
  switch (dtype) {
    case DType::kFloat8E4M3FN:
      return DecodeFloat<kFormatE4M3FN>(kFormatE4M3FN.MaxCode());
    case DType::kFloat8E4M3FNUZ:
      return DecodeFloat<kFormatE4M3FNUZ>(kFormatE4M3FNUZ.MaxCode());
    case DType::kFloat8E5M2:
      return DecodeFloat<kFormatE5M2>(kFormatE5M2.MaxCode());
    case DType::kFloat8E5M2FNUZ:
      return DecodeFloat<kFormatE5M2FNUZ>(kFormatE5M2FNUZ.MaxCode());
    default:
      return 0;
  }
}

// The shortest decimal that reads back as the same element, written as Python writes floats.
std::string FormatReal(double value, const TensorView& like) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  alignas(16) std::byte cell[16];
  const TensorView probe{cell, like.dtype, Shape{}};
  char text[40];
  char* end = text;
  for (int digits = 0; digits < 17; ++digits) {
    end = std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific, digits).ptr;
    double parsed = 0;
    std::from_chars(text, end, parsed);
    StoreOne<double>(probe, 0, parsed);
    if (LoadOne<double>(probe) == value) break;
  }
  const std::string_view all(text, static_cast<size_t>(end - text));
  const size_t mark = all.find('e');
  std::string digits;
  for (char c : all.substr(0, mark))
    if (c >= '0' && c <= '9') digits += c;
  int exponent = 0;
  std::from_chars(all.data() + mark + (all[mark + 1] == '+' ? 2 : 1), end, exponent);
  std::string out = std::signbit(value) ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1) + (digits.size() > 1 ? "." + digits.substr(1) : "") + (exponent < 0 ? "e-" : "e+");
    return out + (std::abs(exponent) < 10 ? "0" : "") + std::to_string(std::abs(exponent));
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

void NumbersToStrings(const TensorView& in, const TensorView& out) {
  std::string* text = out.As<std::string>();
  const int64_t count = in.Count();
  for (int64_t i = 0; i < count; ++i) {
    if (in.dtype == DType::kBool)
      text[i] = LoadOne<uint64_t>(in, i) ? "True" : "False";
    else if (IsFloat(in.dtype))
      text[i] = FormatReal(LoadOne<double>(in, i), in);
    else if (IsSignedInteger(in.dtype))
      text[i] = std::to_string(LoadOne<int64_t>(in, i));
    else
      text[i] = std::to_string(LoadOne<uint64_t>(in, i));
  }
}

[[noreturn]] void NotANumber(std::string_view text, DType dtype) {
  throw Error(Code::kInvalidArgument, "string '", text, "' cannot be read as ", Name(dtype));
}

double ParseReal(std::string_view text, DType dtype) {
  std::string_view rest = text;
  if (rest.starts_with('+')) rest.remove_prefix(1);
  double value = 0;
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);  // reads inf and nan, any case
  if (error == std::errc::result_out_of_range) {
    // from_chars leaves the value alone; the sign of the exponent tells which way it went.
    const bool tiny = rest.find("e-") != rest.npos || rest.find("E-") != rest.npos;
    value = tiny ? 0 : std::numeric_limits<double>::infinity();
    if (rest.starts_with('-')) value = -value;
  } else if (error != std::errc() || end != rest.data() + rest.size() || rest.empty()) {
    NotANumber(text, dtype);
  }
  return value;
}

void StringsToNumbers(const TensorView& in, const TensorView& out) {
  const int64_t count = in.Count();
  for (int64_t i = 0; i < count; ++i) {
    std::string_view text = in.As<const std::string>()[i];
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
    if (out.dtype == DType::kBool && (text == "True" || text == "true" || text == "False" || text == "false")) {
      StoreOne<uint64_t>(out, i, text == "True" || text == "true");
      continue;
    }
    std::string_view digits = text.starts_with('+') ? text.substr(1) : text;
    int64_t whole = 0;
    uint64_t large = 0;
    const char* end = digits.data() + digits.size();
    if (!IsFloat(out.dtype) && !digits.empty()) {
      if (auto r = std::from_chars(digits.data(), end, whole); r.ec == std::errc() && r.ptr == end) {
        StoreOne<int64_t>(out, i, whole);
        continue;
      }
      if (auto r = std::from_chars(digits.data(), end, large); r.ec == std::errc() && r.ptr == end) {
        StoreOne<uint64_t>(out, i, large);
        continue;
      }
    }
    StoreOne<double>(out, i, ParseReal(text, out.dtype));
  }
}

ScaleRounding RoundMode(const std::string& mode) {
  if (mode == "up") return ScaleRounding::kUp;
  if (mode == "down") return ScaleRounding::kDown;
  if (mode == "nearest") return ScaleRounding::kNearest;
  throw Error(Code::kInvalidArgument, "round_mode '", mode, "' is not up, down or nearest");
}

void Cast(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  const bool from_string = in.dtype == DType::kString, to_string = out.dtype == DType::kString;
  ZIGGURAT_CHECK(in.Count() == out.Count());
  if (in.dtype == out.dtype) return CopyRun(in, 0, out, 0, in.Count());
  if (to_string) return NumbersToStrings(in, out);
  if (from_string) return StringsToNumbers(in, out);
  const bool saturate = args.Int("saturate", 1) != 0;
  if (out.dtype == DType::kFloat8E8M0) {
    const ScaleRounding mode = RoundMode(args.String("round_mode", "up"));
    const std::vector<double> values = LoadAll<double>(in);
    std::transform(values.begin(), values.end(), out.As<uint8_t>(),
                   [&](double value) { return EncodeE8M0(value, mode, saturate); });
    return;
  }
  if (const double limit = SaturationLimit(out.dtype); limit > 0 && saturate) {
    std::vector<double> values = LoadAll<double>(in);
    for (double& value : values) value = std::isnan(value) ? value : std::clamp(value, -limit, limit);
    return StoreAll<double>(out, values);
  }
  WithComputeType(in.dtype, [&](auto zero) {
    using C = decltype(zero);
    C values[kRun];
    ForRuns(out.Count(), [&](int64_t first, int64_t count) {
      Load<C>(in, first, count, values);
      Store<C>(out, first, count, values);
    });
  });
}

void BitCast(const Args& args) {
  const TensorView &in = args.In(0), &out = args.Out(0);
  if (in.Bytes() != out.Bytes() || in.dtype == DType::kString)
    throw Error(Code::kInvalidArgument, "BitCast from ", Name(in.dtype), " to ", Name(out.dtype), " changes the size");
  if (in.Bytes()) std::memmove(out.data, in.data, in.Bytes());
}

constexpr PlainOp kOps[] = {{"Cast", Cast}, {"CastLike", Cast}, {"BitCast", BitCast}};

}  // namespace

std::span<const PlainOp> CastOps() { return kOps; }

}  // namespace ziggurat::plain
