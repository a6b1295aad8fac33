#include "tests/cuda/doubles/runtime.h"

#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/graphs.h"
#include "tests/cuda/doubles/streams.h"

namespace lodestone::doubles {

namespace {

constexpr size_t most_filled = size_t{1} << 20, page = 4096, alignment = 256, guard = size_t{1} << 20;

struct Failure {
  std::string function;
  int n = 0;
  cudaError_t result = cudaSuccess;
};

/// From the environment, where a test runs the program itself: runtime.h.
Machine machine_asked_for() {
  Machine m;
  if (const char* const gpus = std::getenv("LODESTONE_DOUBLE_GPUS"); gpus != nullptr) m.devices = std::atoi(gpus);
  if (const char* const mebibytes = std::getenv("LODESTONE_DOUBLE_MEMORY_MB"); mebibytes != nullptr)
    m.memory_bytes = static_cast<size_t>(std::atoll(mebibytes)) << 20;
  return m;
}

Failure failure_asked_for() {
  const char* const said = std::getenv("LODESTONE_DOUBLE_FAIL");
  if (said == nullptr) return {};
  char function[64] = {};
  int n = 0, result = 0;
  if (std::sscanf(said, "%63[^:]:%d:%d", function, &n, &result) != 3) fail("LODESTONE_DOUBLE_FAIL is not FUNCTION:N:ERROR");
  return {function, n, static_cast<cudaError_t>(result)};
}

/// Errors of work, behind which nothing can be computed until the process ends: every later call says the same.
bool stays(cudaError_t error) {
  return error == cudaErrorIllegalAddress || error == cudaErrorAssert || error == cudaErrorMisalignedAddress ||
         error == cudaErrorLaunchFailure;
}

/// Writes what was counted as the process ends, where LODESTONE_DOUBLE_COUNTS names a file: JSON of names and numbers.
void report(const Counts& c) {
  const char* const name = std::getenv("LODESTONE_DOUBLE_COUNTS");
  if (name == nullptr) return;
  std::FILE* const file = std::fopen(name, "w");
  if (file == nullptr) fail("LODESTONE_DOUBLE_COUNTS cannot be written");
  const std::pair<const char*, int64_t> all[] = {{"kernels", c.kernels},
                                                 {"products", c.products},
                                                 {"choices", c.choices},
                                                 {"fills", c.fills},
                                                 {"device_copies", c.device_copies},
                                                 {"uploads", c.uploads},
                                                 {"downloads", c.downloads},
                                                 {"uploaded_bytes", c.uploaded_bytes},
                                                 {"downloaded_bytes", c.downloaded_bytes},
                                                 {"event_records", c.event_records},
                                                 {"stream_waits", c.stream_waits},
                                                 {"host_waits", c.host_waits},
                                                 {"questions", c.questions},
                                                 {"verbs", c.verbs},
                                                 {"verb_bytes", c.verb_bytes},
                                                 {"nodes", c.nodes},
                                                 {"graphs", c.graphs},
                                                 {"graph_launches", c.graph_launches}};
  for (const auto& [what, count] : all)
    std::fprintf(file, "%s\"%s\": %lld", what == all[0].first ? "{" : ", ", what, static_cast<long long>(count));
  std::fprintf(file, "}\n");
  std::fclose(file);
}

struct State {
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { report(counts); }

  Machine machine = machine_asked_for();
  Failure failure = failure_asked_for();
  cudaError_t last = cudaSuccess, sticky = cudaSuccess;
  Counts counts{};
  std::map<const std::byte*, size_t> device{}, pinned{};
  size_t device_bytes = 0;
  bool keeps_memory = false;
};

State& state() {
  static State s;
  return s;
}

/// The one of the blocks in which [p, p + size) lies. Null: in none.
const void* block_with(const std::map<const std::byte*, size_t>& blocks, const void* p, size_t size) {
  const auto* const at = static_cast<const std::byte*>(p);
  auto next = blocks.upper_bound(at);
  if (next == blocks.begin()) return nullptr;
  --next;
  return at + size <= next->first + next->second ? next->first : nullptr;
}

bool holds(const std::map<const std::byte*, size_t>& blocks, const void* p, size_t size) { return block_with(blocks, p, size) != nullptr; }

/// Where a block lies: at the end of whole pages, and behind these lie some that nobody may touch.
struct Pages {
  size_t before, held;  // bytes

