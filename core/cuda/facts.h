// What the runtime and its libraries say of themselves and of the GPUs here.
#pragma once

#include "core/cuda_library.h"

namespace lodestone::cuda {

/// Of those that this process sees. Throws Error (resource) where the runtime fails, as all here.
int count_gpus();
/// Where it is plugged in: "0000:19:00.0".
std::string bus_of(int gpu);
/// "13.0", "13.0", "13.1.0".
std::string driver_version();
std::string runtime_version();
std::string cublaslt_version();

/// All of it, for every GPU that this process sees. Makes each of them the present one in turn.
CudaFacts facts();

}  // namespace lodestone::cuda
