// Which backends this build has.
#include "core/backend.h"

#include "core/cpu/cpu_backend.h"
#include "core/cpu/isa.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/cuda_library.h"
#include "core/debug/debug_backend.h"

namespace lodestone {

BackendKind backend_for(DeviceChoice device) {
  switch (device) {
    case DeviceChoice::automatic:
    case DeviceChoice::cpu:
      return BackendKind::cpu;
    case DeviceChoice::cuda:
      cuda_library().require_gpu();
      return BackendKind::cuda;
  }
  throw_internal(__FILE__, __LINE__, "device", "no such device");
}

void Backend::linear_gradients(ConstTensor dy, ConstTensor x, Tensor d_weight, Tensor d_bias) {
  gemm(Op::transpose, dy, Op::none, x, 1, 1, d_weight);
  if (!d_bias.empty()) column_sums(dy, d_bias);
}

void Backend::replay(const ReplayName&, const std::function<void()>& operations) { operations(); }

std::unique_ptr<Backend> make_backend(const BackendOptions& options) { return make_backend(options, best_instruction_set()); }

std::unique_ptr<Backend> make_backend(const BackendOptions& options, InstructionSet set) {
  const auto cpu = [&] { return std::make_unique<CpuBackend>(options.threads, vector_table(set)); };
  switch (options.kind) {
    case BackendKind::cpu:
      return cpu();
    case BackendKind::reference:
      return std::make_unique<ReferenceBackend>();
    case BackendKind::debug:
      return std::make_unique<DebugBackend>(cpu(), options.launches);
    case BackendKind::debug_reference:
      return std::make_unique<DebugBackend>(std::make_unique<ReferenceBackend>(), options.launches);
    case BackendKind::cuda:
      return cuda_library().make_backend({options.gpu, options.attention, options.launches});
  }
  throw_internal(__FILE__, __LINE__, "kind", "no such backend");
}

}  // namespace lodestone
