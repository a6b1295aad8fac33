// How does the memory of a reader grow with the number of shards?
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "tests/data/corpus/pack_support.h"

namespace lodestone {
namespace {

/// Bytes of this process that are no file's, as the system counts them.
int64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::stoll(line.substr(8)) * 1024;
  return -1;
}

/// One shard of 600,000 ids (a full chunk of 1 MiB and a part) under as many names as wanted.
class ManyShards {
 public:
  ManyShards() {
    std::string rows;
    for (int i = 0; i < 2000; ++i) rows += cat(R"({"query": "q)", i, R"(", "pos": ["p"]})", '\n');
    const auto encode = [](std::string_view text, std::vector<int32_t>& ids) { ids.insert(ids.end(), text == "p" ? 300 : 1, 7); };
    one_ = test::pack_files(dir_ / "one", {test::write_text(dir_ / "a.jsonl", rows)}, {}, 1, test::words_schema, encode).manifest;
  }
  std::filesystem::path folder(size_t shards) {
    std::filesystem::path folder = dir_ / cat(shards);
    std::filesystem::create_directory(folder);
    Manifest many = one_;
    many.shards.clear();
    for (size_t i = 0; i < shards; ++i) {
      ManifestShard& shard = many.shards.emplace_back(one_.shards.at(0));
      shard.file = cat("shard-", 100000 + i, "-000.h5");
      std::filesystem::create_hard_link(dir_ / "one" / one_.shards.at(0).file, folder / shard.file);
    }
    write_new_file(folder / "manifest.json", to_text(many));
    return folder;
  }

 private:
  test::TempDir dir_;
  Manifest one_;
};

/// Opens a corpus and reads the first and the last row of each shard, so that every chunk of ids is verified. Bytes that it then holds.
int64_t held_bytes(const std::filesystem::path& folder) {
  const int64_t before = anonymous_bytes();
  const Corpus corpus = Corpus::open(folder);
  PackedRow row;
  for (int64_t r = 0; r < corpus.rows(); r += 2000) {
    corpus.read(r, row);
    corpus.read(r + 1999, row);
  }
  return anonymous_bytes() - before;
}

// The library holds at most 32 files open, and one chunk is in memory while it is checked, however many shards there are.
TEST(SlowCorpusMemory, OfAThousandShardsIsThatOfAFew) {
  ManyShards shards;
  ASSERT_GT(anonymous_bytes(), 0);
  (void)held_bytes(shards.folder(2));  // what the library takes once
  const int64_t few = held_bytes(shards.folder(3)), many = held_bytes(shards.folder(1360));
  std::cout << "3 shards: " << few / 1024 << " KiB, 1,360 shards: " << many / 1024 << " KiB\n";
  EXPECT_LT(many - few, 20'000'000);
}

}  // namespace
}  // namespace lodestone
