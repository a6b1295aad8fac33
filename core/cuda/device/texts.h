// DeviceTexts as kernels read them.
#pragma once

#include "core/cuda/device/values.h"
#include "core/device_texts.h"

namespace lodestone::cuda {

struct TextsView {
  const int32_t* ids = nullptr;
  const int64_t* offsets = nullptr;
  const uint64_t* keys = nullptr;
  const int64_t* second = nullptr;  // null: every token has type 0
  const int32_t *text_of = nullptr, *place = nullptr;
  int64_t texts = 0, tokens = 0;

  explicit TextsView(const DeviceTexts& t)
      : ids(elements<int32_t>(t.ids)),
        offsets(elements<int64_t>(t.offsets)),
        keys(elements<uint64_t>(t.keys)),
        second(t.second.empty() ? nullptr : elements<int64_t>(t.second)),
        text_of(elements<int32_t>(t.text_of)),
        place(elements<int32_t>(t.place)),
        texts(t.texts()),
        tokens(t.tokens()) {}

  /// Of a token.
  __device__ __forceinline__ int type(int64_t s) const { return second != nullptr && place[s] >= second[text_of[s]] ? 1 : 0; }
  /// Of a token's text, for dropout; 0 where nothing is dropped.
  __device__ __forceinline__ uint64_t key(int64_t s) const { return keys != nullptr ? keys[text_of[s]] : 0; }
};

}  // namespace lodestone::cuda
