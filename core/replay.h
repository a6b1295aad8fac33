// ReplayName: what tells a stretch of operations from all others, so that a backend may enqueue it again without being told it again.
#pragma once

#include <bit>
#include <compare>
#include <cstdint>
#include <vector>

#include "core/device_texts.h"
#include "core/tensor.h"

namespace lodestone {

/// Everything that decides which operations a stretch consists of and which memory they touch, as words. What lies in that memory is no
/// part of it. Equal names must mean equal stretches: whoever leaves something out gets the results of another one.
class ReplayName {
 public:
  ReplayName& add(uint64_t word) {
    words_.push_back(word);
    return *this;
  }
  ReplayName& add(const std::byte* address) { return add(std::bit_cast<uint64_t>(address)); }
  /// Where it lies, its dtype and its shape.
  ReplayName& add(ConstTensor x) {
    add(x.bytes()).add(static_cast<uint64_t>(x.dtype())).add(static_cast<uint64_t>(x.shape().rank()));
    for (size_t i = 0; i < x.shape().rank(); ++i) add(static_cast<uint64_t>(x.dim(i)));
    return *this;
  }
  /// Their tensors, and their longest text, by which operations decide how much they start.
  ReplayName& add(const DeviceTexts& texts) {
    for (const ConstTensor& x : {texts.ids, texts.offsets, texts.keys, texts.second, texts.text_of, texts.place}) add(x);
    return add(static_cast<uint64_t>(texts.longest));
  }

  friend auto operator<=>(const ReplayName&, const ReplayName&) = default;

 private:
  std::vector<uint64_t> words_;
};

}  // namespace lodestone
