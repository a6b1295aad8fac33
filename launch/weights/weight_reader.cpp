#include "launch/weights/weight_reader.h"

#include <algorithm>

#include "core/nn/retromae.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr size_t piece_bytes = size_t{1} << 20;

std::string file_checksum(const fs::path& path) {
  const InputFile file(path, ExitCode::checkpoint);
  std::vector<std::byte> piece(piece_bytes);
  Checksum sum;
  for (uint64_t at = 0; at < file.size(); at += piece_bytes) {
    const auto bytes = std::span(piece).first(static_cast<size_t>(std::min<uint64_t>(piece_bytes, file.size() - at)));
    file.read(at, bytes);
    sum.add(bytes);
  }
  return hex64(sum.value());
}

template <class Folder>
StoredWeights open_folder(const FoundWeights& found, Folder model, const ParamLayout& layout) {
  model.path = found.path;
  return StoredWeights(model, layout);
}

DType stored_dtype(const FoundCheckpoint& checkpoint) {
  const auto found = checkpoint.manifest.vectors.find("params");
  return found == checkpoint.manifest.vectors.end() ? DType::f32 : found->second;
}

}  // namespace

WeightReader::WeightReader(FoundWeights found, const ModelFolder& model)
    : found_(std::move(found)), layout_(is_retromae(found_) ? retromae_layout(model.config) : embedder_layout(model.config)) {
  if (!found_.checkpoint) stored_.emplace(open_folder(found_, model, layout_));
}

WeightReader::WeightReader(FoundWeights found, const RerankerFolder& model)
    : found_(std::move(found)), layout_(reranker_layout(model.config)) {
  if (!found_.checkpoint) stored_.emplace(open_folder(found_, model, layout_));
}

void WeightReader::read(std::span<const Param* const> params, std::span<double> out) const {
  if (!stored_) {
    const Slice wanted{layout_.find(params.front()->name).slice.begin, layout_.find(params.back()->name).slice.end};
    return read_checkpoint(wanted, out);
  }
  for (const Param* p : params) {
    const StoredWeights::Place* place = stored_->find(p->name);
    LODE_CHECK(place != nullptr, "the folder ", found_.path, " has no ", p->name);
    const auto count = static_cast<size_t>(p->slice.count());
    place->file->read(*place->tensor, out.first(count));
    out = out.subspan(count);
  }
}

void WeightReader::read_checkpoint(Slice wanted, std::span<double> out) const {
  LODE_CHECK(wanted.count() == std::ssize(out), wanted.count(), " values of a checkpoint, room is for ", out.size());
  if (stored_dtype(*found_.checkpoint) == DType::f64) {
    const CheckpointVector vector{"params", view(out), wanted.begin};
    return load_checkpoint(found_.path, layout_, std::span(&vector, 1));
  }
  std::vector<float> values(out.size());
  const CheckpointVector vector{"params", view(std::span(values)), wanted.begin};
  load_checkpoint(found_.path, layout_, std::span(&vector, 1));
  std::copy(values.begin(), values.end(), out.begin());
}

std::string WeightReader::dtype(const Param& param) const { return stored_ ? stored_->find(param.name)->tensor->dtype : "F32"; }

fs::path WeightReader::file(const Param& param) const {
  const StoredWeights::Place* place = stored_ ? stored_->find(param.name) : nullptr;
  return place ? place->file->path() : found_.path;
}

std::vector<std::pair<std::string, std::string>> WeightReader::hashes() const {
  if (!stored_) return {{"save_id", hex64(found_.checkpoint->manifest.save_id)}};
  std::vector<std::pair<std::string, std::string>> all;
  for (const fs::path& file : stored_->files()) all.emplace_back(file.lexically_relative(found_.path).string(), file_checksum(file));
  return all;
}

}  // namespace lodestone
