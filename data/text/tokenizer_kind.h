// What one kind of tokenizer does: the seam behind Tokenizer. Another kind (byte-level BPE, SentencePiece) is one more class.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lodestone {

struct TokenizerSpec;  // data/text/tokenizer_spec.h

/// What every tokenizer has: tokens by id, the special ones among them, and a name for all that ids depend on.
struct Vocabulary {
  std::vector<std::string> tokens;
  int32_t cls = 0, sep = 0, pad = 0, unk = 0, mask = 0;
  uint64_t fingerprint = 0;  // differs between kinds too
};

/// Immutable: several threads may call it at once, each with a memory of its own.
class TokenizerKind {
 public:
  /// What one thread keeps between calls, made by the kind that it is used with.
  class Memory {
   public:
    virtual ~Memory() = default;
    /// Bytes looked at in the vocabulary so far.
    virtual int64_t steps() const = 0;
  };
  enum class Remember : uint8_t { nothing, words };

  virtual ~TokenizerKind() = default;
  virtual std::unique_ptr<Memory> make_memory(Remember remember) const = 0;
  /// As Tokenizer::encode. `memory` was made by a tokenizer of the same fingerprint.
  virtual void encode(std::string_view text, Memory& memory, std::vector<int32_t>& ids) const = 0;
  /// Whether a token goes on with a word that tokens before it have begun: what is masked together.
  virtual bool continues_word(int32_t id) const = 0;
  /// As Tokenizer::write_files.
  virtual void write_files(int64_t max_seq_length, const std::filesystem::path& to) const = 0;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  explicit TokenizerKind(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

 private:
  Vocabulary vocabulary_;
};

/// BERT's WordPiece (data/text/wordpiece_tokenizer.cpp).
std::unique_ptr<const TokenizerKind> make_word_piece(const TokenizerSpec& spec);

}  // namespace lodestone
