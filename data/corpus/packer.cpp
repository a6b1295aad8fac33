#include "data/corpus/packer.h"

#include <algorithm>
#include <cstdio>
#include <tuple>

#include "core/error.h"
#include "data/files/durable.h"
#include "data/files/utf8.h"

namespace lodestone {

namespace {

constexpr int64_t rows_per_tick = 256;

std::string shard_name(int64_t unit, int64_t part) {
  char name[40];
  std::snprintf(name, sizeof name, "shard-%06lld-%03lld.h5", static_cast<long long>(unit), static_cast<long long>(part));
  return name;
}

}  // namespace

Packer::Packer(Encode encode, const ShardSchema& schema, const PackOptions& options, std::filesystem::path folder)
    : encode_(std::move(encode)), options_(options), folder_(std::move(folder)), writer_(schema) {
  for (auto& lengths : counts_.lengths) lengths.assign(static_cast<size_t>(options.max_tokens) + 1, 0);
}

void Packer::pack(const WorkUnit& unit, const std::function<void()>& tick) {
  const auto reader = open_unit(unit, options_.input);
  const int64_t bytes_before = counts_.bytes;
  Record record;
  int64_t part = 0, since_tick = 0;
  bool more = true;
  while (more) {
    try {
      more = reader->next(record);
      if (more) add(record, *reader, unit);
    } catch (BadRow& bad) {
      if (std::ssize(skipped_) >= options_.allowed_bad_rows) {
        bad.remedy(cat(bad.remedy(), ", or allow some bad rows with --on-bad-row skip:N"));
        throw;
      }
      const RecordPlace place = reader->place();
      skipped_.push_back(
          {unit.index,
           {utf8_name(std::filesystem::path(place.file).filename().string()), place.line, place.offset, cat(bad.code(), ' ', bad.what())}});
    }
    counts_.bytes = bytes_before + reader->consumed();
    if (++since_tick == rows_per_tick) {
      since_tick = 0;
      tick();
    }
    if (writer_.size_bytes() >= options_.part_bytes) finish_part(unit, part++);
  }
  if (writer_.rows() > 0) finish_part(unit, part);
  ignored_.insert(reader->ignored_fields().begin(), reader->ignored_fields().end());
  for (std::string& line : reader->warnings()) warnings_.push_back(std::move(line));
}

void Packer::add(const Record& record, const RecordReader& reader, const WorkUnit& unit) {
  ids_.clear();
  texts_.clear();
  begins_.clear();
  const std::string_view source = record.source.value_or(unit.source);
  const auto add_text = [&](std::string_view text, TextRole role, std::optional<uint64_t> document) {
    const size_t begin = ids_.size();
    encode_(text, ids_);
    if (ids_.size() == begin) {
      const RecordPlace place = reader.place();
      throw BadRow(Error(ExitCode::data, "F30", "a text without tokens", "correct the row")
                       .at("field", role == TextRole::query      ? "query"
                                    : role == TextRole::positive ? "positive"
                                                                 : "negative")
                       .at("file", place.file)
                       .at("line", place.line)
                       .at("offset", place.offset));
    }
    const size_t cap = begin + static_cast<size_t>(options_.max_tokens);
    begins_.push_back(begin);
    texts_.push_back({{}, text_hash(text), 0});
    texts_.back().document = document ? document_hash(source, *document) : texts_.back().text_hash;
    truncated_row_ += ids_.size() > cap;
    ids_.resize(std::min(ids_.size(), cap));
  };
  truncated_row_ = 0;
  add_text(record.query, TextRole::query, record.query_document);
  const auto add_all = [&](const std::vector<std::string_view>& texts, TextRole role, const std::vector<uint64_t>& documents) {
    for (size_t i = 0; i < texts.size(); ++i) add_text(texts[i], role, documents.empty() ? std::nullopt : std::optional(documents[i]));
  };
  add_all(record.positives, TextRole::positive, record.positive_documents);
  add_all(record.negatives, TextRole::negative, record.negative_documents);

  uint64_t row_hash = texts_[0].text_hash;
  const size_t positives = record.positives.size();
  for (size_t t = 0; t < texts_.size(); ++t) {
    const size_t end = t + 1 < texts_.size() ? begins_[t + 1] : ids_.size();
    texts_[t].ids = std::span(ids_).subspan(begins_[t], end - begins_[t]);
    const TextRole role = t == 0 ? TextRole::query : t <= positives ? TextRole::positive : TextRole::negative;
    ++counts_.lengths[static_cast<size_t>(role)][texts_[t].ids.size()];
    if (role == TextRole::positive) row_hash = (row_hash * 0x9E3779B97F4A7C15u) ^ texts_[t].text_hash;
  }
  const std::span<const PackedText> texts(texts_);
  writer_.add({.query = texts[0],
               .positives = texts.subspan(1, positives),
               .negatives = texts.subspan(1 + positives),
               .source = source,
               .prompt = record.prompt,
               .label = record.label,
               .score = record.score,
               .teacher_scores = record.teacher_scores,
               .answers = record.answers});
  duplicates_.add(row_hash ^ (row_hash >> 29));
  ++counts_.rows;
  counts_.tokens += std::ssize(ids_);
  counts_.truncated += truncated_row_;
}

void Packer::finish_part(const WorkUnit& unit, int64_t part) {
  const PackedShard shard = writer_.finish();
  ManifestShard entry{.file = shard_name(unit.index, part),
                      .bytes = std::ssize(shard.image.bytes()),
                      .head_bytes = shard.image.head_bytes,
                      .rows = shard.rows,
                      .hash = checksum(shard.image.bytes()),
                      .head_hash = checksum(shard.image.bytes().first(static_cast<size_t>(shard.image.head_bytes))),
                      .sources = shard.sources,
                      .prompts = shard.prompts};
  OutputFile file(folder_ / entry.file);
  file.write(shard.image.bytes());
  file.finish();
  shards_.emplace_back(unit.index, std::move(entry));
}

Manifest make_manifest(const ShardSchema& schema, const PackOptions& options, std::span<const WorkUnit> units,
                       std::vector<std::pair<int64_t, ManifestShard>> shards, std::vector<std::pair<int64_t, SkippedRow>> skipped) {
  Manifest manifest{.vocab_size = schema.vocab_size,
                    .max_tokens = options.max_tokens,
                    .tokenizer_fingerprint = schema.tokenizer_fingerprint,
                    .shards = {},
                    .inputs = {},
                    .skipped = {}};
  std::sort(shards.begin(), shards.end(),
            [](const auto& a, const auto& b) { return std::tie(a.first, a.second.file) < std::tie(b.first, b.second.file); });
  std::sort(skipped.begin(), skipped.end(),
            [](const auto& a, const auto& b) { return std::tie(a.first, a.second.offset) < std::tie(b.first, b.second.offset); });
  for (auto& [unit, shard] : shards) manifest.shards.push_back(std::move(shard));
  for (auto& [unit, row] : skipped) manifest.skipped.push_back(std::move(row));
  const std::filesystem::path* last = nullptr;
  for (const WorkUnit& unit : units) {
    if (last == nullptr || *last != unit.file) manifest.inputs.push_back({utf8_name(unit.file.filename().string()), 0});
    manifest.inputs.back().bytes += unit.bytes;
    last = &unit.file;
  }
  return manifest;
}

}  // namespace lodestone
