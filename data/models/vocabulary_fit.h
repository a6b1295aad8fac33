// Do a tokenizer and the embedding table of a model belong together?
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/nn/config.h"
#include "data/text/tokenizer.h"

namespace lodestone {

/// Throws Error (checkpoint, "F42") naming `folder` when the tokenizer gives ids beyond the table.
void require_vocabulary(const Tokenizer& tokenizer, const EncoderConfig& encoder, const std::filesystem::path& folder);

/// Throws likewise. Returns a line for the user when the vocabulary is shorter than the table, or nothing when vocab.txt and
/// tokenizer.json of `folder` both say so: then the table was padded, and no file cut.
std::vector<std::string> check_vocabulary(const Tokenizer& tokenizer, const EncoderConfig& encoder, const std::filesystem::path& folder);

}  // namespace lodestone
