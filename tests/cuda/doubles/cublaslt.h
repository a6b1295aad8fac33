// Controls of the cuBLASLt double.
#pragma once

#include <cstdint>

namespace lodestone::doubles {

/// From here on every leading dimension is read as this much more than it is.
void spoil_leading_dimensions(int64_t by);
/// Who refuses a product with an epilogue: nobody, whoever is asked for an algorithm, or only the product itself.
enum class Refusal : uint8_t { none, by_heuristic, by_product };
void refuse_epilogues(Refusal refusal);

}  // namespace lodestone::doubles
