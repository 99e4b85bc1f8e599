// Errors carry fields, not only text: the service maps `code` to a status, and logs name node, op and tensor.
#pragma once

#include <cstdint>
#include <exception>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace ziggurat {

enum class Code : uint8_t {
  kInvalidArgument,   // the caller's request is wrong: name, dtype, shape, count, option
  kInvalidModel,      // the model's file or graph is wrong
  kUnsupported,       // valid, but this build cannot run it
  kNotFound,          // a name that does not exist
  kOutOfMemory,       // does not fit the budget; the message has the numbers
  kCancelled,         // the caller's cancel flag was set
  kDeadlineExceeded,  // the caller's deadline passed
  kUnavailable,       // exists, but cannot be used now
  kInternal,          // our own bug
};

// Concatenates anything that streams: Cat("axis ", axis, " out of range").
template <typename... Parts>
std::string Cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

class Error : public std::exception {
 public:
  template <typename... Parts>
  explicit Error(Code code, const Parts&... parts) : code_(code), message_(Cat(parts...)) {
    Compose();
  }

  // Names where it happened. The first caller to know wins, so that outer frames never blur an inner one.
  Error& AtNode(std::string_view op, std::string_view node) {
    if (op_.empty() && node_.empty()) op_ = op, node_ = node, Compose();
    return *this;
  }
  Error& AtTensor(std::string_view tensor) {
    if (tensor_.empty()) tensor_ = tensor, Compose();
    return *this;
  }

  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& op() const { return op_; }
  const std::string& node() const { return node_; }
  const std::string& tensor() const { return tensor_; }
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  void Compose() {
    what_.clear();
    if (!op_.empty()) what_ += op_;
    if (!node_.empty()) what_ += Cat(op_.empty() ? "" : " ", "node '", node_, "'");
    if (!tensor_.empty()) what_ += Cat(what_.empty() ? "" : ", ", "tensor '", tensor_, "'");
    what_ += what_.empty() ? message_ : Cat(": ", message_);
  }

  Code code_;
  std::string message_, op_, node_, tensor_, what_;
};

// A broken promise of our own code. Throws, never aborts: a server must outlive its bugs.
#define ZIGGURAT_CHECK(condition)                                                                             \
  do {                                                                                                        \
    if (!(condition))                                                                                         \
      throw ::ziggurat::Error(::ziggurat::Code::kInternal, "check failed: " #condition " at ", __FILE__, ":", \
                              __LINE__);                                                                      \
  } while (false)

}  // namespace ziggurat
