// What the CUDA runtime says of a call, as an Error.
#pragma once

#include <driver_types.h>

#include <string>

namespace lodestone::cuda {

/// Throws Error (resource) unless `status` is success: F14 where the device has no memory left, else F47. `what`: the call, and for whom.
void check(cudaError_t status, const std::string& what);

}  // namespace lodestone::cuda
