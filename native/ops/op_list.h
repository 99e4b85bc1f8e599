// Declares every descriptor of op_list.inc, so that the files that define them give them external linkage.
#pragma once

#include "ops/op_def.h"

namespace ziggurat {

#define OP(Name) extern const OpDef kOp_##Name;
#define ZIG_OP(Name) extern const OpDef kOp_Zig##Name;
#define ML_OP(Name) extern const OpDef kOp_Ml##Name;
#define TRAINING_OP(Name) extern const OpDef kOp_Training##Name;
#include "ops/op_list.inc"
#undef OP
#undef ZIG_OP
#undef ML_OP
#undef TRAINING_OP

}  // namespace ziggurat
