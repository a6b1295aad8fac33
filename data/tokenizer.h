// BERT WordPiece: text to token ids, identical to Hugging Face's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lodestone {

struct TokenizerOptions {
  bool lower_case = true;
  bool strip_accents = true;             // Hugging Face: follows lower_case unless given
  bool split_chinese_characters = true;
  int64_t max_characters_per_word = 100; // longer words become [UNK]
};

class Tokenizer {
 public:
  /// From a model folder: tokenizer.json if present (model.type WordPiece, BertNormalizer, BertPreTokenizer), else
  /// vocab.txt with tokenizer_config.json. Throws Error (usage) with file and line: a missing special token, a duplicate ...
  static Tokenizer from_folder(const std::filesystem::path& folder);
  static Tokenizer from_vocab(const std::filesystem::path& vocab_txt, const TokenizerOptions& options);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Appends the ids of `text` (valid UTF-8) to ids. No special tokens are added; those written out in the text are
  /// recognised as Hugging Face does. Time is linear in text.size(). May be called from several threads.
  void encode(std::string_view text, std::vector<int32_t>& ids) const;

  int32_t cls_id() const;
  int32_t sep_id() const;
  int32_t pad_id() const;
  int32_t unk_id() const;
  int32_t mask_id() const;
  int64_t vocab_size() const;
  const std::string& token(int32_t id) const;
  const TokenizerOptions& options() const;
  /// XXH64 over vocabulary and options: stored in corpora and checkpoints.
  uint64_t fingerprint() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lodestone
