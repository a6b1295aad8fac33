// Stream and Marker: a stream of the CUDA runtime and a point in one, owned.
#pragma once

#include <cuda_runtime_api.h>

#include "core/cuda/cuda_call.h"

namespace lodestone::cuda {

/// Whose blocks a GPU starts first where there is room for either.
enum class Precedence : uint8_t { usual, first };

/// Its work runs beside that of all other streams, the default one among them.
struct Stream {
  explicit Stream(Precedence precedence = Precedence::usual) {
    int usual = 0, first = 0;
    check(cudaDeviceGetStreamPriorityRange(&usual, &first), "cudaDeviceGetStreamPriorityRange");
    check(cudaStreamCreateWithPriority(&handle, cudaStreamNonBlocking, precedence == Precedence::first ? first : usual),
          "cudaStreamCreate");
  }
  ~Stream() { cudaStreamDestroy(handle); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t handle = nullptr;
};

/// An event for order alone, which keeps no time.
struct Marker {
  Marker() { check(cudaEventCreateWithFlags(&handle, cudaEventDisableTiming), "cudaEventCreate"); }
  ~Marker() { cudaEventDestroy(handle); }
  Marker(const Marker&) = delete;
  Marker& operator=(const Marker&) = delete;

  cudaEvent_t handle = nullptr;
};

}  // namespace lodestone::cuda
