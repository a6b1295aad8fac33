#include "launch/evaluation/text_scores.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <vector>

#include "core/error.h"
#include "data/text/unicode.h"

namespace lodestone {

namespace {

/// The code points of valid UTF-8.
std::u32string code_points(std::string_view text) {
  std::u32string out;
  for (const char byte : text) {
    const auto b = static_cast<uint8_t>(byte);
    if ((b & 0xC0) != 0x80)
      out += b < 0x80 ? b : b < 0xE0 ? b & 0x1Fu : b < 0xF0 ? b & 0x0Fu : b & 0x07u;
    else if (!out.empty())
      out.back() = out.back() << 6 | (b & 0x3Fu);
  }
  return out;
}

/// What Python's str.split() parts words by.
bool is_blank(char32_t c) { return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || describe(c).whitespace; }

/// string.punctuation of Python.
bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

void append(std::string& text, char32_t c) {
  char bytes[4];
  text.append(bytes, put_utf8(c, bytes));
}

std::vector<std::string> words_of(const std::string& normalised) {
  std::istringstream in(normalised);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

double longest_common_subsequence(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<int64_t> row(b.size() + 1), above(row);
  for (const std::string& word : a) {
    row.swap(above);
    for (size_t j = 0; j < b.size(); ++j) row[j + 1] = word == b[j] ? above[j] + 1 : std::max(above[j + 1], row[j]);
  }
  return static_cast<double>(row.back());
}

/// The largest of value(reference).
template <class Value>
double best_of(std::span<const std::string> references, Value value) {
  LODE_CHECK(!references.empty(), "an answer without a reference");
  double best = 0;
  for (const std::string& reference : references) best = std::max(best, value(reference));
  return best;
}

}  // namespace

std::string normalise_answer(std::string_view text) {
  std::string out, word;
  const auto end_word = [&] {
    if (word != "a" && word != "an" && word != "the")
      out += word;
    else
      out += ' ';
    word.clear();
  };
  for (const char32_t upper : code_points(text))
    for (const char32_t c : to_lower(upper)) {
      if (is_ascii_punctuation(c)) continue;
      if (is_blank(c) || describe(c).punctuation) {
        end_word();
        append(out, is_blank(c) ? U' ' : c);
      } else {
        append(word, c);
      }
    }
  end_word();
  std::string joined;
  for (const std::string& part : words_of(out)) joined += (joined.empty() ? "" : " ") + part;
  return joined;
}

double exact_match(std::string_view answer, std::span<const std::string> references) {
  const std::string given = normalise_answer(answer);
  return best_of(references, [&](const std::string& reference) { return normalise_answer(reference) == given ? 1.0 : 0.0; });
}

double rouge_l(std::string_view answer, std::span<const std::string> references) {
  const std::vector<std::string> given = words_of(normalise_answer(answer));
  return best_of(references, [&](const std::string& reference) {
    const std::vector<std::string> wanted = words_of(normalise_answer(reference));
    const auto words = static_cast<double>(given.size() + wanted.size());
    return words > 0 ? 2 * longest_common_subsequence(given, wanted) / words : 0.0;
  });
}

double perplexity(double log_probability, double tokens) {
  LODE_CHECK(tokens > 0, "perplexity of ", tokens, " tokens");
  return std::exp(-log_probability / tokens);
}

}  // namespace lodestone
