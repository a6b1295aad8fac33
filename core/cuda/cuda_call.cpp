#include "core/cuda/cuda_call.h"

#include <cuda_runtime_api.h>

#include "core/error.h"

namespace lodestone::cuda {

void check(cudaError_t status, const std::string& what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the next call would say it again
  const std::string said = cat(what, ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ")");
  if (status == cudaErrorMemoryAllocation)
    throw Error(ExitCode::resource, "F14", said, "lower train.chunk_tokens, train.global_batch or train.step_memory_mb");
  throw Error(ExitCode::resource, "F47", said, "start the same command again; if it happens again, test this GPU");
}

}  // namespace lodestone::cuda
