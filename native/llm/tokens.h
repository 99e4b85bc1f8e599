// Token ids.
#pragma once

#include <cstdint>

namespace ziggurat::llm {

using TokenId = int32_t;
inline constexpr TokenId kNoToken = -1;

}  // namespace ziggurat::llm
