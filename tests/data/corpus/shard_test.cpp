// Is every damage to a corpus on disk found before a wrong token is returned, and without a crash?
#include "data/corpus/shard.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>
#include <thread>

#include "data/files/mapped_file.h"
#include "tests/data/corpus/corpus_content.h"
#include "tests/data/corpus/pack_support.h"

namespace lodestone {
namespace {

using test::content;
using test::error_of;
using test::pack_files;
using test::TempDir;
using test::write_text;

std::string rows_of_all_kinds() {
  std::string text;
  for (int i = 0; i < 40; ++i)
    text += cat(R"({"query": "number )", i, R"( asks", "pos": ["answer )", i, R"(", "other )", i * i, R"("], "neg": ["not )", i,
                R"("], "teacher_scores": [1, 2, 0.)", i, R"(], "answers": ["yes"], "prompt": "P)", i % 2, R"(: ", "query_id": )", i,
                R"(, "label": )", i, ", \"source\": \"s", i % 3, "\"}\n");
  return text;
}

class DamagedCorpus : public ::testing::Test {
 protected:
  DamagedCorpus() {
    packed_ = pack_files(folder_, {write_text(dir_ / "a.jsonl", rows_of_all_kinds())});
    shard_ = folder_ / packed_.manifest.shards.at(0).file;
    std::ifstream in(shard_, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
    good_ = content(Corpus::open(folder_));
  }
  void write(const std::string& bytes) { std::ofstream(shard_, std::ios::binary) << bytes; }
  std::string open_and_read() {
    std::string read;
    const std::string error = error_of([&] { read = content(Corpus::open(folder_)); }, folder_);
    return error == "no error" ? (read == good_ ? "good" : "silently wrong") : error;
  }

  TempDir dir_;
  const std::filesystem::path folder_ = dir_ / "c";
  test::Packed packed_;
  std::filesystem::path shard_;
  std::string bytes_, good_;
};

TEST_F(DamagedCorpus, FlippedBitsAreFoundOrHarmless) {
  int refused = 0, harmless = 0;
  for (size_t i = 0; i < bytes_.size(); i += 64) {
    std::string damaged = bytes_;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i / 64 % 8)));
    write(damaged);
    const std::string result = open_and_read();
    ASSERT_NE(result, "silently wrong") << "byte " << i;
    ASSERT_TRUE(result == "good" || result.starts_with("3 F34 ")) << result;
    result == "good" ? ++harmless : ++refused;
  }
  EXPECT_LE(harmless, 2);  // in the tables of names, which are read from the manifest
  EXPECT_GT(refused, 100);
}

TEST_F(DamagedCorpus, FlippedBitsOfEveryColumnAreFound) {
  const size_t head = static_cast<size_t>(packed_.manifest.shards[0].head_bytes);
  const size_t tables = H5Reader(shard_).column("table/source_bytes", H5Type::u8, 1000)->addresses.at(0);
  ASSERT_GT(tables, head);
  for (size_t i = head; i < tables; i += 19) {
    std::string damaged = bytes_;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    write(damaged);
    const std::string result = open_and_read();
    ASSERT_TRUE(result.starts_with("3 F34 ")) << "byte " << i << ": " << result;
  }
}

TEST_F(DamagedCorpus, MessagesNameFileDatasetAndRow) {
  std::string damaged = bytes_;
  damaged[static_cast<size_t>(packed_.manifest.shards[0].head_bytes)] ^= 1;  // in the first chunk: query/ids
  write(damaged);
  EXPECT_EQ(open_and_read(),
            "3 F34 cannot read: data error detected by Fletcher32 checksum; file=shard-000000-000.h5 dataset=query/ids row=0; do: restore "
            "the file or pack again");
}

TEST_F(DamagedCorpus, TruncationIsFound) {
  for (const size_t keep : {size_t{0}, size_t{100}, bytes_.size() / 2, bytes_.size() - 1}) {
    write(bytes_.substr(0, keep));
    EXPECT_EQ(open_and_read(), cat("3 F34 the file has ", keep, " bytes, the manifest says ", bytes_.size(),
                                   "; file=shard-000000-000.h5; do: restore the file or pack again"));
  }
}

TEST_F(DamagedCorpus, MissingShardOrManifestIsFound) {
  std::filesystem::remove(shard_);
  EXPECT_EQ(
      open_and_read(),
      "3 F36 cannot open a shard that the manifest names: No such file or directory; file=shard-000000-000.h5; do: restore the file or "
      "pack again");
  std::filesystem::remove(folder_ / "manifest.json");
  EXPECT_EQ(error_of([&] { Corpus::open(folder_); }, dir_.path()),
            "3 F34 not a packed corpus: it has no manifest.json; file=c; do: make one with lodestone pack");
}

TEST_F(DamagedCorpus, AShardThatIsALinkIsRefusedForThat) {
  std::filesystem::rename(shard_, dir_ / "elsewhere");
  std::filesystem::create_symlink(dir_ / "elsewhere", shard_);
  EXPECT_EQ(
      open_and_read(),
      "3 F36 cannot open a shard that the manifest names: Too many levels of symbolic links; file=shard-000000-000.h5; do: put the file "
      "itself there: a link is not followed");
}

