// native_tests [WORD]: runs the cases whose file or name contains WORD; closes with 'N passed, N failed'.
#include <cstring>
#include <exception>

#include "check.h"

namespace ziggurat::test {
std::vector<Case>& Cases() {
  static std::vector<Case> cases;
  return cases;
}
}  // namespace ziggurat::test

int main(int argc, char** argv) {
  using namespace ziggurat::test;
  int passed = 0, failed = 0;
  for (const Case& test : Cases()) {
    if (argc > 1 && !std::strstr(test.name, argv[1]) && !std::strstr(test.file, argv[1])) continue;
    std::string failure;
    try {
      test.run();
    } catch (const Failure& error) {
      failure = error.text;
    } catch (const std::exception& error) {
      failure = error.what();
    }
    failure.empty() ? ++passed : ++failed;
    if (!failure.empty()) std::printf("FAILED %s: %s\n", test.name, failure.c_str());
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed || !passed;
}
