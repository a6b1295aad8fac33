// Manifest: what a packed corpus consists of, written last.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace lodestone {

struct ManifestShard {
  std::string file;  // shard-UUUUUU-PPP.h5: part PPP of work unit UUUUUU
  int64_t bytes = 0, head_bytes = 0, rows = 0;
  uint64_t hash = 0, head_hash = 0;                      // checksum() of the whole file and of its head
  std::vector<std::pair<std::string, int64_t>> sources;  // name and rows, in the order of the shard's rows
  std::vector<std::string> prompts;                      // of the shard, by its own index
};

struct ManifestInput {
  std::string file;  // name without folder
  int64_t bytes = 0;
};

struct SkippedRow {
  std::string file;
  int64_t line = 0, offset = 0;
  std::string reason;
};

struct Manifest {
  int64_t vocab_size = 0, max_tokens = 0;
  uint64_t tokenizer_fingerprint = 0;
  std::vector<ManifestShard> shards;  // in order of their names: the global row order
  std::vector<ManifestInput> inputs;
  std::vector<SkippedRow> skipped;

  int64_t rows() const;
};

/// JSON in one line, for sending an entry to another rank, and back.
std::string to_text(const ManifestShard& shard);
std::string to_text(const SkippedRow& row);
ManifestShard manifest_shard(const std::string& text);
SkippedRow skipped_row(const std::string& text);

/// The manifest as it stands in the file. Equal manifests give equal text.
std::string to_text(const Manifest& manifest);
/// The corpus' fingerprint: the checksum that stands in the text.
uint64_t fingerprint(const Manifest& manifest);

/// Reads FOLDER/manifest.json. Throws Error (data, F34) when it is missing, damaged or names files outside the folder.
Manifest read_corpus_manifest(const std::filesystem::path& folder);

}  // namespace lodestone
