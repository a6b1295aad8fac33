// Transport: what carries the tensors of devices between ranks.
#pragma once

#include <cstdint>
#include <string_view>

namespace lodestone {

enum class Transport : uint8_t {
  automatic,  // NCCL where the ranks can use it, else staged; neither for one rank
  nccl,       // from GPU to GPU; one rank for each
  staged,     // through the host's memory and MPI; ranks may share a GPU
};

/// As configurations name it.
constexpr std::string_view name_of(Transport value) {
  switch (value) {
    case Transport::automatic:
      return "auto";
    case Transport::nccl:
      return "nccl";
    case Transport::staged:
      return "staged";
  }
  return {};
}

}  // namespace lodestone
