#include "ir/constant.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "memory/pages.h"
#include "tensor/bool_bytes.h"

namespace ziggurat {
namespace {

// Large ones are mapped by themselves, so that dropping them gives the memory back and leaves no hole in the heap.
constexpr size_t kMapped = 256 << 10;

std::shared_ptr<std::byte> Aligned(size_t bytes) {
  if (bytes >= kMapped) {
    const size_t length = (bytes + 64 + 4095) / 4096 * 4096;
    std::byte* data = MapPages(length);
    if (!data) throw Error(Code::kOutOfMemory, "the system refused ", bytes, " bytes for a constant");
    return std::shared_ptr<std::byte>(data, [length](std::byte* mapped) { UnmapPages(mapped, length); });
  }
  void* data = std::aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
  if (!data) throw Error(Code::kOutOfMemory, "cannot allocate ", bytes, " bytes for a constant");
  return std::shared_ptr<std::byte>(static_cast<std::byte*>(data), std::free);
}

void ReadRange(const std::string& path, int64_t offset, size_t bytes, std::byte* out) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw Error(Code::kInvalidModel, "cannot open ", path, ": ", std::strerror(errno));
  size_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::pread(file, out + done, bytes - done, offset + static_cast<int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      const int error = errno;
      ::close(file);
      throw Error(Code::kInvalidModel, path, " ends or fails at byte ", offset + static_cast<int64_t>(done), " of the ",
                  bytes, " bytes wanted from ", offset, got < 0 ? Cat(": ", std::strerror(error)) : "");
    }
    done += static_cast<size_t>(got);
  }
  ::close(file);
}

}  // namespace

size_t Constant::Bytes() const {
  if (!encoding_.IsPlain()) return static_cast<size_t>(GgmlBytes(encoding_, shape_));
  return DenseBytes(dtype_, shape_);
}

std::string Constant::Described() const {
  return encoding_.IsPlain() ? Cat(Name(dtype_), shape_) : Cat(FindGgmlFormat(encoding_.ggml_type)->name, shape_);
}

void Constant::Fill(const void* data, size_t bytes) {
  if (Bytes() != bytes) throw Error(Code::kInvalidModel, Described(), " takes ", Bytes(), " bytes, got ", bytes);
  bytes_ = Aligned(bytes);
  if (bytes) std::memcpy(bytes_.get(), data, bytes);
  if (dtype_ == DType::kBool) MakeBools(bytes_.get(), bytes_.get(), bytes);
}

void Constant::SetRange(std::string path, int64_t offset, int64_t length) {
  if (static_cast<int64_t>(Bytes()) != length || offset < 0)
    throw Error(Code::kInvalidModel, Described(), " takes ", Bytes(), " bytes, the file offers ", length, " at ",
                offset);
  path_ = std::move(path);
  offset_ = offset;
}

std::shared_ptr<Constant> Constant::Copy(DType dtype, const Shape& shape, const void* data, size_t bytes) {
  std::shared_ptr<Constant> constant(new Constant(dtype, shape));
  constant->Fill(data, bytes);
  return constant;
}

std::shared_ptr<Constant> Constant::Encoded(const Encoding& encoding, const Shape& shape, const void* data,
                                            size_t bytes) {
  ZIGGURAT_CHECK(encoding.form == Encoding::Form::kGgmlBlock);
  std::shared_ptr<Constant> constant(new Constant(DType::kFloat32, shape, encoding));
  constant->Fill(data, bytes);
  return constant;
}

std::shared_ptr<Constant> Constant::EncodedFileRange(const Encoding& encoding, const Shape& shape, std::string path,
                                                     int64_t offset, int64_t length) {
  ZIGGURAT_CHECK(encoding.form == Encoding::Form::kGgmlBlock);
  std::shared_ptr<Constant> constant(new Constant(DType::kFloat32, shape, encoding));
  constant->SetRange(std::move(path), offset, length);
  return constant;
}

