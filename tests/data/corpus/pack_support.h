// Packs small files in a test the way `lodestone pack` does, with any number of packers taking turns as ranks do.
#pragma once

#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/corpus/packer.h"
#include "data/files/durable.h"
#include "tests/support/temp_dir.h"
#include "tests/support/text_file.h"

namespace lodestone::test {

constexpr int64_t words_vocabulary = 1000;
constexpr ShardSchema words_schema{words_vocabulary, 0xfeed};

/// A stand-in for a tokenizer: one id per word, a function of the word.
inline std::vector<int32_t> words(std::string_view text) {
  std::vector<int32_t> ids;
  std::istringstream in{std::string(text)};
  for (std::string word; in >> word;) ids.push_back(static_cast<int32_t>(text_hash(word) % words_vocabulary));
  return ids;
}
inline void encode_words(std::string_view text, std::vector<int32_t>& ids) {
  for (const int32_t id : words(text)) ids.push_back(id);
}

struct Packed {
  Manifest manifest;
  PackCounts counts;  // of the first packer
  int64_t duplicates = 0;
  std::vector<std::string> ignored_fields;
};

/// Packs `inputs` into `folder` (made here) with `packers` packers: unit u is done by packer u % packers.
inline Packed pack_files(const std::filesystem::path& folder, const std::vector<std::filesystem::path>& inputs,
                         const PackOptions& options = {}, int packers = 1, const ShardSchema& schema = words_schema,
                         const Encode& encode = encode_words) {
  std::filesystem::create_directories(folder);
  const auto units = work_units(inputs, options.input);
  std::vector<std::pair<int64_t, ManifestShard>> shards;
  std::vector<std::pair<int64_t, SkippedRow>> skipped;
  Packed packed;
  DuplicateCounter duplicates;
  for (int p = packers - 1; p >= 0; --p) {
    Packer packer(encode, schema, options, folder);
    for (const WorkUnit& unit : units)
      if (unit.index % packers == p) packer.pack(unit, [] {});
    shards.insert(shards.end(), packer.shards().begin(), packer.shards().end());
    skipped.insert(skipped.end(), packer.skipped().begin(), packer.skipped().end());
    duplicates.merge(packer.duplicates());
    packed.counts = packer.counts();
    packed.ignored_fields.assign(packer.ignored_fields().begin(), packer.ignored_fields().end());
  }
  packed.manifest = make_manifest(schema, options, units, shards, skipped);
  packed.duplicates = duplicates.duplicates();
  write_new_file(folder / "manifest.json", to_text(packed.manifest));
  return packed;
}

/// The message of the Error that `f` throws, as "exit CODE what; where; do: remedy"; "no error" otherwise. The name of
/// folder `hidden` is cut out of it.
inline std::string error_of(const std::function<void()>& f, const std::filesystem::path& hidden = {}) {
  try {
    f();
  } catch (const Error& e) {
    std::string text = cat(static_cast<int>(e.exit_code()), ' ', e.code(), ' ', e.what(), "; ", e.where(), "; do: ", e.remedy());
    const std::string prefix = hidden.string() + "/";
    for (size_t at = text.find(prefix); !hidden.empty() && at != std::string::npos; at = text.find(prefix)) text.erase(at, prefix.size());
    return text;
  }
  return "no error";
}

}  // namespace lodestone::test
