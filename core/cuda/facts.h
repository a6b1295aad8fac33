// What the runtime and its libraries say of themselves and of the GPUs here.
#pragma once

#include "core/cuda_library.h"

namespace lodestone::cuda {

/// "13.0", "13.0", "13.1.0". Throw Error (resource) where the runtime fails.
std::string driver_version();
std::string runtime_version();
std::string cublaslt_version();

/// All of it, for every GPU that this process sees. Makes each of them the present one in turn. Throws as those do.
CudaFacts facts();

}  // namespace lodestone::cuda
