#include "core/cuda/cuda_memory.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>

#include "core/arena.h"
#include "core/cuda/cuda_call.h"
#include "core/cuda/upload_stream.h"
#include "core/error.h"
#include "core/library_memory.h"
#include "core/round_up.h"

namespace lodestone {

namespace {

constexpr size_t alignment = 4096;  // cudaMalloc promises 256

}  // namespace

std::byte* CudaMemory::reserve(size_t size_bytes) {
  void* p = nullptr;
  const cudaError_t status = cudaMalloc(&p, size_bytes + alignment);
  if (status == cudaErrorMemoryAllocation) {
    size_t free_bytes = 0, total_bytes = 0;
    cudaGetLastError();
    cudaMemGetInfo(&free_bytes, &total_bytes);
    throw Error(ExitCode::resource, "F14",
                cat("the GPU has no memory for ", size_bytes >> 20, " MiB: ", free_bytes >> 20, " of ", total_bytes >> 20, " MiB are free"),
                "lower train.chunk_tokens or train.step_memory_mb, or choose a smaller model; look with nvidia-smi who else uses the GPU");
  }
  cuda::check(status, "cudaMalloc");
  auto* const aligned = std::bit_cast<std::byte*>(round_up(std::bit_cast<uintptr_t>(p), alignment));
  raw_[aligned] = p;
  return aligned;
}

std::byte* CudaMemory::allocate(size_t size_bytes) {
  std::byte* const data = reserve(size_bytes);
  const cuda::Stream stream;
  cuda::check(cudaMemsetAsync(data, 0, size_bytes, stream.handle), "cudaMemset");
  cuda::check(cudaStreamSynchronize(stream.handle), "cudaMemset");
  return data;
}

void CudaMemory::release(std::byte* data, size_t /*size_bytes*/) noexcept {
  const auto found = raw_.find(data);
  if (found == raw_.end()) return;
  cudaFree(found->second);
  raw_.erase(found);
}

size_t CudaMemory::reservable(size_t wanted_bytes) const {
  size_t free_bytes = 0, total_bytes = 0;
  cuda::check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
  return std::min(wanted_bytes, free_bytes - std::min(free_bytes, left_to_libraries + alignment));
}

void CudaMemory::end_scope(const Arena& arena, std::byte* /*released*/, size_t /*size_bytes*/) noexcept {
  uploads_.scope_ended(arena.depth());
}

}  // namespace lodestone
