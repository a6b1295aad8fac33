// Similarity: how near two vectors are. Everything that ranks, correlates or mines goes by the model folder's.
#pragma once

#include <cstdint>
#include <string_view>

namespace lodestone {

enum class Similarity : uint8_t { cosine, dot };

/// As configurations and model folders name it.
constexpr std::string_view name_of(Similarity value) {
  switch (value) {
    case Similarity::cosine:
      return "cosine";
    case Similarity::dot:
      return "dot";
  }
  return {};
}

}  // namespace lodestone
