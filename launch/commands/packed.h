// What all ranks packed, put together, and what is said about it.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "data/corpus/packer.h"

namespace lodestone {

/// What all ranks made together.
struct Packed {
  std::vector<std::pair<int64_t, ManifestShard>> shards;  // each with its unit
  std::vector<std::pair<int64_t, SkippedRow>> skipped;    // alike
  std::vector<std::string> ignored;                       // names of fields, in order, each once
  std::vector<std::string> warnings;
  PackCounts counts;
  DuplicateCounter duplicates;
};

/// Collective.
Packed gather_packed(Communicator& comm, const Packer& packer);

/// Rows, sources, lengths, and what was left out or is odd. `seconds` must be positive.
void print_summary(const Manifest& manifest, const Packed& packed, double seconds, const std::filesystem::path& output);

}  // namespace lodestone
