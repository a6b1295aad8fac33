// CudaLibrary: the CUDA backend, which lives in a shared library of its own, so that the program starts where CUDA is not installed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"

namespace lodestone {

/// One GPU as the CUDA runtime describes it. Clocks are the highest that it runs at.
struct GpuProperties {
  std::string name, bus;       // "NVIDIA H200", "0000:19:00.0"
  int compute_capability = 0;  // 90: sm_90
  int multiprocessors = 0;
  int64_t memory_bytes = 0, free_bytes = 0, cache_bytes = 0;  // cache: L2
  int clock_khz = 0, memory_clock_khz = 0, memory_bus_bits = 0;
};

/// What computes on GPUs here. Versions as "13.0", the driver's is the newest CUDA that it takes.
struct CudaFacts {
  std::string driver, runtime, cublaslt;
  std::vector<GpuProperties> gpus;
};

/// Which GPU of this process, and how it is used.
struct CudaOptions {
  int gpu = 0;
  AttentionChoice attention = AttentionChoice::automatic;
  Launches launches = Launches::single;
};

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
  /// Throws Error (usage) as require_gpu(), (resource) where the runtime fails.
  CudaFacts facts() const;
  /// Throws Error (usage) as require_gpu(), or where cuDNN is chosen and missing, (resource) where the
  /// GPU fails.
  std::unique_ptr<Backend> make_backend(const CudaOptions& options) const;

 private:
  friend const CudaLibrary& cuda_library();
  CudaLibrary();

  std::string why_not_;
  int gpus_ = 0;
  Backend* (*make_)(const CudaOptions& options) = nullptr;
  void (*facts_)(CudaFacts& facts) = nullptr;
};

/// The only one, opened by the first call.
const CudaLibrary& cuda_library();

}  // namespace lodestone