std::shared_ptr<Constant> Constant::Zeros(DType dtype, const Shape& shape) {
  if (dtype == DType::kString) return Strings(shape, std::vector<std::string>(static_cast<size_t>(shape.Count())));
  std::shared_ptr<Constant> constant(new Constant(dtype, shape));
  constant->bytes_ = Aligned(constant->Bytes());
  std::memset(constant->bytes_.get(), 0, constant->Bytes());
  return constant;
}

std::shared_ptr<Constant> Constant::Strings(const Shape& shape, std::vector<std::string> values) {
  if (static_cast<int64_t>(values.size()) != shape.Count())
    throw Error(Code::kInvalidModel, "string", shape, " takes ", shape.Count(), " strings, got ", values.size());
  std::shared_ptr<Constant> constant(new Constant(DType::kString, shape));
  constant->strings_ = std::move(values);
  return constant;
}

std::shared_ptr<Constant> Constant::FileRange(DType dtype, const Shape& shape, std::string path, int64_t offset,
                                              int64_t length) {
  std::shared_ptr<Constant> constant(new Constant(dtype, shape));
  constant->SetRange(std::move(path), offset, length);
  return constant;
}

std::shared_ptr<Constant> Constant::Int64s(const std::vector<int64_t>& values) {
  return Copy(DType::kInt64, Shape{static_cast<int64_t>(values.size())}, values.data(), values.size() * 8);
}

TensorView Constant::View() const {
  if (dtype_ == DType::kString) return {strings_.data(), dtype_, shape_};
  std::lock_guard lock(mutex_);
  if (!bytes_) {
    if (path_.empty()) throw Error(Code::kInternal, Described(), ": the bytes of this constant were given up");
    auto bytes = Aligned(Bytes());
    ReadRange(path_, offset_, Bytes(), bytes.get());
    if (dtype_ == DType::kBool) MakeBools(bytes.get(), bytes.get(), Bytes());
    bytes_ = std::move(bytes);
  }
  if (encoding_.IsPlain()) return {bytes_.get(), dtype_, shape_};
  Shape stored = shape_;
  int64_t& row = stored[stored.rank() - 1];
  row = GgmlRowBytes(encoding_, row);
  return {bytes_.get(), DType::kUint8, stored};
}

void Constant::Drop() const {
  std::lock_guard lock(mutex_);
  if (!path_.empty()) bytes_.reset();
}

void Constant::Forget() const {
  std::lock_guard lock(mutex_);
  bytes_.reset();
}

std::string Constant::Origin() const {
  if (path_.empty()) return Cat(static_cast<const void*>(this));
  return Cat(path_, "@", offset_, "+", Bytes(), Described());
}

std::vector<int64_t> Constant::ToInt64s() const {
  const TensorView view = View();
  std::vector<int64_t> out(static_cast<size_t>(view.Count()));
  auto copy = [&]<typename T>(const T* from) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<int64_t>(from[i]);
  };
  switch (dtype_) {
    case DType::kInt64:
      copy(view.As<int64_t>());
      break;
    case DType::kUint64:
      copy(view.As<uint64_t>());
      break;
    case DType::kInt32:
      copy(view.As<int32_t>());
      break;
    case DType::kUint32:
      copy(view.As<uint32_t>());
      break;
    case DType::kInt16:
      copy(view.As<int16_t>());
      break;
    case DType::kUint16:
      copy(view.As<uint16_t>());
      break;
    case DType::kInt8:
    case DType::kInt4:
    case DType::kInt2:
      copy(view.As<int8_t>());
      break;
    case DType::kUint8:
    case DType::kBool:
    case DType::kUint4:
    case DType::kUint2:
      copy(view.As<uint8_t>());
      break;
    default:
      throw Error(Code::kInternal, "ToInt64s of ", Name(dtype_));
  }
  return out;
}

}  // namespace ziggurat
