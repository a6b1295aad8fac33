// Which is the longest key that begins here? A double-array trie over bytes, built once.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace lodestone {

class Trie {
 public:
  struct Match {
    int64_t length = 0;  // bytes of the longest key that `text` begins with; 0 if there is none
    int32_t value = -1;  // its value
    int64_t steps = 0;   // bytes looked at: at most the length of the longest key + 1
  };

  /// From distinct, non-empty keys (any order) and their values, which are not negative. The keys are not kept.
  explicit Trie(std::vector<std::pair<std::string_view, int32_t>> keys);

  Match longest(std::string_view text) const {
    Match match;
    uint32_t base = nodes_[0].base;
    for (const char byte : text) {
      const uint32_t label = static_cast<unsigned char>(byte) + 1u;
      ++match.steps;
      const Node& node = nodes_[base + label];
      if (node.label != label) break;
      base = node.base;
      if (node.value >= 0) {
        match.value = node.value;
        match.length = match.steps;
      }
    }
    return match;
  }

 private:
  /// The child of a node by byte b lies at base + b + 1 and bears the label b + 1. No two nodes with children share a base,
  /// so the label alone proves whose child a slot holds; a free slot bears label 0. Childless nodes have base 0, where
  /// only the root's slot and free ones are.
  struct Node {
    uint32_t base = 0;
    uint16_t label = 0;
    int32_t value = -1;
  };
  std::vector<Node> nodes_;
};

}  // namespace lodestone
