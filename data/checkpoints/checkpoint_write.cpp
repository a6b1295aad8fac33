// Writes the parts of a checkpoint and publishes it.
#include <cstdio>

#include "data/checkpoints/checkpoint_format.h"
#include "data/files/strict_json.h"

namespace lodestone {

namespace fs = std::filesystem;
using namespace checkpoint_format;

Slice checkpoint_share(int64_t n, int64_t rank, int64_t world_size) {
  const int64_t base = n / world_size, extra = n % world_size;
  const int64_t begin = rank * base + std::min(rank, extra);
  return {begin, begin + base + (rank < extra ? 1 : 0)};
}

void begin_checkpoint(const fs::path& run, int64_t step) {
  const fs::path folder = temporary_folder(run, step);
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  make_folder(folder);
}

void write_part(const fs::path& run, int64_t step, uint64_t save_id, int64_t index, const ParamLayout& layout,
                std::span<const CheckpointVector> vectors, Slice share) {
  std::vector<NamedTensor> tensors;
  std::map<std::string, std::string> metadata{
      {"format", version}, {"step", std::to_string(step)}, {"save_id", hex64(save_id)}, {"part", std::to_string(index)}};
  for (const CheckpointVector& vector : vectors) {
    const Slice held = vector.held();
    LODE_CHECK(
        0 <= held.begin && held.end <= layout.count() && (share.count() == 0 || (held.begin <= share.begin && share.end <= held.end)),
        vector.name, " holds elements ", held.begin, " to ", held.end, " of ", layout.count(), ", not ", share.begin, " to ", share.end);
    LODE_CHECK(vector.values.dtype() == vectors[0].values.dtype(), "the vectors of one checkpoint have one dtype");
    for (const Param& p : layout.params()) {
      const Slice both{std::max(p.slice.begin, share.begin), std::min(p.slice.end, share.end)};
      if (both.begin >= both.end) continue;
      const ConstTensor values = vector.values.slice({both.begin - held.begin, both.end - held.begin});
      const std::string name = to_text({vector.name, p.name, {both.begin - p.slice.begin, both.end - p.slice.begin}});
      metadata[tensor_checksum_prefix + name] = hex64(checksum(std::span(values.bytes(), values.size_bytes())));
      tensors.push_back({name, values});
    }
  }
  write_safetensors(temporary_folder(run, step) / part_file(index), tensors, metadata);
}

namespace {

OrderedJson to_json(const CheckpointManifest& m) {
  OrderedJson json;
  json["format"] = version;
  json["step"] = m.step;
  json["save_id"] = hex64(m.save_id);
  json["world_size"] = m.world_size;
  json["fingerprints"] = m.fingerprints;
  json["documents"] = OrderedJson::object();
  for (const auto& [name, text] : m.documents) json["documents"][name] = {{"size_bytes", text.size()}, {"xxh3", hex64(checksum(text))}};
  json["parts"] = OrderedJson::array();
  for (const CheckpointPart& p : m.parts)
    json["parts"].push_back({{"file", p.file}, {"size_bytes", p.size_bytes}, {"header_xxh3", hex64(p.header_checksum)}});
  json["vectors"] = OrderedJson::object();
  for (const auto& [name, dtype] : m.vectors) json["vectors"][name] = name_of(dtype);
  json["tensors"] = OrderedJson::array();
  for (const auto& [name, shape] : m.tensors) json["tensors"].push_back({{"name", name}, {"shape", shape}});
  json["checksum"] = std::string(checksum_digits, '0');
  return json;
}

std::string manifest_text(const CheckpointManifest& manifest) {
  std::string text = to_json(manifest).dump(1) + "\n";
  const size_t at = text.rfind(checksum_key) + std::string_view(checksum_key).size();
  const std::string sum = hex64(checksum(text));
  return text.replace(at, checksum_digits, sum);
}

}  // namespace

void publish_checkpoint(const fs::path& run, CheckpointManifest manifest, const ParamLayout& layout,
                        std::span<const CheckpointVector> vectors, int64_t parts) {
  const fs::path folder = temporary_folder(run, manifest.step);
  manifest.parts.clear();
  manifest.vectors.clear();
  for (int64_t index = 0; index < parts; ++index) {
    const SafetensorsReader part(folder / part_file(index));
    const auto id = part.metadata().find("save_id");
    if (id == part.metadata().end() || id->second != hex64(manifest.save_id))
      throw Error(ExitCode::checkpoint, "F24", "this part belongs to another save").at("file", part.path().string());
    manifest.parts.push_back({part_file(index), part.size_bytes(), part.header_checksum()});
  }
  for (const CheckpointVector& vector : vectors) manifest.vectors[vector.name] = vector.values.dtype();
  manifest.tensors = shapes_of(layout);
  for (const auto& [name, text] : manifest.documents) write_new_file(folder / name, text);
  write_new_file(folder / manifest_file, manifest_text(manifest));
  publish_folder(folder, run / checkpoint_name(manifest.step), IfExists::replace);
}

void abandon_checkpoint(const fs::path& run, int64_t step) noexcept {
  std::error_code ignored;
  fs::remove_all(temporary_folder(run, step), ignored);
}

namespace checkpoint_format {

std::string part_file(int64_t index) {
  char text[64];
  std::snprintf(text, sizeof text, "part-%05lld.safetensors", static_cast<long long>(index));
  return text;
}

std::string to_text(const RangeName& name) { return cat(name.vector, "/", name.param, "[", name.range.begin, ":", name.range.end, "]"); }

std::vector<std::pair<std::string, std::vector<int64_t>>> shapes_of(const ParamLayout& layout) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (const Param& p : layout.params()) {
    std::vector<int64_t> shape;
    for (size_t i = 0; i < p.shape.rank(); ++i) shape.push_back(p.shape[i]);
    tensors.emplace_back(p.name, std::move(shape));
  }
  return tensors;
}

}  // namespace checkpoint_format

}  // namespace lodestone
