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
  std::vector<std::string> tokens;  // by id; distinct
  int64_t word_piece_tokens = 0;    // ids below this one are WordPiece's vocabulary, the others only added tokens
  std::vector<AddedToken> added;
  std::string cls = "[CLS]", sep = "[SEP]", pad = "[PAD]", unk = "[UNK]", mask = "[MASK]";  // all of them in tokens
};

/// See Tokenizer::from_folder and Tokenizer::from_vocab for what is accepted and thrown.
TokenizerSpec read_tokenizer_folder(const std::filesystem::path& folder);
TokenizerSpec read_vocabulary(const std::filesystem::path& vocab_txt, const TokenizerOptions& options);

}  // namespace lodestone
