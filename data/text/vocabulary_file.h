// vocab.txt: one token a line, its id the number of the line.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lodestone {

inline constexpr int64_t most_tokens = 1 << 24;

/// A whole file of a tokenizer, of at most 1 GiB. Throws Error (usage) naming it: "missing" with the reason, "too-large".
std::string read_tokenizer_text(const std::filesystem::path& file);

/// The tokens by id. Of equal lines the last counts, as for Hugging Face: the earlier ones become holes, "", which no text is cut into.
/// Throws Error (usage, "F41") with the line: CR, white space behind a token, bytes that are no UTF-8, a last line that does not end.
std::vector<std::string> read_vocabulary_lines(const std::filesystem::path& file);

/// Whether a line can hold this token, which is valid UTF-8: it has no line end, and no white space behind it.
bool fits_a_line(std::string_view token);

}  // namespace lodestone
