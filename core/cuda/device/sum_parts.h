// How many parts a sum of device/sums.h has at most: what its kernels write, and the backend has room for.
#pragma once

#include <cstdint>

namespace lodestone::cuda {

constexpr int64_t most_parts = 1024;

}  // namespace lodestone::cuda