TEST_F(DamagedCorpus, AManifestNestedWithoutEndIsRefused) {
  const std::string text = to_text(packed_.manifest);
  write_text(folder_ / "manifest.json", "{\"deep\": " + std::string(100000, '[') + std::string(100000, ']') + "," + text.substr(1));
  EXPECT_EQ(open_and_read(), "3 F34 nested deeper than 64 levels; file=manifest.json; do: restore the file or pack again");
  write_text(folder_ / "manifest.json", text.substr(0, 1));
  EXPECT_EQ(
      open_and_read(),
      "3 F34 this is not valid JSON (parse error at line 1, column 2: syntax error while parsing object key - unexpected end of input; "
      "expected string literal); offset=2 file=manifest.json; do: restore the file or pack again");
}

TEST_F(DamagedCorpus, AnotherNameOrOtherPermissionsAreNoChange) {
  const Corpus corpus = Corpus::open(folder_);
  std::filesystem::create_hard_link(shard_, dir_ / "backup");
  std::filesystem::permissions(shard_, std::filesystem::perms::owner_read);
  EXPECT_EQ(error_of([&] { corpus.require_unchanged(); }), "no error");
}

TEST_F(DamagedCorpus, FlippedBitsOfTheManifestAreFoundOrHarmless) {
  const std::string text = to_text(packed_.manifest);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 7)));
    std::ofstream(folder_ / "manifest.json", std::ios::binary) << damaged;
    const std::string result = open_and_read();
    ASSERT_TRUE(result == "good" || result.starts_with("3 F3")) << "byte " << i << ": " << result;
  }
}

TEST_F(DamagedCorpus, AChangedFileIsFoundWhileInUse) {
  const Corpus corpus = Corpus::open(folder_);
  write(bytes_);  // the same bytes, but written again
  std::filesystem::last_write_time(shard_, std::filesystem::file_time_type::clock::now() + std::chrono::seconds(5));
  PackedRow row;
  EXPECT_EQ(error_of([&] { corpus.read(3, row); }, folder_),
            "3 F36 the shard was changed while in use; file=shard-000000-000.h5 row=3; do: leave a corpus alone while it is read");
}

TEST_F(DamagedCorpus, AChangeIsFoundInChunksThatWereReadBefore) {
  const auto written = std::filesystem::last_write_time(shard_);
  PackedRow row;
  const auto touched = [&] {
    Corpus corpus = Corpus::open(folder_);
    (void)content(corpus);
    corpus.require_unchanged();
    return corpus;
  };
  const auto after_a_second = [&](const Corpus& corpus) {
    corpus.read(3, row);  // nothing is looked at so soon
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));
    return error_of([&] { corpus.read(3, row); }, folder_);
  };
  std::string changed = bytes_;  // another token in the query of row 3
  {
    const Corpus corpus = touched();
    corpus.read(3, row);
    const std::vector<uint16_t> ids(row.query.ids.begin(), row.query.ids.end());
    const size_t at = bytes_.find(std::string(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(uint16_t)));
    ASSERT_NE(at, std::string::npos);
    changed[at] = static_cast<char>(changed[at] ^ 1);
    write(changed);
    std::filesystem::last_write_time(shard_, written + std::chrono::seconds(5));
    const std::string expected =
        "3 F36 the shard was changed while in use; file=shard-000000-000.h5; do: leave a corpus alone while it is read";
    EXPECT_EQ(error_of([&] { corpus.require_unchanged(); }, folder_), expected);
    EXPECT_EQ(after_a_second(corpus), expected);
  }
  write(bytes_);
  std::filesystem::last_write_time(shard_, written);
  {
    const Corpus corpus = touched();
    std::filesystem::rename(shard_, folder_ / "gone.h5");
    EXPECT_TRUE(after_a_second(corpus).starts_with("3 F36 the shard was removed while in use;"));
    std::filesystem::rename(folder_ / "gone.h5", shard_);
  }
  const Corpus corpus = touched();
  write(changed);
  std::filesystem::last_write_time(shard_, written);  // as when the device, or the page in memory, loses a bit
  corpus.require_unchanged();
  const std::string found = after_a_second(corpus);
  EXPECT_TRUE(found.starts_with("3 F34 ")) << found;
}

TEST_F(DamagedCorpus, AFileCutShortWhileItIsReadIsAnErrorOfTheRow) {
  const SignalStack stack;
  for (const bool verified : {true, false}) {
    const Corpus corpus = Corpus::open(folder_);
    PackedRow row;
    if (verified) (void)content(corpus);
    std::filesystem::resize_file(shard_, 4096);
    EXPECT_EQ(error_of([&] { corpus.read(3, row); }, folder_),
              "3 F36 the shard was cut short while in use; file=shard-000000-000.h5 row=3; do: leave a corpus alone while it is read");
    EXPECT_TRUE(error_of([&] { (void)corpus.answers(3); }, folder_).starts_with("3 F36 the shard was cut short while in use;"));
    write(bytes_);
  }
}

