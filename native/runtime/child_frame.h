// What If, Loop and Scan share: frames of sub-plans, which take their memory from arenas, so that they can be run any
// number of times; what they hand back is copied out of memory that is not the parent's.
#pragma once

#include "runtime/frame.h"

namespace ziggurat {

// Throws kUnsupported where control flow is nested too deeply: each level is a C++ frame.
void CheckDepth(const Frame& frame, const Step& step);

// Sets the child's constants and what it captures of `frame`.
void BindOuter(Frame& child, Frame& frame);

// Gives the child's value `from` to the frame's slot `to`, copying its elements.
void HandOver(Frame& child, int from, Frame& frame, int to);

// What the child's slot holds now, in memory that the next iteration may read: a value passed through from the child's
// inputs is copied into the child's arena, since those may lie in the arena that the next iteration resets.
TensorView KeepForNext(Frame& child, int slot);

}  // namespace ziggurat
