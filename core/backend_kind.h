// Which backends there are, and what a user says to choose one.
#pragma once

#include <cstdint>
#include <string_view>

namespace lodestone {

enum class BackendKind : uint8_t {
  cpu,
  reference,        // the plain-loop specification in f64 and f32
  debug,            // cpu as a device would be (core/debug)
  debug_reference,  // reference likewise
  cuda,             // a GPU, by a library of its own (core/cuda_library.h)
};

/// Where a user wants to compute.
enum class DeviceChoice : uint8_t {
  automatic,  // the best that has been proven: the CPU
  cpu,
  cuda,
};

/// As configurations and options name it.
constexpr std::string_view name_of(DeviceChoice value) {
  switch (value) {
    case DeviceChoice::automatic:
      return "auto";
    case DeviceChoice::cpu:
      return "cpu";
    case DeviceChoice::cuda:
      return "cuda";
  }
  return {};
}

/// What computes attention on a GPU.
enum class AttentionChoice : uint8_t {
  automatic,  // cuDNN where it is there and takes the shape, else own kernels
  own,
  cudnn,  // as automatic, and with its own dropout, not named by texts; that it is missing, or refuses the first shape, is an error
};

/// As configurations name it.
constexpr std::string_view name_of(AttentionChoice value) {
  switch (value) {
    case AttentionChoice::automatic:
      return "auto";
    case AttentionChoice::own:
      return "own";
    case AttentionChoice::cudnn:
      return "cudnn";
  }
  return {};
}

/// How a GPU is given what is computed again and again (Backend::replay).
enum class Launches : uint8_t {
  single,  // operation by operation
  graphs,  // as CUDA graphs: what was enqueued before is launched whole
};

/// What computes there. Throws Error (usage) when this build has nothing that does, saying what is missing.
BackendKind backend_for(DeviceChoice device);

}  // namespace lodestone