// ---- shards that are well-formed HDF5 with sound checksums, and lie ----------------------------------------------------

/// One row of two query ids, with the named columns and attributes replaced or (nullopt) left out.
struct Lie {
  std::vector<uint16_t> ids{1, 2};
  std::vector<int64_t> offsets{0, 2};
  std::vector<int32_t> source{0};
  int64_t rows = 1, complete = 1, version = 1, tokens = 2;
  uint64_t tokenizer = 0xfeed;
  bool with_hash = true;
};

std::string read_lie(const Lie& lie) {
  const TempDir dir;
  const std::vector<uint64_t> hash(static_cast<size_t>(lie.rows), 9);
  H5Writer writer;
  writer.attribute("format", std::string_view("lodestone corpus shard"));
  writer.attribute("version", lie.version);
  writer.attribute("complete", lie.complete);
  writer.attribute("rows", lie.rows);
  writer.attribute("vocab_size", int64_t{1000});
  writer.attribute("tokenizer_fingerprint", lie.tokenizer);
  for (const std::string role : {"query", "positive", "negative"}) {
    writer.attribute(role + "_texts", role == "query" ? lie.rows : int64_t{0});
    writer.attribute(role + "_tokens", role == "query" ? lie.tokens : int64_t{0});
  }
  writer.column("query/ids", H5Type::u16, lie.ids.data(), std::ssize(lie.ids));
  writer.column("query/offsets", H5Type::i64, lie.offsets.data(), std::ssize(lie.offsets));
  if (lie.with_hash) writer.column("query/text_hash", H5Type::u64, hash.data(), std::ssize(hash));
  writer.column("row/source", H5Type::i32, lie.source.data(), std::ssize(lie.source));
  const H5Image image = writer.finish();
  std::ofstream(dir / "shard-0.h5", std::ios::binary)
      .write(reinterpret_cast<const char*>(image.bytes().data()), static_cast<std::streamsize>(image.size));
  Manifest manifest{.vocab_size = 1000, .max_tokens = 10, .tokenizer_fingerprint = 0xfeed, .shards = {}, .inputs = {}, .skipped = {}};
  manifest.shards.push_back({.file = "shard-0.h5",
                             .bytes = static_cast<int64_t>(image.size),
                             .head_bytes = image.head_bytes,
                             .rows = 1,
                             .hash = checksum(image.bytes()),
                             .head_hash = checksum(image.bytes().first(static_cast<size_t>(image.head_bytes))),
                             .sources = {{"s", 1}},
                             .prompts = {}});
  write_text(dir / "manifest.json", to_text(manifest));
  const std::string error = error_of([&] { content(Corpus::open(dir.path())); }, dir.path());
  return error.substr(0, error.find("; do:"));
}

TEST(LyingShard, IsRefused) {
  EXPECT_EQ(read_lie({}), "no error");
  EXPECT_EQ(read_lie({.ids = {1, 1000}}), "3 F34 token id 1000 is not in a vocabulary of 1000; file=shard-0.h5 dataset=query/ids row=0");
  EXPECT_EQ(read_lie({.offsets = {2, 0}}), "3 F34 the offsets are not ascending; file=shard-0.h5 dataset=query/offsets row=0");
  EXPECT_EQ(read_lie({.offsets = {0, 3}}), "3 F34 offsets 0 to 3 of 2; file=shard-0.h5 dataset=query/offsets row=0");
  EXPECT_EQ(read_lie({.offsets = {-1, 2}}), "3 F34 offsets -1 to 2 of 2; file=shard-0.h5 dataset=query/offsets row=0");
  EXPECT_EQ(read_lie({.offsets = {0, 1, 2}}), "3 F34 the dataset has 3 elements where 2 belong; file=shard-0.h5 dataset=query/offsets");
  EXPECT_EQ(read_lie({.tokens = 5}), "3 F34 the dataset has 2 elements where 5 belong; file=shard-0.h5 dataset=query/ids");
  EXPECT_EQ(read_lie({.source = {1}}).substr(0, 20), "3 F34 source 1 of 1;");
  EXPECT_EQ(read_lie({.source = {0, 0}}), "3 F34 the dataset has 2 elements where 1 belong; file=shard-0.h5 dataset=row/source");
  EXPECT_EQ(read_lie({.rows = 2}), "3 F34 the shard has 2 rows, the manifest says 1; file=shard-0.h5");
  EXPECT_EQ(read_lie({.complete = 0}), "3 F34 the shard has no complete mark; file=shard-0.h5");
  EXPECT_EQ(read_lie({.version = 2}), "3 F34 shard version 2, this program reads 1; file=shard-0.h5");
  EXPECT_EQ(read_lie({.tokenizer = 1}), "3 F34 the shard was packed with another tokenizer than its manifest says; file=shard-0.h5");
  EXPECT_EQ(read_lie({.with_hash = false}), "3 F34 the dataset is missing; file=shard-0.h5 dataset=query/text_hash");
}

}  // namespace
}  // namespace lodestone
