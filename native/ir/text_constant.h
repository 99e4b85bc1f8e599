// The text form of constants' elements: written out where few, named by a hash of their bytes where many.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "ir/constant.h"
#include "ir/text_lexer.h"

namespace ziggurat {

// Finds the constant that was printed as #hash; null: unknown.
using ConstantResolver = std::function<std::shared_ptr<Constant>(uint64_t hash, DType dtype, const Shape& shape)>;

// Of dtype, shape and elements. Equal tensors have equal hashes on every machine of the same byte order.
uint64_t ContentHash(const Constant& constant);

// "[1, 2]", "[0.5, -inf]", "hex\"003c\"" (types without a spelling of their own) or "#0123456789abcdef".
// At most `max_inline` elements are written out.
std::string PrintConstantData(const Constant& constant, int64_t max_inline);

// The above, and for tests "rand(seed)": uniform in [-1, 1), integers in [-8, 8), and "fill(value)".
std::shared_ptr<Constant> ParseConstantData(Lexer& lexer, DType dtype, const Shape& shape,
                                            const ConstantResolver& resolver);

// The bytes of an encoded constant: hex, #hash, and for tests rand and fill, of bytes.
std::shared_ptr<Constant> ParseEncodedData(Lexer& lexer, const Encoding& encoding, const Shape& shape,
                                           const ConstantResolver& resolver);

// Shortest digits that read back as the same number, always with '.', an exponent, or inf; NaN is 0x and its bits.
std::string PrintFloat(float value);

// A float as PrintFloat writes it, or an integer.
float ParseFloat(Lexer& lexer);

}  // namespace ziggurat
