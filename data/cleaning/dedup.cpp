#include "data/cleaning/dedup.h"

#include <algorithm>

namespace lodestone {

namespace {

/// Closes a text in a key with its part and its length, so that no two rows have the same key by cutting their texts elsewhere.
void close_text(RecordPart part, size_t begin, std::string& key) {
  const uint64_t end = (key.size() - begin) << 2 | static_cast<uint64_t>(part);
  key.append(reinterpret_cast<const char*>(&end), sizeof end);
}

}  // namespace

Deduplicator::Deduplicator(TextFields texts, Sameness sameness, std::optional<NearSettings> near)
    : text_fields_(std::move(texts)), sameness_(sameness) {
  if (!near) return;
  shingle_words_ = static_cast<size_t>(near->words);
  near_.emplace(near->threshold, near->folder);
}

void Deduplicator::make_shingles() {
  words_.clear();
  for (const RowText& text : texts_)
    if (text.part != RecordPart::negative) append_word_hashes(letters_, text.text, scratch_, words_);
  shingle_hashes(words_, shingle_words_, shingles_);
}

RowVerdict Deduplicator::judge(std::span<const Field> fields) {
  text_fields_.read(fields, texts_);
  key_.clear();
  for (const RowText& text : texts_) {
    if (text.part == RecordPart::negative) continue;
    const size_t begin = key_.size();
    append_form(letters_, text.text, sameness_, scratch_, key_);
    close_text(text.part, begin, key_);
  }
  if (!hashes_.insert(checksum(key_))) return {duplicate, {}};
  if (!near_) return {};
  make_shingles();
  const std::optional<NearIndex::Near> found = near_->find_or_keep(shingles_);
  if (!found) return {};
  return {near_duplicate, cat("\"like\":", found->set + 1, ",\"jaccard\":", Json(found->jaccard).dump(), ",")};
}

void shingle_hashes(std::span<const uint64_t> words, size_t length, std::vector<uint64_t>& out) {
  out.clear();
  if (words.empty()) return;
  length = std::min(length, words.size());
  for (size_t first = 0; first + length <= words.size(); ++first) out.push_back(sequence_hash(words.subspan(first, length)));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
}

}  // namespace lodestone
