// The tokenizer's files of a model folder: copied as they are, or made from a bare vocabulary.
#pragma once

#include <filesystem>

#include "data/text/tokenizer.h"

namespace lodestone {

/// Copies vocab.txt, tokenizer.json, tokenizer_config.json, special_tokens_map.json and added_tokens.json, those that exist,
/// from `source` into the existing folder `to`, byte for byte, and makes those of the first four that are missing from
/// vocab.txt and tokenizer_config.json, so that Hugging Face's AutoTokenizer gives the same ids.
/// Throws Error (checkpoint) when there is neither vocab.txt nor tokenizer.json.
void write_tokenizer_files(const std::filesystem::path& source, const std::filesystem::path& to);

/// Makes all four from a vocabulary, one token a line.
void write_tokenizer_files(const std::filesystem::path& vocab_txt, const TokenizerOptions& options, int64_t max_seq_length,
                           const std::filesystem::path& to);

}  // namespace lodestone
