// MiningState: what a checkpoint keeps of dynamic hard-negative mining, and its file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lodestone {

/// Sorted by row: it does not depend on the number of ranks.
struct MiningState {
  struct Score {
    int64_t row = 0;
    int32_t negative = 0, flags = 0;
    int64_t available = 0;
    double initial = 0, current = 0;
    friend bool operator==(const Score&, const Score&) = default;
  };
  struct Row {
    int64_t row = 0;
    int32_t replacements = 0, next = 0, exhausted = 0;
    int32_t chosen = 0;  // how many of `chosen` are this row's
    friend bool operator==(const Row&, const Row&) = default;
  };
  std::vector<Score> scores;    // rows that have been scored
  std::vector<Row> rows;        // rows with replacements or an exhausted list
  std::vector<int32_t> chosen;  // chosen places, one row behind the other
  friend bool operator==(const MiningState&, const MiningState&) = default;
};

/// The name that the state has among a checkpoint's documents (CheckpointManifest::documents, whose checksums guard it).
inline constexpr const char* mining_state_file = "hard_negatives.safetensors";
/// The bytes of a safetensors file with one array per member: score/row [m], score/initial [m] ... row/row [k] ... chosen.
std::string mining_state_document(const MiningState& state);
/// Reads such a file. Throws Error (checkpoint, "F22") when it is not as written.
MiningState read_mining_state(const std::filesystem::path& file);

}  // namespace lodestone
