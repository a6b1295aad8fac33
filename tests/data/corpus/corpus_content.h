// All of a corpus as text, which tests of damage compare.
#pragma once

#include <string>

#include "core/error.h"
#include "data/corpus/corpus.h"

namespace lodestone::test {

/// Reads every row.
inline std::string content(const Corpus& corpus) {
  std::string all;
  PackedRow row;
  const auto add = [&](const PackedText& text) {
    for (const int32_t id : text.ids) all += cat(id, ' ');
    all += cat('#', text.text_hash, '@', text.document, '|');
  };
  for (int64_t r = 0; r < corpus.rows(); ++r) {
    corpus.read(r, row);
    add(row.query);
    for (const PackedText& text : row.positives) add(text);
    for (const PackedText& text : row.negatives) add(text);
    for (const double score : row.teacher_scores) all += cat(score, ' ');
    for (const std::string& answer : corpus.answers(r)) all += answer;
    all += cat(corpus.sources().at(static_cast<size_t>(row.source)).name,
               row.prompt < 0 ? "" : corpus.prompts().at(static_cast<size_t>(row.prompt)), row.label, row.score, '\n');
  }
  return all;
}

}  // namespace lodestone::test
