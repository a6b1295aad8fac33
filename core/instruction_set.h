// Which vector kernels of this program a processor runs, and a backend that is kept to fewer.
#pragma once

#include <memory>

#include "core/backend.h"

namespace lodestone {

/// Levels of x86-64, from the least. Kernels of different ones round differently: the higher have FMA.
enum class InstructionSet : uint8_t {
  v2,  // SSE4.2
  v3,  // AVX2 and FMA
  v4,  // AVX-512
};

/// The highest that this processor runs. Throws Error (resource) on one without SSE4.2.
InstructionSet best_instruction_set();

/// The backend that make_backend(options) makes, with the vector kernels of `set`, which this processor must run. Products are oneDNN's,
/// which chooses for itself.
std::unique_ptr<Backend> make_backend(const BackendOptions& options, InstructionSet set);

}  // namespace lodestone
