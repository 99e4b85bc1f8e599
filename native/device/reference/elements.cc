#include "device/reference/elements.h"

#include <cmath>
#include <limits>

#include "tensor/half.h"

namespace ziggurat::plain {

int64_t TruncateToInt64(double value) {
  if (value >= -0x1p63 && value < 0x1p63) return static_cast<int64_t>(value);
  return std::numeric_limits<int64_t>::min();
}

int32_t TruncateToInt32(double value) {
  if (value > -2147483649.0 && value < 2147483648.0) return static_cast<int32_t>(value);
  return std::numeric_limits<int32_t>::min();
}

uint64_t TruncateToUint64(double value) {
  if (value >= 0x1p63 && value < 0x1p64) return static_cast<uint64_t>(value);
  return static_cast<uint64_t>(TruncateToInt64(value));
}

namespace {

template <typename C, typename From>
C Convert(From value) {
  if constexpr (std::is_same_v<C, Complex>) {
    if constexpr (std::is_same_v<From, Complex>)
      return value;
    else
      return Complex(static_cast<double>(value), 0);
  } else if constexpr (std::is_same_v<From, Complex>) {
    return Convert<C>(value.real());
  } else if constexpr (std::is_floating_point_v<From> && std::is_same_v<C, int64_t>) {
    return TruncateToInt64(value);
  } else if constexpr (std::is_floating_point_v<From> && std::is_same_v<C, uint64_t>) {
    return TruncateToUint64(value);
  } else {
    return static_cast<C>(value);
  }
}

// Each codec: what an element is in memory, its value, and the element nearest to a compute value.
template <typename T>
struct Integer {
  using Storage = T;
  static auto Decode(T v) { return v; }
  template <typename C>
  static T Encode(C v) {
    if constexpr (std::is_same_v<C, double> && std::is_same_v<T, uint64_t>)
      return TruncateToUint64(v);
    else if constexpr (std::is_same_v<C, double> && (sizeof(T) == 8 || std::is_same_v<T, uint32_t>))
      return static_cast<T>(TruncateToInt64(v));
    else if constexpr (std::is_same_v<C, double>)
      return static_cast<T>(TruncateToInt32(v));
    else
      return static_cast<T>(v);
  }
};
template <typename T>
struct Native {
  using Storage = T;
  static T Decode(T v) { return v; }
  template <typename C>
  static T Encode(C v) {
    return static_cast<T>(v);
  }
};
struct Bool {
  using Storage = uint8_t;
  static uint64_t Decode(uint8_t v) { return v != 0; }
  template <typename C>
  static uint8_t Encode(C v) {
    return v != C{};
  }
};
template <const FloatFormat& F>
struct Narrow {
  using Storage = std::conditional_t<F.Bits() == 16, uint16_t, uint8_t>;
  static float Decode(Storage v) { return DecodeFloat<F>(v); }
  template <typename C>
  static Storage Encode(C v) {
    return static_cast<Storage>(EncodeFloat<F>(static_cast<double>(v)));
  }
};
struct Scale {
  using Storage = uint8_t;
  static double Decode(uint8_t v) { return E8M0ToDouble(v); }
  template <typename C>
  static uint8_t Encode(C v) {
    return EncodeE8M0(static_cast<double>(v), ScaleRounding::kUp, true);
  }
};
template <int kBits, bool kSigned>
struct SmallInt {
  using Storage = uint8_t;
  static auto Decode(uint8_t v) {
    if constexpr (kSigned)
      return int64_t{DecodeSigned<kBits>(v)};
    else
      return static_cast<uint64_t>(DecodeUnsigned<kBits>(v));
  }
  template <typename C>
  static uint8_t Encode(C v) {
    return EncodeBits<kBits>(static_cast<uint64_t>(Integer<int8_t>::Encode(v)));
  }
};
template <typename T>
struct Cplx {
  using Storage = std::complex<T>;
  static Complex Decode(Storage v) { return Complex(v.real(), v.imag()); }
  template <typename C>
  static Storage Encode(C v) {
    if constexpr (std::is_same_v<C, Complex>)
      return Storage(static_cast<T>(v.real()), static_cast<T>(v.imag()));
    else
      return Storage(static_cast<T>(v), 0);
  }
};

template <typename F>
void WithCodec(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kFloat32:
      return f(Native<float>{});
    case DType::kFloat64:
      return f(Native<double>{});
    case DType::kFloat16:
      return f(Narrow<kFormatFloat16>{});
    case DType::kBFloat16:
      return f(Narrow<kFormatBFloat16>{});
    case DType::kFloat8E4M3FN:
      return f(Narrow<kFormatE4M3FN>{});
    case DType::kFloat8E4M3FNUZ:
      return f(Narrow<kFormatE4M3FNUZ>{});
    case DType::kFloat8E5M2:
      return f(Narrow<kFormatE5M2>{});
    case DType::kFloat8E5M2FNUZ:
      return f(Narrow<kFormatE5M2FNUZ>{});
    case DType::kFloat4E2M1:
      return f(Narrow<kFormatE2M1>{});
    case DType::kFloat6E2M3:
      return f(Narrow<kFormatE2M3>{});
    case DType::kFloat6E3M2:
      return f(Narrow<kFormatE3M2>{});
    case DType::kFloat8E8M0:
      return f(Scale{});
    case DType::kInt8:
      return f(Integer<int8_t>{});
    case DType::kInt16:
      return f(Integer<int16_t>{});
    case DType::kInt32:
      return f(Integer<int32_t>{});
    case DType::kInt64:
      return f(Integer<int64_t>{});
    case DType::kUint8:
      return f(Integer<uint8_t>{});
    case DType::kUint16:
      return f(Integer<uint16_t>{});
    case DType::kUint32:
      return f(Integer<uint32_t>{});
    case DType::kUint64:
      return f(Integer<uint64_t>{});
    case DType::kBool:
      return f(Bool{});
    case DType::kInt4:
      return f(SmallInt<4, true>{});
    case DType::kUint4:
      return f(SmallInt<4, false>{});
    case DType::kInt2:
      return f(SmallInt<2, true>{});
    case DType::kUint2:
      return f(SmallInt<2, false>{});
    case DType::kComplex64:
      return f(Cplx<float>{});
    case DType::kComplex128:
      return f(Cplx<double>{});
    case DType::kString:
    case DType::kUndefined:
      break;
  }
  throw Error(Code::kUnsupported, "elements of type ", Name(dtype), " are not numbers");
}

// Complex values go into real elements by their real part, so that every pair of types has a meaning.
template <typename Codec, typename C>
typename Codec::Storage Encode(C value) {
  if constexpr (std::is_same_v<C, Complex> && !std::is_same_v<Codec, Cplx<float>> &&
                !std::is_same_v<Codec, Cplx<double>>)
    return Codec::Encode(value.real());
  else
    return Codec::Encode(value);
}

}  // namespace

