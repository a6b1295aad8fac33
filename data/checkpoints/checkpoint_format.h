// Names and helpers that writing and reading a checkpoint share. Not for other folders.
#pragma once

#include "data/checkpoints/checkpoint.h"
#include "data/files/safetensors.h"

namespace lodestone::checkpoint_format {

inline constexpr const char* version = "lodestone-checkpoint-1";
inline constexpr const char* manifest_file = "manifest.json";
inline constexpr const char* checksum_key = "\"checksum\": \"";  // followed by 16 digits, zeros while the checksum is taken
inline constexpr size_t checksum_digits = 16;
inline constexpr const char* tensor_checksum_prefix = "xxh3:";  // metadata key of a tensor's checksum

inline std::filesystem::path temporary_folder(const std::filesystem::path& run, int64_t step) {
  return run / (checkpoint_name(step) + ".tmp");
}
std::string part_file(int64_t index);  // "part-00003.safetensors"

/// A stored tensor's name taken apart: elements [begin, end) of parameter `param` of vector `vector`.
struct RangeName {
  std::string vector, param;
  Slice range;
};
std::string to_text(const RangeName& name);  // "params/encoder.layer.0.output.dense.weight[0:100]"
/// Throws Error (checkpoint, "F22") when the text has not this form.
RangeName parse_range_name(const std::string& text);

/// Names and shapes of a layout as the manifest holds them.
std::vector<std::pair<std::string, std::vector<int64_t>>> shapes_of(const ParamLayout& layout);

}  // namespace lodestone::checkpoint_format
