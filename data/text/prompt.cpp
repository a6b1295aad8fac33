// How the end of a prompt is checked to be a token boundary.
#include "data/text/prompt.h"

#include "core/error.h"

namespace lodestone {

std::vector<int32_t> prompt_ids(std::string_view prompt, const EncodeText& encode, std::span<const std::string> special_tokens) {
  std::vector<int32_t> ids;
  if (prompt.empty()) return ids;
  encode(prompt, ids);
  // a e-acute A 1 fullwidth-1 CJK Hangul ! # fullwidth-colon combining-acute devanagari-vowel-sign
  std::vector<std::string> texts = {"a", "\u00e9", "A", "1", "\uff11", "\u4e2d", "\uac00", "!", "#", "\uff1a", "\u0301a", "\u093fa"};
  for (const std::string& token : special_tokens) {
    for (size_t begin = 1; begin < token.size(); ++begin) texts.push_back(token.substr(begin));
  }
  std::vector<int32_t> apart, together;
  for (const std::string& text : texts) {
    apart = ids;
    together.clear();
    encode(text, apart);
    encode(std::string(prompt) + text, together);
    if (apart != together) {
      throw Error(ExitCode::usage, "prompt",
                  cat("the prompt \"", prompt, "\" does not end where a token ends: a text that starts with \"", text,
                      "\" would be tokenised differently behind it"),
                  "end the prompt with a space or a punctuation mark");
    }
  }
  return ids;
}

}  // namespace lodestone