template <typename C>
void Load(const TensorView& view, int64_t first, int64_t count, C* out) {
  WithCodec(view.dtype, [&](auto codec) {
    using Codec = decltype(codec);
    const auto* data = view.As<const typename Codec::Storage>() + (count ? first : 0);
    for (int64_t i = 0; i < count; ++i) out[i] = Convert<C>(Codec::Decode(data[i]));
  });
}

template <typename C>
void LoadAt(const TensorView& view, const int64_t* offsets, int64_t count, C* out) {
  WithCodec(view.dtype, [&](auto codec) {
    using Codec = decltype(codec);
    const auto* data = view.As<const typename Codec::Storage>();
    for (int64_t i = 0; i < count; ++i) out[i] = Convert<C>(Codec::Decode(data[offsets[i]]));
  });
}

template <typename C>
void Store(const TensorView& view, int64_t first, int64_t count, const C* in) {
  WithCodec(view.dtype, [&](auto codec) {
    using Codec = decltype(codec);
    auto* data = view.As<typename Codec::Storage>() + (count ? first : 0);
    for (int64_t i = 0; i < count; ++i) data[i] = Encode<Codec>(in[i]);
  });
}

#define ZIGGURAT_INSTANTIATE(C)                                            \
  template void Load<C>(const TensorView&, int64_t, int64_t, C*);          \
  template void LoadAt<C>(const TensorView&, const int64_t*, int64_t, C*); \
  template void Store<C>(const TensorView&, int64_t, int64_t, const C*);
ZIGGURAT_INSTANTIATE(double)
ZIGGURAT_INSTANTIATE(int64_t)
ZIGGURAT_INSTANTIATE(uint64_t)
ZIGGURAT_INSTANTIATE(Complex)
#undef ZIGGURAT_INSTANTIATE

}  // namespace ziggurat::plain
