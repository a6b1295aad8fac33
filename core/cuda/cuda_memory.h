// CudaMemory: the memory of one GPU.
#pragma once

#include <driver_types.h>

#include <map>

#include "core/memory.h"

namespace lodestone {

namespace cuda {
class UploadStream;  // core/cuda/upload_stream.h
}

/// What is asked for is taken at once, from cudaMalloc: there are no pages that come later. Addresses are those of the device. One
/// thread may call it.
class CudaMemory final : public Memory {
 public:
  /// Says to `uploads`, which must outlive it, when step memory is given back.
  explicit CudaMemory(cuda::UploadStream& uploads) : uploads_(uploads) {}

  Device device() const override { return Device::cuda; }
  /// Throws Error (resource, "F14") saying how much was asked for and how much is free.
  std::byte* allocate(size_t size_bytes) override;
  std::byte* reserve(size_t size_bytes) override;
  void release(std::byte* data, size_t size_bytes) noexcept override;
  /// All but what is left to the libraries.
  size_t reservable(size_t wanted_bytes) const override;
  void end_scope(const Arena& arena, std::byte* released, size_t size_bytes) noexcept override;

 private:
  cuda::UploadStream& uploads_;
  std::map<std::byte*, void*> raw_;  // aligned address -> what cudaMalloc gave
};

}  // namespace lodestone
