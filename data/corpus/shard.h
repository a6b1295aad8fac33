// Shard: one packed HDF5 file of a corpus, its writer and its verified reader. The format is in data/corpus/README.md.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/corpus/corpus.h"
#include "data/files/h5.h"

namespace lodestone {

/// Shards of this version are written and read; others are refused.
constexpr int64_t shard_version = 1;

/// What all shards of a corpus have in common.
struct ShardSchema {
  int64_t vocab_size = 0;  // ids are stored in 16 bits up to 65,535, in 32 bits above
  uint64_t tokenizer_fingerprint = 0;
};

/// One row to be packed: views that need to live during ShardWriter::add only.
struct ShardRow {
  PackedText query;
  std::span<const PackedText> positives, negatives;
  std::string_view source;
  std::optional<std::string_view> prompt;
  int64_t label = -1;                      // -1: none
  double score = 0;                        // NaN: none
  std::span<const double> teacher_scores;  // positives then negatives, or empty
  std::span<const std::string_view> answers;
};

struct PackedShard {
  H5Image image;
  int64_t rows = 0;
  std::vector<std::pair<std::string, int64_t>> sources;  // name and rows, in the order of their rows in the shard
  std::vector<std::string> prompts;
};

/// Collects rows and packs them, those of one source together: sources in order of first appearance, rows in order of add().
class ShardWriter {
 public:
  explicit ShardWriter(const ShardSchema& schema);
  ShardWriter(ShardWriter&&) noexcept;
  ~ShardWriter();
  void add(const ShardRow& row);
  int64_t rows() const;
  /// Bytes held: what decides when a shard is full.
  int64_t size_bytes() const;
  /// The shard. The writer is empty afterwards.
  PackedShard finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What the manifest says about a shard file.
struct ShardFile {
  std::filesystem::path path;
  int64_t bytes = 0, head_bytes = 0, rows = 0;
  uint64_t head_hash = 0;  // checksum() of the first head_bytes
};

/// A shard opened for reading. The head is compared with its hash before the HDF5 library sees the file; every chunk is
/// read once through the library, which checks its sum, then from its mapped address. Errors are Error (data): F36 where the file was
/// changed, removed or cut short since it was opened, which ends no process.
class ShardReader {
 public:
  /// `verification` holds a chunk while it is checked, whatever was in it; it must outlive the reader, and one serves all shards that a
  /// thread reads.
  ShardReader(const ShardFile& file, const ShardSchema& schema, std::vector<std::byte>& verification);
  ShardReader(ShardReader&&) noexcept;
  ~ShardReader();
  /// Row `row` of this shard. source and prompt are this shard's own indices. ids are views into `ids`, valid until it changes.
  void read(int64_t row, PackedRow& out, std::vector<int32_t>& ids);
  /// The same, but texts have no ids, which are not touched.
  void read_without_ids(int64_t row, PackedRow& out);
  std::vector<std::string> answers(int64_t row);
  /// Throws Error (data, F36) where the path names no longer the file that was opened, by size, time of modification and inode. May be
  /// called by any thread.
  void require_unchanged() const;
  /// Verifies one chunk again that was touched: the first from `place` on, of the chunks of all columns, and sets `place` behind it. False
  /// where there is none.
  bool verify_next(int64_t& place);
  /// Whether the library holds the file open (one descriptor), and letting go of it; it is opened again when needed.
  bool library_open() const;
  void close_library();
  /// Bytes of its own tables: a few KiB, and 9 bytes a chunk.
  size_t memory_bytes() const;
  /// Bytes of its largest chunk: what verification takes.
  size_t chunk_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lodestone
