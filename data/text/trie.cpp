// Building the double array: nodes are placed in depth-first order, each at the first base where its children fit.
#include "data/text/trie.h"

#include <algorithm>

#include "core/error.h"

namespace lodestone {
namespace {

constexpr uint32_t label_count = 256;

/// Finds bases: the slots that are taken, the bases that are taken, and where looking further has become worth while.
class Places {
 public:
  /// The lowest base >= label_count, not yet given out, at which the slots base + label are free for all labels (ascending).
  uint32_t take(const std::vector<uint32_t>& labels) {
    uint32_t full = 0;
    for (uint32_t slot = start_;; ++slot) {
      grow(slot + 2 * label_count + 2);
      if (slot_taken_[slot]) {
        ++full;
        continue;
      }
      const uint32_t base = slot - labels.front();
      if (base < label_count || base_taken_[base]) continue;
      if (std::any_of(labels.begin(), labels.end(), [&](uint32_t label) { return slot_taken_[base + label]; })) continue;
      if (full > (slot - start_) / 20 * 19) start_ = slot;  // nearly all of what was passed is full: do not pass it again
      base_taken_[base] = true;
      for (const uint32_t label : labels) slot_taken_[base + label] = true;
      return base;
    }
  }

 private:
  void grow(size_t size) {
    if (slot_taken_.size() >= size) return;
    slot_taken_.resize(2 * size);
    base_taken_.resize(2 * size);
  }
  std::vector<bool> slot_taken_, base_taken_;
  uint32_t start_ = label_count + 1;
};

struct Work {
  uint32_t slot;       // of the node
  size_t first, last;  // the keys below it, sorted
  size_t depth;        // bytes of those keys that lead to it
};

}  // namespace

Trie::Trie(std::vector<std::pair<std::string_view, int32_t>> keys) : nodes_(2 * label_count + 1) {
  std::sort(keys.begin(), keys.end());
  Places places;
  std::vector<Work> todo;
  if (!keys.empty()) todo.push_back({.slot = 0, .first = 0, .last = keys.size(), .depth = 0});
  std::vector<uint32_t> labels;
  std::vector<size_t> starts;
  while (!todo.empty()) {
    const Work work = todo.back();
    todo.pop_back();
    labels.clear();
    starts.clear();
    for (size_t k = work.first; k < work.last; ++k) {
      LODE_CHECK(keys[k].first.size() > work.depth, "trie: empty or repeated key");
      const uint32_t label = static_cast<unsigned char>(keys[k].first[work.depth]) + 1u;
      if (!labels.empty() && labels.back() == label) continue;
      labels.push_back(label);
      starts.push_back(k);
    }
    starts.push_back(work.last);
    const uint32_t base = places.take(labels);
    nodes_[work.slot].base = base;
    nodes_.resize(std::max<size_t>(nodes_.size(), base + label_count + 1));
    for (size_t i = 0; i < labels.size(); ++i) {
      const uint32_t slot = base + labels[i];
      Node& child = nodes_[slot];
      child.label = static_cast<uint16_t>(labels[i]);
      size_t first = starts[i];
      if (keys[first].first.size() == work.depth + 1) child.value = keys[first++].second;
      if (first < starts[i + 1]) todo.push_back({.slot = slot, .first = first, .last = starts[i + 1], .depth = work.depth + 1});
    }
  }
}

}  // namespace lodestone
