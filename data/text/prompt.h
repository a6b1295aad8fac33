// What a prompt adds to the ids of a text, and when that equals tokenising prompt and text as one string.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/text/tokenizer.h"

namespace lodestone {

/// Appends the ids of a text, as Tokenizer::encode does.
using EncodeText = std::function<void(std::string_view, std::vector<int32_t>&)>;

/// The ids of a prompt, which may stand before the ids of any text only if no token reaches across its end. That is checked
/// on texts starting with a letter, a digit, a Chinese character, punctuation, a combining mark, and with every ending of
/// a special token; otherwise throws Error (usage) that names prompt and text. An empty prompt has no ids.
std::vector<int32_t> prompt_ids(std::string_view prompt, const EncodeText& encode, std::span<const std::string> special_tokens);

inline std::vector<int32_t> prompt_ids(std::string_view prompt, const Tokenizer& tokenizer) {
  std::vector<std::string> special_tokens;
  for (const int32_t id : {tokenizer.cls_id(), tokenizer.sep_id(), tokenizer.pad_id(), tokenizer.unk_id(), tokenizer.mask_id()}) {
    special_tokens.push_back(tokenizer.token(id));
  }
  return prompt_ids(
      prompt, [&](std::string_view text, std::vector<int32_t>& ids) { tokenizer.encode(text, ids); }, special_tokens);
}

}  // namespace lodestone
