// The double of the CUDA runtime: devices and memory that are the host's, and failures on demand.
#pragma once

#include <driver_types.h>

#include <cstddef>
#include <string>

namespace lodestone::doubles {

/// What the double says of itself. A test changes it before it makes a backend.
struct Machine {
  int devices = 1;                         // in this process; LODESTONE_DOUBLE_GPUS says otherwise
  cudaError_t count_result = cudaSuccess;  // of cudaGetDeviceCount: 35 without a driver, 34 with the toolkit's stub, 100 without a GPU
  size_t memory_bytes = size_t{4} << 40;   // addresses, not pages
  int driver = 13000;
  int architecture = 90;  // sm_90
};
Machine& machine();

/// The n-th call (from 0) of this function from here on returns `result`, and where that is an error of work, so does every call that can
/// fail from there on. "" takes it back. LODESTONE_DOUBLE_FAIL=FUNCTION:N:ERROR in the environment says it from the start of the process,
/// and LODESTONE_DOUBLE_MEMORY_MB how much memory the device has.
void fail_call(const std::string& function, int n, cudaError_t result);
/// `result`, which cudaGetLastError() gives too unless it is success.
cudaError_t said(cudaError_t result);
/// Whether a call of this function is to fail, and how.
cudaError_t result_of(const char* function);
/// From here on memory that is given back stays mapped: somebody outside may still write to it.
void keep_memory();
/// Whether [p, p + size) lies in memory that cudaMalloc gave.
bool is_device_memory(const void* p, size_t size);
/// The block of device memory, or of the host's that is pinned, in which p lies. Null: in none.
const void* block_of(const void* p);
/// Bytes of device memory that are taken.
size_t device_bytes();

}  // namespace lodestone::doubles
