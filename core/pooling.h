// Pooling: which vector of a text's tokens stands for the text.
#pragma once

#include <cstdint>
#include <string_view>

namespace lodestone {

enum class Pooling : uint8_t {
  cls,         // the first token's
  mean,        // the mean of all
  last_token,  // the last one's
};

/// As configurations name it.
constexpr std::string_view name_of(Pooling value) {
  switch (value) {
    case Pooling::cls:
      return "cls";
    case Pooling::mean:
      return "mean";
    case Pooling::last_token:
      return "last_token";
  }
  return {};
}

}  // namespace lodestone
