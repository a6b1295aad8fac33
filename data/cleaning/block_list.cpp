#include "data/cleaning/block_list.h"

#include <algorithm>

#include "data/records/texts.h"

namespace lodestone {

namespace {

bool is_host_byte(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

std::string_view trimmed(std::string_view text, std::string_view characters) {
  const size_t begin = text.find_first_not_of(characters);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(characters) - begin + 1);
}

/// Calls visit(line, number) for each line that is not blank, without the white space at its ends.
template <class Visit>
void for_each_entry(const std::filesystem::path& file, const Visit& visit) {
  int64_t number = 0;
  for (const std::string& line : read_texts(file, TextFormat::lines, "")) {
    ++number;
    if (const std::string_view entry = trimmed(line, " \t\r"); !entry.empty()) visit(entry, number);
  }
}

Error bad_entry(const std::string& what, const char* remedy, const std::filesystem::path& file, int64_t line) {
  return Error(ExitCode::data, "F30", what, remedy).at("file", file.string()).at("line", line);
}

}  // namespace

WordList::WordList(const std::filesystem::path& file, const Letters& letters) : letters_(letters) {
  for_each_entry(file, [&](std::string_view entry, int64_t line) {
    words_.clear();
    append_word_hashes(letters_, entry, scratch_, words_);
    if (words_.empty()) throw bad_entry("the line holds no word", "give words of letters and digits", file, line);
    phrases_.insert(sequence_hash(words_));
    lengths_.insert(words_.size());
  });
}

bool WordList::found_in(std::string_view text) {
  words_.clear();
  append_word_hashes(letters_, text, scratch_, words_);
  const std::span<const uint64_t> words(words_);
  for (const size_t length : lengths_)
    for (size_t first = 0; first + length <= words.size(); ++first)
      if (phrases_.contains(sequence_hash(words.subspan(first, length)))) return true;
  return false;
}

DomainList::DomainList(const std::filesystem::path& file) {
  for_each_entry(file, [&](std::string_view entry, int64_t line) {
    if (entry.starts_with("*.")) entry.remove_prefix(2);
    std::string domain(entry);
    std::transform(domain.begin(), domain.end(), domain.begin(), lower);
    if (!std::all_of(domain.begin(), domain.end(), is_host_byte) || trimmed(domain, ".-") != domain)
      throw bad_entry("the line is no domain", "give domains such as example.com, in their ASCII form and without a path", file, line);
    domains_.insert(std::move(domain));
  });
}

bool DomainList::holds(std::string_view host) const {
  for (;;) {
    if (domains_.contains(std::string(host))) return true;
    const size_t dot = host.find('.');
    if (dot == std::string_view::npos) return false;
    host.remove_prefix(dot + 1);
  }
}

bool DomainList::found_in(std::string_view text) {
  for (size_t dot = text.find('.'); dot != std::string_view::npos;) {
    size_t begin = dot, end = dot;
    while (begin > 0 && is_host_byte(text[begin - 1])) --begin;
    while (end < text.size() && is_host_byte(text[end])) ++end;
    const std::string_view host = trimmed(text.substr(begin, end - begin), ".-");
    if (host.find('.') != std::string_view::npos) {
      lower_.assign(host);
      std::transform(lower_.begin(), lower_.end(), lower_.begin(), lower);
      if (holds(lower_)) return true;
    }
    dot = text.find('.', end);
  }
  return false;
}

}  // namespace lodestone
