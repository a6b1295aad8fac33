// Which backends this build has.
#include "core/backend.h"

#include "core/cpu/cpu_backend.h"
#include "core/cpu/reference/reference_backend.h"

namespace lodestone {

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  if (options.kind == "cpu") return std::make_unique<CpuBackend>(options.threads);
  if (options.kind == "reference") return std::make_unique<ReferenceBackend>();
  const std::string why = options.kind == "cuda" ? "this program was built without CUDA" : cat("unknown backend \"", options.kind, "\"");
  throw Error(ExitCode::usage, "config", why, "choose one that this build has: cpu, reference");
}

}  // namespace lodestone
