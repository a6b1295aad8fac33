// Tokenizer: text to token ids, identical to Hugging Face's, whichever kind a model has.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lodestone {

struct TokenizerSpec;  // data/text/tokenizer_spec.h
class TokenizerKind;   // data/text/tokenizer_kind.h

/// Of BertNormalizer and WordPiece.
struct TokenizerOptions {
  bool clean_text = true;  // drop control characters, make all white space a blank
  bool lower_case = true;
  bool strip_accents = true;              // Hugging Face: follows lower_case unless given
  bool split_chinese_characters = true;   // each is a word
  int64_t max_characters_per_word = 100;  // longer words become the unknown token
  std::string continuing_prefix = "##";   // of tokens that do not begin a word
  bool operator==(const TokenizerOptions&) const = default;
};

class Tokenizer {
 public:
  /// What one thread keeps between calls: buffers and the ids of recent words. Makes encode 1.0 to 1.4 times faster on prose, and
  /// after the first texts it allocates nothing. Never shared between threads; may be used with several tokenizers in turn, and forgets all
  /// when they change.
  class Scratch {
   public:
    Scratch();
    Scratch(Scratch&&) noexcept;
    Scratch& operator=(Scratch&&) noexcept;
    ~Scratch();
    /// Bytes looked at in the vocabulary so far: tests hold it against the length of the text.
    int64_t steps() const;

   private:
    friend class Tokenizer;
    struct State;
    std::unique_ptr<State> state_;
  };

  /// From a model folder, as transformers' AutoTokenizer reads it: the vocabulary of tokenizer.json if present (BertNormalizer,
  /// BertPreTokenizer, WordPiece), else of vocab.txt; tokenizer_config.json says the rest, and a key that it lacks has the default of
  /// BertTokenizer. Throws Error (usage) with file and line or key: a type that is not supported, files that Hugging Face's programs
  /// would not read alike, a missing special token, a line that ends in CR LF, a last line that does not end (fault F41).
  static Tokenizer from_folder(const std::filesystem::path& folder);
  /// From a vocabulary of one token a line, with the special tokens [PAD] [UNK] [CLS] [SEP] [MASK]. Throws likewise.
  static Tokenizer from_vocab(const std::filesystem::path& vocab_txt, const TokenizerOptions& options);
  explicit Tokenizer(const TokenizerSpec& spec);
  explicit Tokenizer(std::unique_ptr<const TokenizerKind> kind);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Appends the ids of `text` (UTF-8; a byte that is not counts as U+FFFD) to ids. No special tokens are added; those
  /// written out in the text are recognised as Hugging Face does. Time is linear in text.size(). Several threads may call
  /// this at once, each with its own scratch.
  void encode(std::string_view text, Scratch& scratch, std::vector<int32_t>& ids) const;
  /// The same for an occasional text, without memory of earlier ones.
  void encode(std::string_view text, std::vector<int32_t>& ids) const;

  int32_t cls_id() const;
  int32_t sep_id() const;
  int32_t pad_id() const;
  int32_t unk_id() const;
  int32_t mask_id() const;
  int64_t vocab_size() const;                  // with added tokens and holes: ids are 0 .. vocab_size() - 1
  const std::string& token(int32_t id) const;  // as in the vocabulary, with prefix; "" of a hole
  /// Whether a token goes on with a word that tokens before it have begun.
  bool continues_word(int32_t id) const;
  /// Writes the tokenizer's files of a model folder into the existing folder `to`.
  void write_files(int64_t max_seq_length, const std::filesystem::path& to) const;
  /// XXH64 over everything that ids depend on, whichever files it came from: stored in corpora and checkpoints.
  uint64_t fingerprint() const;

 private:
  std::unique_ptr<const TokenizerKind> kind_;
};

}  // namespace lodestone
