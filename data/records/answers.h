// What a language model wrote or expected, row by row, beside what it should have.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lodestone {

struct GeneratedAnswers {
  std::vector<std::string> predictions;              // of rows that have one
  std::vector<std::vector<std::string>> references;  // of each of those, one at least
  double log_probability = 0;                        // sum over all tokens, natural logarithm
  int64_t tokens = 0;
  std::vector<std::string> ignored = {};  // fields that mean nothing here, sorted
};

/// JSON lines, plain or .gz: rows of `prediction` and `answers` (a text or a list), or of `log_probabilities` (a number or a list of one
/// per token), or of both. Throws Error (data): F30 with file and line, for a log-probability above 0 too; F32 for a file without rows.
GeneratedAnswers read_answers(const std::filesystem::path& file);

}  // namespace lodestone
