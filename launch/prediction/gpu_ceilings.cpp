#include "launch/prediction/gpu_ceilings.h"

#include <algorithm>

#include "core/error.h"

namespace lodestone {

namespace {

// Measured: bf16 products of 8,192 x 8,192 x 8,192 of random values and a copy on an H200, by others. All else is of NVIDIA's data sheets
// ("H200 Tensor Core GPU", "H100 Tensor Core GPU", SXM; "A100 80GB", SXM), where products are without sparsity and f64 products are those
// of tensor cores: real kernels reach some 80 % of those rates, so that predictions by them are too fast. mma.sync is taken to have half of
// the data sheet's rate on Hopper, where only wgmma has all of it, and all on Ampere; measured is neither. Links are half of NVLink's sum
// of both directions, networks one adapter a GPU (400 and 200 Gbit/s) as in NVIDIA's own systems. Memory is
// what drivers say, about: 139 GiB where the data sheet has 141 GB, and 79 GiB.
constexpr GpuCeilings known[] = {
    {.name = "h200",
     .model = "H200",
     .source = "bf16 products and memory measured by others, the rest of the data sheet",
     .bf16_products = 788e12,
     .f64_products = 67e12,
     .mma_sync = 494e12,
     .f32 = 67e12,
     .f64 = 34e12,
     .bytes_per_s = 4.3e12,
     .memory_bytes = 139 * 0x1p30,
     .link_bytes_per_s = 450e9,
     .network_bytes_per_s = 50e9},
    {.name = "h100",
     .model = "H100 80GB HBM3",
     .source = "data sheet of the SXM form; nothing measured",
     .bf16_products = 989e12,
     .f64_products = 67e12,
     .mma_sync = 494e12,
     .f32 = 67e12,
     .f64 = 34e12,
     .bytes_per_s = 3.35e12,
     .memory_bytes = 79 * 0x1p30,
     .link_bytes_per_s = 450e9,
     .network_bytes_per_s = 50e9},
    {.name = "a100",
     .model = "A100-SXM4-80GB",
     .source = "data sheet of the SXM form with 80 GB; nothing measured",
     .bf16_products = 312e12,
     .f64_products = 19.5e12,
     .mma_sync = 312e12,
     .f32 = 19.5e12,
     .f64 = 9.7e12,
     .bytes_per_s = 2.039e12,
     .memory_bytes = 79 * 0x1p30,
     .link_bytes_per_s = 300e9,
     .network_bytes_per_s = 25e9},
};

}  // namespace

std::span<const GpuCeilings> gpu_ceilings() { return known; }

const GpuCeilings& gpu_ceilings_of(std::string_view name) {
  const auto* const found = std::ranges::find(known, name, &GpuCeilings::name);
  if (found != std::end(known)) return *found;
  std::string names;
  for (const GpuCeilings& gpu : known) names += cat(names.empty() ? "" : ", ", gpu.name);
  throw Error(ExitCode::usage, "usage", cat("bench: nothing is known of a GPU '", name, "'"), cat("one of ", names));
}

const GpuCeilings* gpu_ceilings_in(std::string_view description) {
  // "NVIDIA H200, GPU 0 of ...", "NVIDIA H100 80GB HBM3, ...", "NVIDIA A100-SXM4-80GB, ...": other forms have other names.
  const auto* const found =
      std::ranges::find_if(known, [&](const GpuCeilings& gpu) { return description.starts_with(cat("NVIDIA ", gpu.model, ",")); });
  return found == std::end(known) ? nullptr : found;
}

}  // namespace lodestone
