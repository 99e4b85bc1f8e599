// Refuses requests that make no sense or could never run, before any work.
#pragma once

#include "llm/sequence.h"

namespace ziggurat::llm {

// A prompt that leaves no room in the context.
class PromptTooLong : public Error {
 public:
  PromptTooLong(int64_t prompt, int64_t context)
      : Error(Code::kInvalidArgument, "the prompt has ", prompt, " tokens, which leaves none of the context of ",
              context, " tokens for an answer"),
        prompt_tokens(prompt),
        context_tokens(context) {}
  int64_t prompt_tokens, context_tokens;
};

struct RequestLimits {
  int64_t vocab = 0;
  int64_t context = 0;
  int64_t blocks = 0;
  int64_t block_tokens = 0;
};

// Throws PromptTooLong; kInvalidArgument naming the parameter; kOutOfMemory with the numbers for a request that the
// KV pool could not hold if it had all of it.
void CheckRequest(const Request& request, const RequestLimits& limits);

}  // namespace ziggurat::llm
