#include "tests/cuda/doubles/attention.h"

#include <cstdlib>

namespace lodestone::doubles {

AttentionDouble& attention_double() {
  static AttentionDouble state = [] {
    AttentionDouble said;
    if (const char* const refuses = std::getenv("LODESTONE_DOUBLE_CUDNN_REFUSES"); refuses != nullptr) said.refuses = refuses;
    return said;
  }();
  return state;
}

}  // namespace lodestone::doubles
