// Which backends this build has.
#include "core/backend.h"

#include "core/cpu/cpu_backend.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/debug/debug_backend.h"

namespace lodestone {

void require_backend(const std::string& kind) {
  for (const char* known : {"auto", "cpu", "reference", "debug", "debug reference"})
    if (kind == known) return;
  if (kind == "cuda") throw Error(ExitCode::usage, "config", "this program was built without CUDA", "use auto or cpu");
  throw Error(ExitCode::usage, "config", cat("unknown backend \"", kind, "\""), "choose one that this build has: auto, cpu, reference");
}

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  require_backend(options.kind);
  if (options.kind == "reference") return std::make_unique<ReferenceBackend>();
  if (options.kind == "debug reference") return std::make_unique<DebugBackend>(std::make_unique<ReferenceBackend>());
  if (options.kind == "debug") return std::make_unique<DebugBackend>(std::make_unique<CpuBackend>(options.threads));
  return std::make_unique<CpuBackend>(options.threads);
}

}  // namespace lodestone
