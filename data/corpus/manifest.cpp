#include "data/corpus/manifest.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "data/files/durable.h"
#include "data/files/strict_json.h"

namespace lodestone {

namespace {

constexpr int64_t manifest_version = 1;
constexpr size_t max_manifest_bytes = size_t{1} << 30;
constexpr const char* restore = "restore the file or pack again";

uint64_t parse_hex(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.size() != 16 || error != std::errc() || end != text.data() + text.size())
    throw std::invalid_argument("not 16 hexadecimal digits: " + text);
  return value;
}

Json shard_json(const ManifestShard& s) {
  Json sources = Json::array();
  for (const auto& [name, rows] : s.sources) sources.push_back({name, rows});
  return {{"file", s.file},     {"bytes", s.bytes},      {"head_bytes", s.head_bytes},
          {"rows", s.rows},     {"xxh3", hex64(s.hash)}, {"head_xxh3", hex64(s.head_hash)},
          {"sources", sources}, {"prompts", s.prompts}};
}

ManifestShard shard_of(const Json& j) {
  ManifestShard s{.file = j.at("file"),
                  .bytes = j.at("bytes"),
                  .head_bytes = j.at("head_bytes"),
                  .rows = j.at("rows"),
                  .hash = parse_hex(j.at("xxh3")),
                  .head_hash = parse_hex(j.at("head_xxh3")),
                  .sources = {},
                  .prompts = j.at("prompts")};
  int64_t rows = 0;
  for (const Json& source : j.at("sources")) {
    s.sources.emplace_back(source.at(0).get<std::string>(), source.at(1).get<int64_t>());
    if (s.sources.back().second < 1) throw std::invalid_argument("a source without rows");
    rows += s.sources.back().second;
  }
  if (rows != s.rows) throw std::invalid_argument("the rows of the sources do not add up in " + s.file);
  if (s.file.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") != std::string::npos || !s.file.starts_with("shard-"))
    throw std::invalid_argument("a shard file of a forbidden name");
  return s;
}

Json row_json(const SkippedRow& s) { return {{"file", s.file}, {"line", s.line}, {"offset", s.offset}, {"reason", s.reason}}; }
SkippedRow row_of(const Json& j) { return {j.at("file"), j.at("line"), j.at("offset"), j.at("reason")}; }

Json parse_manifest(const std::string& text, const std::filesystem::path& file) {
  try {
    return parse_strict_json(text, ExitCode::data, "F34");
  } catch (Error& error) {
    throw error.remedy(restore).at("file", file.string());
  }
}

/// Everything but the checksum.
Json body(const Manifest& m) {
  Json shards = Json::array(), inputs = Json::array(), skipped = Json::array();
  for (const ManifestShard& s : m.shards) shards.push_back(shard_json(s));
  for (const ManifestInput& i : m.inputs) inputs.push_back({{"file", i.file}, {"bytes", i.bytes}});
  for (const SkippedRow& s : m.skipped) skipped.push_back(row_json(s));
  return {{"format", "lodestone corpus"},
          {"version", manifest_version},
          {"rows", m.rows()},
          {"vocab_size", m.vocab_size},
          {"max_tokens", m.max_tokens},
          {"tokenizer_fingerprint", hex64(m.tokenizer_fingerprint)},
          {"shards", shards},
          {"inputs", inputs},
          {"skipped", skipped}};
}

}  // namespace

int64_t Manifest::rows() const {
  int64_t rows = 0;
  for (const ManifestShard& s : shards) rows += s.rows;
  return rows;
}

std::string to_text(const ManifestShard& shard) { return shard_json(shard).dump(); }
std::string to_text(const SkippedRow& row) { return row_json(row).dump(); }
SkippedRow skipped_row(const std::string& text) { return row_of(Json::parse(text)); }
ManifestShard manifest_shard(const std::string& text) { return shard_of(Json::parse(text)); }

uint64_t fingerprint(const Manifest& manifest) { return checksum(body(manifest).dump()); }

std::string to_text(const Manifest& manifest) {
  Json all = body(manifest);
  all["checksum"] = hex64(fingerprint(manifest));
  return all.dump(1) + "\n";
}

Manifest read_corpus_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "manifest.json";
  if (!path_exists(file))
    throw Error(ExitCode::data, "F34", "not a packed corpus: it has no manifest.json", "make one with lodestone pack")
        .at("file", folder.string());
  Json all = parse_manifest(read_text_file(file, max_manifest_bytes, ExitCode::data), file);
  try {
    if (all.at("format") != "lodestone corpus") throw std::invalid_argument("not a corpus manifest");
    if (all.at("version") != manifest_version)
      throw std::invalid_argument(cat("version ", all.at("version").dump(), ", this program reads ", manifest_version));
    Manifest m{.vocab_size = all.at("vocab_size"),
               .max_tokens = all.at("max_tokens"),
               .tokenizer_fingerprint = parse_hex(all.at("tokenizer_fingerprint")),
               .shards = {},
               .inputs = {},
               .skipped = {}};
    for (const Json& s : all.at("shards")) m.shards.push_back(shard_of(s));
    for (const Json& i : all.at("inputs")) m.inputs.push_back({i.at("file"), i.at("bytes")});
    for (const Json& s : all.at("skipped")) m.skipped.push_back(row_of(s));
    const std::string checksum_text = all.at("checksum");
    all.erase("checksum");
    if (parse_hex(checksum_text) != checksum(all.dump()) || parse_hex(checksum_text) != fingerprint(m))
      throw std::invalid_argument("its checksum does not match its content");
    return m;
  } catch (const std::exception& e) {
    std::string what = e.what();
    std::replace_if(
        what.begin(), what.end(), [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; }, '?');
    throw Error(ExitCode::data, "F34", "damaged manifest: " + what, restore).at("file", file.string());
  }
}

}  // namespace lodestone
