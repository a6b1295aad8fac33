// Corpus: all packed HDF5 shards of a data set as one indexed, verified, read-only set of rows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lodestone {

/// One text of a row: ids without special tokens and prompt. Views into the corpus' memory, valid until the next read.
struct PackedText {
  std::span<const int32_t> ids;
  uint64_t text_hash = 0;  // XXH64 of the UTF-8 text
  uint64_t document = 0;   // hash of source and document id (data/records/records.h); equal to text_hash where the input names none
};

/// One row as read. Scored pairs have query = sentence1, one positive = sentence2, and a score.
struct PackedRow {
  PackedText query;
  std::vector<PackedText> positives, negatives;
  int32_t source = 0;                  // index into Corpus::sources()
  int32_t prompt = -1;                 // index into Corpus::prompts(), -1: none of its own
  int64_t label = -1;                  // class label, -1: none
  double score = 0;                    // NaN: none
  std::vector<double> teacher_scores;  // positives then negatives; empty: none
};

struct CorpusSource {
  std::string name;
  int64_t rows = 0;
};

/// Rows are numbered 0 .. rows()-1 over the whole corpus in manifest order: the global row id. row_of() lists
/// the rows of one source. Not thread-safe: one thread makes all calls (HDF5).
class Corpus {
 public:
  /// Opens a folder written by `lodestone pack`. Verifies manifest, row counts and complete marks, layouts and sizes.
  /// Throws Error (data) with file and dataset.
  static Corpus open(const std::filesystem::path& folder);
  Corpus(Corpus&&) noexcept;
  Corpus& operator=(Corpus&&) noexcept;
  ~Corpus();

  int64_t rows() const;
  const std::vector<CorpusSource>& sources() const;
  const std::vector<std::string>& prompts() const;
  /// Global id of the k-th row of a source, k in [0, sources()[s].rows). O(1) or O(log shards); reads no token data.
  int64_t row_of(int32_t source, int64_t k) const;
  /// Reads one row. First touch of a chunk verifies it through the library (fletcher32), later reads use its mapped address.
  /// Throws Error (data) with file, dataset and row.
  void read(int64_t row, PackedRow& out) const;
  /// The same without the ids of texts, which are not read from disk.
  void read_without_ids(int64_t row, PackedRow& out) const;
  /// Throws Error (data, F36) where a shard is no longer the file that was opened, by its size, time of modification and inode. read()
  /// looks about once a second at the shards that are in use, and verifies a few touched chunks again. May be called by any thread.
  void require_unchanged() const;
  /// Reference answers of a row, as text; empty where the input gave none.
  std::vector<std::string> answers(int64_t row) const;
  /// Bytes that reading takes: tables of all shards, and one chunk while it is checked. Neither the library's own (at most 32 files are
  /// open in it) nor mapped pages, which are the system's cache.
  size_t memory_bytes() const;
  /// Hash of the manifest: equal for equal inputs whatever the number of packing ranks.
  uint64_t fingerprint() const;
  /// Fingerprint of the tokenizer that packed it.
  uint64_t tokenizer_fingerprint() const;

 private:
  struct Impl;
  explicit Corpus(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lodestone
