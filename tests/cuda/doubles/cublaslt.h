// Controls of the cuBLASLt double.
#pragma once

#include <cstdint>

namespace lodestone::doubles {

/// From here on every leading dimension is read as this much more than it is.
void spoil_leading_dimensions(int64_t by);
/// Whether no algorithm is known for a product with an epilogue.
void refuse_epilogues(bool refused);

}  // namespace lodestone::doubles
