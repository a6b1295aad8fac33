// Packer: turns units of work into shard files and counts what it sees; knows no ranks.
#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <utility>
#include <vector>

#include "data/corpus/manifest.h"
#include "data/corpus/shard.h"
#include "data/records/duplicates.h"
#include "data/records/inputs.h"

namespace lodestone {

struct PackOptions {
  InputOptions input;
  int64_t max_tokens = 8192;                // longer texts are cut
  int64_t allowed_bad_rows = 0;             // over all inputs
  int64_t part_bytes = int64_t{192} << 20;  // a unit that fills more memory than this becomes several shards
};

enum class TextRole : uint8_t { query, positive, negative };

/// What was packed. All members add up over ranks.
struct PackCounts {
  int64_t rows = 0, bytes = 0;                  // bytes of input files consumed
  int64_t tokens = 0, truncated = 0;            // tokens stored, texts cut at max_tokens
  std::array<std::vector<int64_t>, 3> lengths;  // [max_tokens + 1] texts of each length, per TextRole
};

/// Appends the token ids of a text: Tokenizer::encode.
using Encode = std::function<void(std::string_view text, std::vector<int32_t>& ids)>;

class Packer {
 public:
  Packer(Encode encode, const ShardSchema& schema, const PackOptions& options, std::filesystem::path folder);
  /// Writes the unit's shards into the folder. `tick` is called after every few rows; what it throws ends the packing.
  /// Throws the Error of the first bad row beyond allowed_bad_rows, or of a failing write; its shards written so far remain.
  void pack(const WorkUnit& unit, const std::function<void()>& tick);

  const PackCounts& counts() const { return counts_; }
  const DuplicateCounter& duplicates() const { return duplicates_; }
  const std::vector<std::pair<int64_t, ManifestShard>>& shards() const { return shards_; }  // with their unit
  const std::vector<std::pair<int64_t, SkippedRow>>& skipped() const { return skipped_; }
  const std::set<std::string>& ignored_fields() const { return ignored_; }
  const std::vector<std::string>& warnings() const { return warnings_; }  // of the units' readers

 private:
  void add(const Record& record, const RecordReader& reader, const WorkUnit& unit);
  void finish_part(const WorkUnit& unit, int64_t part);

  Encode encode_;
  PackOptions options_;
  std::filesystem::path folder_;
  ShardWriter writer_;
  PackCounts counts_;
  DuplicateCounter duplicates_;
  std::vector<std::pair<int64_t, ManifestShard>> shards_;
  std::vector<std::pair<int64_t, SkippedRow>> skipped_;
  std::set<std::string> ignored_;
  std::vector<std::string> warnings_;
  std::vector<int32_t> ids_;       // of all texts of the row under way
  std::vector<PackedText> texts_;  // query, positives, negatives of the row under way
  std::vector<size_t> begins_;     // where each text's ids begin in ids_
  int64_t truncated_row_ = 0;      // texts of that row that were cut
};

/// The manifest of what packers made, whoever made which part: shards and skipped rows are put in the order of their units.
Manifest make_manifest(const ShardSchema& schema, const PackOptions& options, std::span<const WorkUnit> units,
                       std::vector<std::pair<int64_t, ManifestShard>> shards, std::vector<std::pair<int64_t, SkippedRow>> skipped);

}  // namespace lodestone
