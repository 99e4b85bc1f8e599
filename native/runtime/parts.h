// Tensors that lie in others, so that Concat, Split and Slice have nothing to copy.
#pragma once

namespace ziggurat {

class Plan;

// Makes views of what a Split or Slice cuts out and of what a Concat joins, where that is one range of rows of the
// other tensor or, with kernels that can work apart (device/apart.h), some of its columns. The steps stay, and copy
// what is not in its place.
void PlaceParts(Plan& plan);

}  // namespace ziggurat