  explicit Pages(size_t size) : before((page - size % page) % page / alignment * alignment), held((size + page - 1) / page * page) {}
  size_t all() const { return held + guard; }
};

/// Bytes of a kind that a real allocation would hold before somebody writes: NaNs. What is larger than any test fills is addresses only,
/// whose pages come as they are touched.
std::byte* make(std::map<const std::byte*, size_t>& blocks, size_t size) {
  const Pages pages(size);
  void* const mapped = mmap(nullptr, pages.all(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(mapped);
  if (mprotect(begin + pages.held, guard, PROT_NONE) != 0) fail("no guard behind a block");
  std::byte* const p = begin + pages.before;
  if (size <= most_filled) std::memset(p, 0xff, size);
  blocks[p] = size;
  return p;
}

cudaError_t count_copy(cudaMemcpyKind kind, int64_t size, cudaStream_t stream) {
  Counts& c = state().counts;
  const bool up = kind == cudaMemcpyHostToDevice, down = kind == cudaMemcpyDeviceToHost;
  const cudaError_t result = counted(stream, up ? c.uploads : down ? c.downloads : c.device_copies);
  if ((up || down) && !captures(stream)) (up ? c.uploaded_bytes : c.downloaded_bytes) += size;
  return result;
}

void give_back(std::map<const std::byte*, size_t>& blocks, void* p, const char* what) {
  const auto found = blocks.find(static_cast<const std::byte*>(p));
  if (found == blocks.end()) fail(what);
  const Pages pages(found->second);
  block_freed(p);
  if (!state().keeps_memory) munmap(static_cast<std::byte*>(p) - pages.before, pages.all());
  blocks.erase(found);
}

}  // namespace

cudaError_t said(cudaError_t result) {
  if (result != cudaSuccess) state().last = result;
  return result;
}

Machine& machine() { return state().machine; }

Counts& counts() { return state().counts; }

void fail_call(const std::string& function, int n, cudaError_t result) {
  state().failure = {function, n, result};
  state().sticky = cudaSuccess;
}

cudaError_t result_of(const char* function) {
  Failure& f = state().failure;
  if (state().sticky != cudaSuccess) return said(state().sticky);
  if (f.function != function || f.n-- > 0) return cudaSuccess;
  f.function.clear();
  if (stays(f.result)) state().sticky = f.result;
  return said(f.result);
}

void keep_memory() { state().keeps_memory = true; }

bool is_device_memory(const void* p, size_t size) { return holds(state().device, p, size); }

const void* block_of(const void* p) {
  const void* const block = block_with(state().device, p, 1);
  return block != nullptr ? block : block_with(state().pinned, p, 1);
}

size_t device_bytes() { return state().device_bytes; }

}  // namespace lodestone::doubles

using namespace lodestone::doubles;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  if (const cudaError_t result = result_of("cudaGetDeviceCount"); result != cudaSuccess) return result;
  const Machine& m = machine();
  if (m.count_result == cudaSuccess) *count = m.devices;
  return said(m.count_result);
}
cudaError_t cudaSetDevice(int device) { return said(device < machine().devices ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = machine().driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 4;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = machine().architecture / 10;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = machine().architecture % 10;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = 227 << 10;
      return cudaSuccess;
    case cudaDevAttrClockRate:
      *value = 1'000'000;
      return cudaSuccess;
    case cudaDevAttrMemoryClockRate:
      *value = 2'000'000;
      return cudaSuccess;
    default:
      fail("an attribute that the double does not know");
  }
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulated GPU");
  properties->totalGlobalMem = machine().memory_bytes;
  properties->multiProcessorCount = 4;
  properties->major = machine().architecture / 10;
  properties->uuid.bytes[0] = static_cast<char>(device + 1);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int device) {
  std::snprintf(text, static_cast<size_t>(size), "0000:%02x:00.0", static_cast<unsigned>(device + 1) & 0xffu);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *total_bytes = machine().memory_bytes;
  *free_bytes = machine().memory_bytes - device_bytes();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, size_t size) {
  if (const cudaError_t result = result_of("cudaMalloc"); result != cudaSuccess) return result;
  if (const cudaError_t result = beside_captures(Allowed::where_relaxed); result != cudaSuccess) return result;
  if (size > machine().memory_bytes - device_bytes()) return said(cudaErrorMemoryAllocation);
  *p = make(state().device, size);
  if (*p == nullptr) return said(cudaErrorMemoryAllocation);
  state().device_bytes += size;
  return cudaSuccess;
}

cudaError_t cudaFree(void* p) {
  if (p == nullptr) return cudaSuccess;
  if (const cudaError_t result = cudaDeviceSynchronize(); result != cudaSuccess) return result;
  const auto found = state().device.find(static_cast<const std::byte*>(p));
  if (found != state().device.end()) state().device_bytes -= found->second;
  give_back(state().device, p, "cudaFree of memory that cudaMalloc did not give");
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** p, size_t size) {
  if (const cudaError_t result = result_of("cudaMallocHost"); result != cudaSuccess) return result;
  if (const cudaError_t result = beside_captures(Allowed::where_relaxed); result != cudaSuccess) return result;
  *p = make(state().pinned, size);
  return *p == nullptr ? said(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaFreeHost(void* p) {
  if (const cudaError_t result = cudaDeviceSynchronize(); result != cudaSuccess) return result;
  give_back(state().pinned, p, "cudaFreeHost of memory that cudaMallocHost did not give");
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind kind, cudaStream_t stream) {
  if (const cudaError_t result = result_of("cudaMemcpyAsync"); result != cudaSuccess) return result;
  const auto& [to_blocks, from_blocks] = kind == cudaMemcpyHostToDevice   ? std::tie(state().device, state().pinned)
                                         : kind == cudaMemcpyDeviceToHost ? std::tie(state().pinned, state().device)
                                                                          : std::tie(state().device, state().device);
  if (!holds(to_blocks, to, size)) fail("a copy to memory that is not of its kind, or is too short (host memory must be pinned)");
  if (!holds(from_blocks, from, size)) fail("a copy from memory that is not of its kind, or is too short (host memory must be pinned)");
  if (const cudaError_t result = count_copy(kind, static_cast<int64_t>(size), stream); result != cudaSuccess) return result;
  enqueue(stream, [to, from, size] { std::memmove(to, from, size); });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* p, int value, size_t size, cudaStream_t stream) {
  if (const cudaError_t result = result_of("cudaMemsetAsync"); result != cudaSuccess) return result;
  if (!holds(state().device, p, size)) fail("a fill of memory that is no device's, or too short");
  if (const cudaError_t result = counted(stream, counts().fills); result != cudaSuccess) return result;
  enqueue(stream, [p, value, size] { std::memset(p, value, size); });
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

cudaError_t cudaGetLastError() { return std::exchange(state().last, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return state().last; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureMerge:
      return "cudaErrorStreamCaptureMerge";
    case cudaErrorStreamCaptureIsolation:
      return "cudaErrorStreamCaptureIsolation";
    case cudaErrorCapturedEvent:
      return "cudaErrorCapturedEvent";
    default:
      return "an error of the double";
  }
}
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

}  // extern "C"
