// vocab.txt: one token a line, its id the number of the line.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lodestone {

inline constexpr int64_t most_tokens = 1 << 24;

/// A whole file of a tokenizer. Throws Error (usage, "tokenizer") naming it.
std::string read_tokenizer_text(const std::filesystem::path& file);

/// The tokens by id. Of equal lines the last counts, as for Hugging Face: the earlier ones become holes, "", which no text is cut into.
/// Throws Error (usage, "F41") with the line: CR LF, white space behind a token, bytes that are no UTF-8, a last line that does not end.
std::vector<std::string> read_vocabulary_lines(const std::filesystem::path& file);

}  // namespace lodestone
