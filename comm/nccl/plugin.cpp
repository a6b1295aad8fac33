// What comm/nccl_library.cpp looks up here.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "comm/gather_values.h"
#include "comm/nccl/nccl_call.h"
#include "comm/nccl/nccl_comm.h"
#include "core/cuda/cuda_call.h"
#include "core/cuda/facts.h"
#include "core/host_name.h"

using namespace lodestone;

namespace {

/// By which ranks see whether they share a GPU.
struct Place {
  std::array<char, 16> gpu{};   // its UUID
  std::array<char, 16> name{};  // "0000:01:00.0"
  std::array<char, 64> host{};
};

Place place_of(int device) {
  Place place;
  cudaDeviceProp properties{};
  cuda::check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  std::memcpy(place.gpu.data(), properties.uuid.bytes, place.gpu.size());
  cuda::bus_of(device).copy(place.name.data(), place.name.size() - 1);
  host_name().copy(place.host.data(), place.host.size() - 1);
  return place;
}

/// The first two ranks that share a GPU, as words, or nothing.
std::string shared_gpu(std::span<const Place> places) {
  for (size_t second = 1; second < places.size(); ++second)
    for (size_t first = 0; first < second; ++first)
      if (places[first].gpu == places[second].gpu)
        return cat("ranks ", first, " and ", second, " share GPU ", places[first].name.data(), " of ", places[first].host.data());
  return {};
}

}  // namespace

extern "C" {

void lodestone_nccl_version(std::string& version) { version = cat("NCCL ", nccl::version_name(nccl::version_code())); }

/// reason = why these ranks cannot use NCCL together, or nothing; the same on all of them. Collective.
void lodestone_nccl_why_not(Communicator& comm, Backend& backend, std::string& reason) {
  const std::vector<int> versions = gather_value(comm, nccl::version_code());
  const std::vector<Place> places = gather_value(comm, place_of(static_cast<CudaBackend&>(backend).gpu()));
  const auto other = std::find_if(versions.begin(), versions.end(), [&](int v) { return v != versions[0]; });
  reason = other == versions.end() ? shared_gpu(places)
                                   : cat("rank 0 has NCCL ", nccl::version_name(versions[0]), ", rank ", other - versions.begin(), " has ",
                                         nccl::version_name(*other));
}

Communicator* lodestone_nccl_make_comm(Communicator* host, Backend& backend, Watchdog* watchdog) {
  return new NcclComm(std::unique_ptr<Communicator>(host), std::make_shared<NcclVerbs>(static_cast<CudaBackend&>(backend), watchdog));
}

}  // extern "C"
