// Block lists: does a text hold a word or a host that nobody wants to train on?
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "data/cleaning/words.h"

namespace lodestone {

/// Words and phrases, one a line of a file. They are found as whole words, without regard to capitals and to what stands between words;
/// those of scripts without blanks wherever their letters follow each other.
class WordList {
 public:
  /// Blank lines are passed over. Throws Error (data): F30 a line without a word, F31 not UTF-8, F32 an empty file.
  WordList(const std::filesystem::path& file, const Letters& letters);
  bool found_in(std::string_view text);

 private:
  const Letters& letters_;
  std::unordered_set<uint64_t> phrases_;  // sequence_hash of their words
  std::set<size_t> lengths_;              // words of a phrase, as many as occur
  std::vector<uint64_t> words_;
  std::string scratch_;
};

/// Domains, one a line of a file, each with all hosts below it.
class DomainList {
 public:
  /// Blank lines are passed over, as is `*.` before a domain. Throws Error (data): F30 a line that is no domain, F31, F32 as above.
  explicit DomainList(const std::filesystem::path& file);
  /// Whether a text names such a host, in a link or alone: a run of ASCII letters, digits, hyphens and dots, with a dot in it.
  bool found_in(std::string_view text);

 private:
  bool holds(std::string_view host) const;
  std::unordered_set<std::string> domains_;
  std::string lower_;
};

}  // namespace lodestone
