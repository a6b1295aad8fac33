// Deduplicator: did a row come before, exactly or nearly? The first one stays.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/cleaning/hash_set.h"
#include "data/cleaning/near_index.h"
#include "data/cleaning/pass.h"
#include "data/cleaning/row_texts.h"
#include "data/cleaning/words.h"

namespace lodestone {

/// How near-duplicates are looked for.
struct NearSettings {
  double threshold = 0.8;        // Jaccard index of the rows' sets of shingles, 0.3 to 1
  int words = 5;                 // of a shingle; a row of fewer words is one shingle
  std::filesystem::path folder;  // where shingles of kept rows are put meanwhile: 8 bytes each
};

/// Rows are the same when their query and their positives are, text by text: negatives and scores may differ. Near-duplicates are judged by
/// the words of query and positives, one behind the other.
class Deduplicator {
 public:
  Deduplicator(TextFields texts, Sameness sameness, std::optional<NearSettings> near);

  static constexpr std::string_view duplicate = "duplicate", near_duplicate = "near_duplicate";
  /// The verdict on a row, which is remembered when it is kept. A near-duplicate's note says which kept row it is like, counted from 1, and
  /// how much: "like": 17, "jaccard": 0.875. Throws Error (data, F30; storage; resource, F14).
  RowVerdict judge(std::span<const Field> fields);

  const HashSet& hashes() const { return hashes_; }
  /// Null: only equal rows are looked for.
  const NearIndex* near() const { return near_ ? &*near_ : nullptr; }

 private:
  void make_shingles();

  TextFields text_fields_;
  Sameness sameness_;
  size_t shingle_words_ = 0;
  Letters letters_;
  HashSet hashes_;
  std::optional<NearIndex> near_;
  std::vector<RowText> texts_;
  std::string key_, scratch_;
  std::vector<uint64_t> words_, shingles_;
};

/// The hashes of all runs of `length` words, or of all words where they are fewer, sorted, each once.
void shingle_hashes(std::span<const uint64_t> words, size_t length, std::vector<uint64_t>& out);

}  // namespace lodestone
