// The tokenizer's files of a model folder: copied as they are where every program reads them alike, else made from what they say together.
#pragma once

#include <filesystem>

#include "data/text/tokenizer_spec.h"

namespace lodestone {

/// Copies vocab.txt, tokenizer.json, tokenizer_config.json, special_tokens_map.json and added_tokens.json, those that exist,
/// from `source` into the existing folder `to`, byte for byte, and makes a missing tokenizer.json, and missing
/// tokenizer_config.json with special_tokens_map.json. Where
/// tokenizer.json or vocab.txt read alone says something else than the folder does for AutoTokenizer, that file is made anew; a vocab.txt
/// that could not hold the tokens is left out.
/// Throws as read_tokenizer_folder(source) does.
void write_tokenizer_files(const std::filesystem::path& source, const std::filesystem::path& to);

/// Makes vocab.txt (unless a token fits no line of it), tokenizer.json, tokenizer_config.json and special_tokens_map.json.
void write_tokenizer_files(const TokenizerSpec& spec, int64_t max_seq_length, const std::filesystem::path& to);

/// Whether both vocab.txt and tokenizer.json of a folder give the tokenizer of this fingerprint, each without the other's vocabulary.
bool is_told_twice(const std::filesystem::path& folder, uint64_t fingerprint);

/// Reads the files of `folder` in each way that Hugging Face's programs have (TokenizerReading). Throws Error (internal, "export") naming
/// the way in which they are not the tokenizer of this fingerprint.
void require_tokenizer_files(const std::filesystem::path& folder, uint64_t fingerprint);

}  // namespace lodestone
