#include "core/cuda/facts.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <array>

#include "core/cuda/cuda_call.h"
#include "core/error.h"

namespace lodestone::cuda {

namespace {

/// 13010 -> "13.1".
std::string version(int number) { return cat(number / 1000, '.', number % 1000 / 10); }

int attribute(cudaDeviceAttr which, int gpu) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, gpu), "cudaDeviceGetAttribute");
  return value;
}

GpuProperties properties_of(int gpu) {
  cudaDeviceProp said{};
  check(cudaGetDeviceProperties(&said, gpu), "cudaGetDeviceProperties");
  size_t free_bytes = 0, total_bytes = 0;
  check(cudaSetDevice(gpu), "cudaSetDevice");
  check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
  return {.name = said.name,
          .bus = bus_of(gpu),
          .compute_capability = 10 * said.major + said.minor,
          .multiprocessors = said.multiProcessorCount,
          .memory_bytes = static_cast<int64_t>(said.totalGlobalMem),
          .free_bytes = static_cast<int64_t>(free_bytes),
          .cache_bytes = said.l2CacheSize,
          .clock_khz = attribute(cudaDevAttrClockRate, gpu),
          .memory_clock_khz = attribute(cudaDevAttrMemoryClockRate, gpu),
          .memory_bus_bits = said.memoryBusWidth};
}

}  // namespace

std::string bus_of(int gpu) {
  std::array<char, 32> bus{};
  check(cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), gpu), "cudaDeviceGetPCIBusId");
  return bus.data();
}

int count_gpus() {
  int gpus = 0;
  check(cudaGetDeviceCount(&gpus), "cudaGetDeviceCount");
  return gpus;
}

std::string driver_version() {
  int number = 0;
  check(cudaDriverGetVersion(&number), "cudaDriverGetVersion");
  return version(number);
}

std::string runtime_version() {
  int number = 0;
  check(cudaRuntimeGetVersion(&number), "cudaRuntimeGetVersion");
  return version(number);
}

std::string cublaslt_version() {
  const size_t number = cublasLtGetVersion();  // 130100 is 13.1.0
  return cat(number / 10000, '.', number / 100 % 100, '.', number % 100);
}

CudaFacts facts() {
  CudaFacts facts{.driver = driver_version(), .runtime = runtime_version(), .cublaslt = cublaslt_version(), .gpus = {}};
  const int gpus = count_gpus();
  for (int gpu = 0; gpu < gpus; ++gpu) facts.gpus.push_back(properties_of(gpu));
  return facts;
}

}  // namespace lodestone::cuda
