// The equation of an Einsum, parsed: which letters each operand's and the result's axes carry.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace ziggurat {

struct EinsumEquation {
  // Letters of each term; '.' once stands for the axes of an ellipsis.
  std::vector<std::string> operands;
  std::string result;

  // Throws kInvalidModel for an equation that is malformed or whose result names unknown letters. Without "->" the
  // result is the ellipsis, then the letters that occur once, in alphabetical order (capitals first).
  static EinsumEquation Parse(std::string_view text);
};

}  // namespace ziggurat
