// Checkpoints: flat training vectors as named ranges in any number of files, each proving itself, published by one rename.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/params.h"

namespace lodestone {

// A save, with its votes (which the caller takes between the ranks; nothing here communicates):
//   rank 0   begin_checkpoint      makes RUN/checkpoint-N.tmp
//   all      write_part            each rank its range of the vectors, in a file of its own, on the device
//   all      vote; when one failed: rank 0 abandon_checkpoint, go on training, try again later
//   rank 0   publish_checkpoint    checks the parts' headers, writes documents and manifest, renames to RUN/checkpoint-N
//   rank 0   retain_checkpoints    removes the oldest
// A load:
//   rank 0   sweep_temporaries, find_newest_verified (reads everything, names what is damaged); broadcast the step
//   all      load_checkpoint       fills the vectors by name, whatever the number of parts and ranks was

/// One flat vector of the training state: "params", "adam_m", "adam_v". f32 or f64, laid out as `layout`. A rank may hold a part
/// of it only: elements [begin, begin + values.count()).
struct CheckpointVector {
  std::string name;
  Tensor values;  // [layout.count()], or the part held here
  int64_t begin = 0;

  Slice held() const { return {begin, begin + values.count()}; }
};

struct CheckpointPart {
  std::string file;  // name inside the folder
  uint64_t size_bytes = 0;
  uint64_t header_checksum = 0;  // the header holds a checksum for each of its tensors
};

/// RUN/checkpoint-N/manifest.json. The file carries a checksum of itself.
struct CheckpointManifest {
  int64_t step = 0;                                 // finished optimizer steps
  uint64_t save_id = 0;                             // the same in all parts of one save: parts of two saves are never mixed
  int64_t world_size = 1;                           // for information only
  std::map<std::string, std::string> fingerprints;  // e.g. "config", "tokenizer", "corpus": compared by the caller
  std::map<std::string, std::string> documents;     // further files by name, e.g. "trainer_state.json" -> its text
  // Filled in by publish_checkpoint:
  std::vector<CheckpointPart> parts;
  std::map<std::string, DType> vectors;                               // which vectors, and of what
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;  // the layout's names and shapes
};

/// This rank's share of a flat vector of n elements: contiguous, sizes differ by at most one.
Slice checkpoint_share(int64_t n, int64_t rank, int64_t world_size);

/// "checkpoint-N".
std::string checkpoint_name(int64_t step);

/// Makes the empty folder RUN/checkpoint-N.tmp, removing one that a crash left. Throws Error (storage).
void begin_checkpoint(const std::filesystem::path& run, int64_t step);

/// Writes elements `share` of every vector into part `index` of the save, a safetensors file with tensors named
/// "params/NAME[begin:end]", and brings it to the device. On any failure the file is removed and Error (storage, "F19" disk or
/// quota full, "F20" device error on fsync) is thrown. Every vector must hold `share`; the shares of all parts together must be
/// the whole layout (a load finds out if they are not).
void write_part(const std::filesystem::path& run, int64_t step, uint64_t save_id, int64_t index, const ParamLayout& layout,
                std::span<const CheckpointVector> vectors, Slice share);

/// Makes the save visible: parts 0 to `parts` - 1, each of which must be there and of this save. Throws Error (storage, or
/// checkpoint when a part is missing or of another save); RUN/checkpoint-N.tmp then still exists: abandon_checkpoint removes it.
/// An earlier folder of the same step is replaced.
void publish_checkpoint(const std::filesystem::path& run, CheckpointManifest manifest, const ParamLayout& layout,
                        std::span<const CheckpointVector> vectors, int64_t parts);

/// Removes RUN/checkpoint-N.tmp. Never throws: what cannot be removed is swept at the next start.
void abandon_checkpoint(const std::filesystem::path& run, int64_t step) noexcept;

/// Removes what crashes left: checkpoint-*.tmp and folders half deleted. Returns what could not be removed, one line each.
std::vector<std::string> sweep_temporaries(const std::filesystem::path& run);

/// Steps of all published checkpoints, newest first; nothing is read or verified.
std::vector<int64_t> list_checkpoints(const std::filesystem::path& run);

/// Reads manifest and documents and verifies the latter. Throws Error (checkpoint, "F22" damaged, "F23" missing).
CheckpointManifest read_manifest(const std::filesystem::path& checkpoint);

/// Reads every byte: manifest, documents, headers, save ids, checksum of every tensor; ranges cover each vector exactly once.
/// Throws Error (checkpoint, "F22" flipped, "F23" cut or missing, "F24" parts of two saves) naming file and tensor.
CheckpointManifest verify_checkpoint(const std::filesystem::path& checkpoint);

struct FoundCheckpoint {
  std::filesystem::path path;
  CheckpointManifest manifest;
};
/// The newest checkpoint that verifies, or nothing when the folder has none at all. For each damaged one before it a line is
/// appended to `messages`. Throws Error (checkpoint) when there are checkpoints and all of them are damaged.
std::optional<FoundCheckpoint> find_newest_verified(const std::filesystem::path& run, std::vector<std::string>& messages);

/// Fills the vectors by name from all parts, each with the elements that it holds, verifying the checksum of every tensor that
/// is read. Which parts the save was cut into does not matter. The layout's names and shapes must be those of the save. Throws as
/// verify_checkpoint, and Error (checkpoint, "F26") naming the tensor that does not fit.
void load_checkpoint(const std::filesystem::path& checkpoint, const ParamLayout& layout, std::span<const CheckpointVector> vectors);

/// Removes all but the newest `keep` checkpoints. Only a checkpoint that verifies counts, and at least two of those are kept
/// whatever `keep` says; `verified` remembers steps that were verified or written by this process. `pinned` (e.g. the best) is
/// never removed. A failing removal is a line in the result, not an error.
std::vector<std::string> retain_checkpoints(const std::filesystem::path& run, int64_t keep, std::optional<int64_t> pinned,
                                            std::map<int64_t, bool>& verified);

}  // namespace lodestone
