#include "data/text/vocabulary_file.h"

#include <unordered_map>

#include "core/error.h"
#include "data/files/durable.h"
#include "data/files/utf8.h"
#include "data/text/unicode.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

/// Whether valid UTF-8 ends in white space behind something else: Hugging Face's tokenizers would drop it, other readers would not.
bool has_trailing_space(std::string_view token) {
  bool seen = false, last_is_space = false;
  for (size_t at = 0; at < token.size();) {
    const auto lead = static_cast<unsigned char>(token[at]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t c = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t i = 1; i < length; ++i) c = c << 6 | (static_cast<unsigned char>(token[at + i]) & 0x3Fu);
    last_is_space = describe(c).whitespace;
    seen = seen || !last_is_space;
    at += length;
  }
  return seen && last_is_space;
}

}  // namespace

std::string read_tokenizer_text(const fs::path& file) {
  constexpr size_t most_bytes = size_t{1} << 30;
  return read_text_file(file, most_bytes, ExitCode::usage);
}

bool fits_a_line(std::string_view token) { return token.find_first_of("\r\n") == std::string_view::npos && !has_trailing_space(token); }

std::vector<std::string> read_vocabulary_lines(const fs::path& file) {
  const std::string text = read_tokenizer_text(file);
  if (text.empty()) throw Error(ExitCode::usage, "F41", "the vocabulary is empty", "fetch the file again").at("file", file.string());
  std::vector<std::string> tokens;
  std::unordered_map<std::string_view, size_t> ids;
  const std::string_view all = text;
  for (size_t begin = 0; begin < all.size();) {
    const size_t id = tokens.size();
    const auto refuse = [&](const std::string& what, const std::string& remedy) {
      return Error(ExitCode::usage, "F41", what, remedy).at("file", file.string()).at("line", id + 1);
    };
    const size_t end = all.find('\n', begin);
    if (end == std::string_view::npos)
      throw refuse("the last line of the vocabulary does not end: the file may be cut off",
                   "fetch the file again, or add a newline if it is whole");
    const std::string_view token = all.substr(begin, end - begin);
    if (token.ends_with('\r')) throw refuse("the line ends in CR LF: every token would differ", "convert the file to LF");
    if (token.find('\r') != std::string_view::npos)
      throw refuse("a carriage return stands in the line, where Python would end it", "remove it; the line must stay");
    if (validate_utf8(token)) throw refuse("the token is not valid UTF-8", "fetch the file again");
    if (has_trailing_space(token)) throw refuse("white space stands behind the token", "remove it; the line must stay");
    if (static_cast<int64_t>(id) >= most_tokens)
      throw refuse("more tokens than this program takes", "check that this file is a vocabulary");
    if (const auto [at, fresh] = ids.emplace(token, id); !fresh) {
      tokens[at->second].clear();
      at->second = id;
    }
    tokens.emplace_back(token);
    begin = end + 1;
  }
  return tokens;
}

}  // namespace lodestone
