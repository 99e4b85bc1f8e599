// The whole of our native test framework: TEST(name) { CHECK(...); }. PyPI, the only place a source build fetches
// from, has no C++ test library; this is what one would give us and we use.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace ziggurat::test {

struct Case {
  const char* file;
  const char* name;
  void (*run)();
};
std::vector<Case>& Cases();

struct Register {
  Register(const char* file, const char* name, void (*run)()) { Cases().push_back({file, name, run}); }
};

struct Failure {
  std::string text;
};

#define TEST(name)                                                                  \
  static void Test_##name();                                                        \
  static ::ziggurat::test::Register register_##name(__FILE__, #name, &Test_##name); \
  static void Test_##name()

#define CHECK(condition, ...)                                                                                        \
  do {                                                                                                               \
    if (!(condition))                                                                                                \
      throw ::ziggurat::test::Failure{::ziggurat::Cat(__FILE__, ":", __LINE__, ": " #condition " ", ##__VA_ARGS__)}; \
  } while (false)

#define CHECK_ERROR(expected_code, statement)               \
  do {                                                      \
    bool thrown = false;                                    \
    try {                                                   \
      statement;                                            \
    } catch (const ::ziggurat::Error& error) {              \
      thrown = true;                                        \
      CHECK(error.code() == (expected_code), error.what()); \
    }                                                       \
    CHECK(thrown, "no error from " #statement);             \
  } while (false)

}  // namespace ziggurat::test
