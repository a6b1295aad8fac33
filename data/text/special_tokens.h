// Which tokens are special, and which are recognised as written? What tokenizer_config.json, special_tokens_map.json and added_tokens.json
// say of that, together, as transformers reads them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "data/text/json_settings.h"
#include "data/text/tokenizer_spec.h"

namespace lodestone {

using TokenIds = std::unordered_map<std::string_view, int32_t>;

/// Of all tokens that have a text. Views into the spec.
TokenIds ids_of(const TokenizerSpec& spec);

enum class VocabularyForm : uint8_t { lines, json };

/// Throws Error (usage, "F41") unless all five special tokens are in the vocabulary, which was read from `file`.
void require_special_tokens(const std::filesystem::path& file, VocabularyForm form, const TokenizerSpec& spec);

class SpecialTokens {
 public:
  /// What becomes of tokenizer.json's own added tokens where tokenizer_config.json lists some: transformers' BERT classes then forget them.
  enum class Listed : uint8_t { instead_of_json, beside_json };

  explicit SpecialTokens(const std::filesystem::path& folder);

  /// tokenizer_config.json; empty where there is none.
  const JsonSettings& config() const { return config_; }
  /// Sets spec.cls, sep, pad, unk and mask where the files name them.
  void set_names(TokenizerSpec& spec) const;
  /// Adds to spec.added, and behind its tokens those that the vocabulary lacks. `json`: tokenizer.json, or null. Throws Error (usage,
  /// "tokenizer") naming file and key: an id that Hugging Face would not give, a token that is recognised otherwise than as written.
  void add_to(TokenizerSpec& spec, const JsonSettings* json, Listed listed) const;

 private:
  /// The file that decides on a key, and its value; no value where neither has the key.
  struct Value {
    const JsonSettings* file;
    const JsonSettings::Json* value;
  };
  Value value_of(const std::string& key) const;
  void set_name(const char* key, std::string& name) const;
  void add_named(TokenizerSpec& spec) const;

  JsonSettings config_, map_, added_;
  bool has_list_;  // tokenizer_config.json has added_tokens_decoder, so that special_tokens_map.json and added_tokens.json are not read
};

/// Adds the tokens that tokenizer.json alone adds.
void add_tokens_of_json(const JsonSettings& json, TokenizerSpec& spec);

}  // namespace lodestone
