// What GPUs do at most, and what lies between two of them.
#pragma once

#include <span>
#include <string_view>

namespace lodestone {

struct GpuCeilings {
  std::string_view name;
  std::string_view model;   // as the driver names it, or a part of that
  std::string_view source;  // of the ceilings
  // FLOPs a second: of large products on tensor cores, of their instruction mma.sync, which all of them have, and of all else.
  double bf16_products = 0, f64_products = 0, mma_sync = 0, f32 = 0, f64 = 0;
  double bytes_per_s = 0;  // of device memory, read and written together
  double memory_bytes = 0;
  // Bytes a second that one GPU sends at most: to others of its host, and to other hosts.
  double link_bytes_per_s = 0, network_bytes_per_s = 0;
};

/// All that are known.
std::span<const GpuCeilings> gpu_ceilings();
/// The one of that name. Throws Error (usage) listing the names.
const GpuCeilings& gpu_ceilings_of(std::string_view name);
/// The one whose model stands in the description of a backend; null where there is none.
const GpuCeilings* gpu_ceilings_in(std::string_view description);

}  // namespace lodestone
