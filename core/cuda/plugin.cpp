// What core/cuda_library.cpp looks up here.
#include <cuda_runtime_api.h>

#include "core/cuda/cuda_backend.h"
#include "core/cuda/facts.h"

extern "C" {

/// How many GPUs there are; reason = why nothing can be computed here, or nothing.
int lodestone_cuda_gpus(std::string& reason) {
  int devices = 0;  // left as it is where there is no driver
  const cudaError_t status = cudaGetDeviceCount(&devices);
  cudaGetLastError();
  reason.clear();
  if (status == cudaErrorInsufficientDriver)
    reason = "there is no NVIDIA driver, or one that is older than this CUDA";
  else if (status != cudaSuccess && status != cudaErrorNoDevice && status != cudaErrorStubLibrary)
    reason = lodestone::cat("CUDA does not start: ", cudaGetErrorString(status));
  else if (devices == 0)
    reason = "there is no GPU that CUDA sees";
  return devices;
}

void lodestone_cuda_facts(lodestone::CudaFacts& facts) { facts = lodestone::cuda::facts(); }

lodestone::Backend* lodestone_cuda_make_backend(const lodestone::CudaOptions& options) {
  return new lodestone::CudaBackend(options.gpu, options.attention, options.launches);
}

}  // extern "C"
