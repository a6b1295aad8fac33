// lodestone devices: where this machine could compute, and the versions of what computes there.
#include <gnu/libc-version.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "core/cuda_library.h"
#include "launch/command.h"
#include "launch/config/options.h"
#include "launch/console/version.h"

namespace lodestone {

const char* const devices_usage =
    "usage: lodestone devices\n\n"
    "Prints as JSON where `device:` could compute here: the CPU, and every GPU that CUDA sees with its memory, clocks and compute\n"
    "capability, the versions of driver, runtime and cuBLASLt; or, under cuda.missing, why there is none. Computes nothing.\n";

namespace {

nlohmann::ordered_json cuda_json(const CudaLibrary& cuda) {
  if (!cuda.why_not().empty()) return {{"missing", cuda.why_not()}};
  const CudaFacts facts = cuda.facts();
  nlohmann::ordered_json gpus = nlohmann::ordered_json::array();
  for (const GpuProperties& g : facts.gpus)
    gpus.push_back({{"name", g.name},
                    {"bus", g.bus},
                    {"compute_capability", g.compute_capability},
                    {"multiprocessors", g.multiprocessors},
                    {"memory_bytes", g.memory_bytes},
                    {"free_bytes", g.free_bytes},
                    {"l2_cache_bytes", g.cache_bytes},
                    {"clock_khz", g.clock_khz},
                    {"memory_clock_khz", g.memory_clock_khz},
                    {"memory_bus_bits", g.memory_bus_bits}});
  return {{"driver", facts.driver}, {"runtime", facts.runtime}, {"cublaslt", facts.cublaslt}, {"gpus", gpus}};
}

}  // namespace

int run_devices(World& world, std::span<const std::string> arguments) {
  const Options given(arguments, "devices", {});
  if (!given.positional().empty()) given.refuse(cat("takes no argument, got '", given.positional()[0], "'"));
  const nlohmann::ordered_json result{{"program", version},
                                      {"mpi", World::library_version()},
                                      {"c_library", gnu_get_libc_version()},
                                      {"cpu", make_backend({.kind = BackendKind::cpu})->description()},
                                      {"cuda", cuda_json(cuda_library())}};
  if (world.rank() == 0) std::cout << result.dump(2) << '\n';
  return 0;
}

}  // namespace lodestone
