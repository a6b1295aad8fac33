// What do the files of a model folder say about its tokenizer?
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/text/added_tokens.h"
#include "data/text/tokenizer.h"

namespace lodestone {

struct TokenizerSpec {
  TokenizerOptions options;
  std::vector<std::string> tokens;  // by id; distinct, but for holes: "", which no text is cut into
  int64_t word_piece_tokens = 0;    // ids below this one are WordPiece's vocabulary, the others only added tokens
  std::vector<AddedToken> added;
  std::string cls = "[CLS]", sep = "[SEP]", pad = "[PAD]", unk = "[UNK]", mask = "[MASK]";  // all of them in tokens
};

/// The programs that read a folder's files, and not all the same ones.
enum class TokenizerReading : uint8_t {
  auto_tokenizer,  // transformers' AutoTokenizer. A BERT class takes the vocabulary of tokenizer.json, and everything else from
                   // tokenizer_config.json or its own defaults; PreTrainedTokenizerFast takes all of tokenizer.json
  tokenizer_json,  // tokenizers' Tokenizer.from_file: tokenizer.json alone. The names of padding and mask, which it lacks, are the config's
  vocabulary,      // what has no tokenizer.json: vocab.txt, and the rest from tokenizer_config.json or the defaults of a BERT class
};

/// The readings that the folder has files for; of a folder that AutoTokenizer reads by tokenizer.json alone, vocab.txt counts for nothing.
std::vector<TokenizerReading> tokenizer_readings(const std::filesystem::path& folder);
/// What is printed of a reading.
const char* name_of(TokenizerReading reading);

/// See Tokenizer::from_folder and Tokenizer::from_vocab for what is accepted and thrown.
TokenizerSpec read_tokenizer_folder(const std::filesystem::path& folder, TokenizerReading reading = TokenizerReading::auto_tokenizer);
/// Throws Error (usage, "tokenizer") naming file and key when Hugging Face would not read a pair of texts as [CLS] first [SEP] second [SEP]
/// with token type 1 from the second on.
void require_pairs(const std::filesystem::path& folder);
TokenizerSpec read_vocabulary(const std::filesystem::path& vocab_txt, const TokenizerOptions& options);

/// XXH64 over everything that ids depend on, whichever files it came from.
uint64_t fingerprint_of(const TokenizerSpec& spec);

}  // namespace lodestone
