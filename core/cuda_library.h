// CudaLibrary: the CUDA backend, which lives in a shared library of its own, so that the program starts where CUDA is not installed.
#pragma once

#include <memory>
#include <string>

#include "core/backend.h"

namespace lodestone {

/// liblodestone_cuda.so, opened once. It lies beside the program or in ../lib/lodestone, or where LD_LIBRARY_PATH says.
class CudaLibrary {
 public:
  CudaLibrary(const CudaLibrary&) = delete;
  CudaLibrary& operator=(const CudaLibrary&) = delete;

  /// Why nothing can be computed on a GPU here, in a few words: the library, one that it needs, the driver or a GPU is missing. Empty: it
  /// can.
  const std::string& why_not() const { return why_not_; }
  /// Throws Error (usage, "cuda") with that reason, if there is one.
  void require_gpu() const;
  /// How many GPUs this process sees, in the order of their places on the bus unless CUDA_DEVICE_ORDER says otherwise.
  int gpus() const { return gpus_; }
  /// Of GPU number `gpu` of this process. Throws Error (usage) as require_gpu(), (resource) where the GPU fails.
  std::unique_ptr<Backend> make_backend(int gpu) const;

 private:
  friend const CudaLibrary& cuda_library();
  CudaLibrary();

  std::string why_not_;
  int gpus_ = 0;
  Backend* (*make_)(int gpu) = nullptr;
};

/// The only one, opened by the first call.
const CudaLibrary& cuda_library();

}  // namespace lodestone
