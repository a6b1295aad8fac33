// GPUs as cuDNN describes them: the keys that libcudnn_graph 9.19 reads and writes, with values of public descriptions of the devices and
// of the CUDA programming guide. Written by hand: a plan made from them is good for asking, not for keeping.
#pragma once

#include <string>

namespace lodestone::test {

struct DescribedDevice {
  const char* name;
  int architecture;  // 90: sm_90
  int multiprocessors, shared_bytes;
  long long memory_bytes;
  int clock_khz, memory_clock_khz, cache_bytes;
};

constexpr DescribedDevice h200{"NVIDIA H200", 90, 132, 232448, 151397597184, 1980000, 3201000, 62914560};
constexpr DescribedDevice b200{"NVIDIA B200", 100, 148, 232448, 191503138816, 1965000, 3996000, 132644864};
constexpr DescribedDevice a100{"NVIDIA A100-SXM4-80GB", 80, 108, 166912, 85100068864, 1410000, 1593000, 41943040};

inline std::string properties_of(const DescribedDevice& d) {
  const auto entry = [](const char* key, long long value) { return std::string(",\"") + key + "\":" + std::to_string(value); };
  return "{\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64]" + entry("regsPerBlock", 65536) +
         entry("multiProcessorCount", d.multiprocessors) + entry("warpSize", 32) + entry("maxSharedMemoryPerBlock", 49152) +
         entry("maxSharedMemoryPerBlockOptin", d.shared_bytes) + entry("reservedSharedMemoryPerBlock", 1024) +
         entry("maxRegistersPerSM", 65536) + entry("maxCtasPerSM", 32) + entry("maxThreadsPerBlock", 1024) +
         entry("maxThreadsPerSM", 2048) + entry("pciDeviceId", 0) + entry("isTccDriver", 0) + entry("supportCoopLaunch", 1) +
         entry("totalGlobalMem", d.memory_bytes) + entry("smClockRateKHz", d.clock_khz) + entry("memClockRateKHz", d.memory_clock_khz) +
         entry("l2CacheSize", d.cache_bytes) + entry("cudaDeviceId", 0) + entry("deviceVer", 10 * d.architecture) +
         entry("driverVer", 13000) + ",\"deviceName\":\"" + d.name + "\"}";
}

}  // namespace lodestone::test
