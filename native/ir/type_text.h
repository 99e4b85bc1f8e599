// Reads types and dimensions of the text form.
#pragma once

#include "ir/graph.h"
#include "ir/text_lexer.h"

namespace ziggurat {

class TypeParser {
 public:
  TypeParser(Lexer& lexer, Graph& graph) : lexer_(lexer), graph_(graph) {}

  // `input`: the index of the graph input whose type this is, so that its dimensions bind symbols; -1: none.
  Type ParseType(int input = -1);
  Dim ParseDim();
  // dtype[2,3] of a constant, or float32[2,32]!ggml(2,32): plain or in whole blocks, of a known shape.
  Type ParseConstantType();

 private:
  DType ParseDType();
  Type ParseTensor(int input);
  Dim ParseInputDim(int input, int axis);
  Dim ParseProduct();
  Dim ParseFactor();
  Dim ParseFunction(const Token& name);
  Encoding ParseEncoding();

  Lexer& lexer_;
  Graph& graph_;
  int depth_ = 0;
};

}  // namespace ziggurat
