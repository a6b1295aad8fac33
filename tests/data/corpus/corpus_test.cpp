// Does a packed corpus give back what went in, by row, in an order that does not depend on who packed it?
#include "data/corpus/corpus.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/data/corpus/pack_support.h"

namespace lodestone {
namespace {

using test::error_of;
using test::pack_files;
using test::TempDir;
using test::words;
using test::write_text;

std::vector<int32_t> ids(const PackedText& text) { return {text.ids.begin(), text.ids.end()}; }

TEST(Corpus, GivesBackWhatWasPacked) {
  const TempDir dir;
  const auto file = write_text(
      dir / "mix.jsonl",
      R"({"query": "what is a lodestone", "pos": ["a magnetic stone", "a rock"], "neg": ["a cat", "a dog", "a bird"], "pos_scores": [0.9, 0.8], "neg_scores": [1, 2, 3], "prompt": "Find it: ", "answers": ["a stone", "ünïcode"], "query_id": 7, "label": 4}
{"query": "second", "pos": "one text"}

{"sentence1": "left one", "sentence2": "right one", "score": 2.5}
)");
  pack_files(dir / "c", {file});
  const Corpus corpus = Corpus::open(dir / "c");
  ASSERT_EQ(corpus.rows(), 3);
  ASSERT_EQ(corpus.sources().size(), 1u);
  EXPECT_EQ(corpus.sources()[0].name, "mix");
  EXPECT_EQ(corpus.sources()[0].rows, 3);
  ASSERT_EQ(corpus.prompts(), std::vector<std::string>{"Find it: "});

  PackedRow row;
  corpus.read(0, row);
  EXPECT_EQ(ids(row.query), words("what is a lodestone"));
  EXPECT_EQ(row.query.text_hash, text_hash("what is a lodestone"));
  EXPECT_EQ(row.query.document, document_hash("mix", text_hash("7")));
  ASSERT_EQ(row.positives.size(), 2u);
  EXPECT_EQ(ids(row.positives[1]), words("a rock"));
  EXPECT_EQ(row.positives[1].document, row.positives[1].text_hash);
  ASSERT_EQ(row.negatives.size(), 3u);
  EXPECT_EQ(ids(row.negatives[2]), words("a bird"));
  EXPECT_EQ(row.teacher_scores, (std::vector<double>{0.9, 0.8, 1, 2, 3}));
  EXPECT_EQ(row.prompt, 0);
  EXPECT_EQ(row.label, 4);
  EXPECT_TRUE(std::isnan(row.score));
  EXPECT_EQ(corpus.answers(0), (std::vector<std::string>{"a stone", "ünïcode"}));

  corpus.read(2, row);
  EXPECT_EQ(ids(row.query), words("left one"));
  ASSERT_EQ(row.positives.size(), 1u);
  EXPECT_EQ(ids(row.positives[0]), words("right one"));
  EXPECT_TRUE(row.negatives.empty());
  EXPECT_TRUE(row.teacher_scores.empty());
  EXPECT_EQ(row.score, 2.5);
  EXPECT_EQ(row.prompt, -1);
  EXPECT_EQ(row.label, -1);
  EXPECT_TRUE(corpus.answers(2).empty());
}

TEST(Corpus, EqualDocumentIdsAreOneDocumentWithinASourceOnly) {
  const TempDir dir;
  const auto row = [](const char* query, const char* positive, const char* source) {
    return cat(R"({"query": ")", query, R"(", "pos": [")", positive, R"("], "pos_index": [1], "source": ")", source, "\"}\n");
  };
  pack_files(dir / "c",
             {write_text(dir / "a.jsonl", row("q", "one part", "a") + row("r", "another part", "a") + row("s", "no part", "b"))});
  const Corpus corpus = Corpus::open(dir / "c");
  std::vector<uint64_t> documents;
  PackedRow packed;
  for (int64_t r = 0; r < 3; ++r) {
    corpus.read(r, packed);
    documents.push_back(packed.positives[0].document);
  }
  EXPECT_EQ(documents[0], documents[1]);
  EXPECT_NE(documents[0], documents[2]);
}

/// n rows of three sources; row i is "q i" -> "p i".
std::string numbered_rows(int n) {
  std::string text;
  for (int i = 0; i < n; ++i)
    text += cat(R"({"query": "q )", i, R"(", "pos": ["p )", i, " and more ", i * 7, R"("], "source": "s)", i % 3, "\"}\n");
  return text;
}

TEST(Corpus, RowOfListsTheRowsOfASourceInInputOrder) {
  const TempDir dir;
  PackOptions options;
  options.input.unit_bytes = 700;
  pack_files(dir / "c", {write_text(dir / "a.jsonl", numbered_rows(100))}, options);
  const Corpus corpus = Corpus::open(dir / "c");
  ASSERT_EQ(corpus.rows(), 100);
  ASSERT_EQ(corpus.sources().size(), 3u);
  std::vector<bool> seen(100);
  for (int32_t s = 0; s < 3; ++s) {
    EXPECT_EQ(corpus.sources()[static_cast<size_t>(s)].name, cat('s', s));
    for (int64_t k = 0; k < corpus.sources()[static_cast<size_t>(s)].rows; ++k) {
      const int64_t row = corpus.row_of(s, k);
      EXPECT_FALSE(seen[static_cast<size_t>(row)]);
      seen[static_cast<size_t>(row)] = true;
      PackedRow packed;
      corpus.read(row, packed);
      EXPECT_EQ(packed.source, s);
      EXPECT_EQ(ids(packed.query), words(cat("q ", 3 * k + s)));
    }
  }
}

TEST(Corpus, IsTheSameForAnyNumberOfPackers) {
  const TempDir dir;
  PackOptions options;
  options.input.unit_bytes = 500;
  options.part_bytes = 600;
  const auto file = write_text(dir / "a.jsonl", numbered_rows(60));
  const auto one = pack_files(dir / "one", {file}, options, 1);
  ASSERT_GT(one.manifest.shards.size(), 8u);
  for (const int packers : {2, 3, 5}) {
    const auto many = pack_files(dir / cat("many", packers), {file}, options, packers);
    EXPECT_EQ(to_text(many.manifest), to_text(one.manifest));
    EXPECT_EQ(fingerprint(many.manifest), fingerprint(one.manifest));
  }
}

TEST(Corpus, HasEveryRowOnceWhateverTheSizeOfTheUnits) {
  const TempDir dir;
  const auto file = write_text(dir / "a.jsonl", numbered_rows(13));
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(file));
  for (int64_t unit_bytes = 8; unit_bytes <= bytes + 1; unit_bytes = unit_bytes < 140 ? unit_bytes + 11 : unit_bytes * 2) {
    PackOptions options;
    options.input.unit_bytes = unit_bytes;
    const auto folder = dir / cat("c", unit_bytes);
    pack_files(folder, {file}, options);
    const Corpus corpus = Corpus::open(folder);
    ASSERT_EQ(corpus.rows(), 13) << unit_bytes;
    PackedRow row;
    for (int32_t s = 0; s < 3; ++s)
      for (int64_t k = 0; k < corpus.sources()[static_cast<size_t>(s)].rows; ++k) {
        corpus.read(corpus.row_of(s, k), row);
        ASSERT_EQ(ids(row.query), words(cat("q ", 3 * k + s))) << unit_bytes;
      }
  }
}

TEST(Corpus, StoresLargeVocabulariesIn32Bits) {
  const TempDir dir;
  const Encode wide = [](std::string_view text, std::vector<int32_t>& out) {
    for (const char c : text) out.push_back(100000 + c);
  };
  const auto file = write_text(dir / "a.jsonl", R"({"query": "ab", "pos": "c"})");
  pack_files(dir / "c", {file}, {}, 1, {250000, 1}, wide);
  PackedRow row;
  const Corpus corpus = Corpus::open(dir / "c");
  corpus.read(0, row);
  EXPECT_EQ(ids(row.query), (std::vector<int32_t>{100097, 100098}));
}

TEST(Corpus, ReadsTextsThatCrossChunks) {
  const TempDir dir;
  const Encode letters = [](std::string_view text, std::vector<int32_t>& out) {
    for (const char c : text) out.push_back(c);
  };
  std::string text;
  for (int i = 0; i < 300; ++i)
    text += cat(R"({"query": ")", std::string(5000 + static_cast<size_t>(i), static_cast<char>('a' + i % 26)), R"(", "pos": "x"})", '\n');
  pack_files(dir / "c", {write_text(dir / "a.jsonl", text)}, {}, 1, test::words_schema, letters);
  const Corpus corpus = Corpus::open(dir / "c");  // 1.5 million ids of two bytes: three chunks
  PackedRow row;
  for (int64_t i = 299; i >= 0; --i) {
    corpus.read(i, row);
    ASSERT_EQ(ids(row.query), std::vector<int32_t>(static_cast<size_t>(5000 + i), static_cast<int32_t>('a' + i % 26)));
  }
}

TEST(Corpus, CutsTextsAtTheCapAndCountsThem) {
  const TempDir dir;
  PackOptions options;
  options.max_tokens = 3;
  const auto packed =
      pack_files(dir / "c", {write_text(dir / "a.jsonl", R"({"query": "a b c d e", "pos": ["f g h", "i j k l"]})")}, options);
  EXPECT_EQ(packed.counts.truncated, 2);
  EXPECT_EQ(packed.counts.tokens, 9);
  PackedRow row;
  const Corpus corpus = Corpus::open(dir / "c");
  corpus.read(0, row);
  EXPECT_EQ(ids(row.query), words("a b c"));
  EXPECT_EQ(ids(row.positives[1]), words("i j k"));
}

TEST(Corpus, SkipsBadRowsUpToTheLimitAndRecordsThem) {
  const TempDir dir;
  PackOptions options;
  options.allowed_bad_rows = 2;
  const auto file =
      write_text(dir / "a.jsonl", "{\"query\": \"a\", \"pos\": \"b\"}\n{\"query\": 3}\n{bad\n{\"query\": \"c\", \"pos\": \"d\"}\n");
  const auto packed = pack_files(dir / "c", {file}, options);
  EXPECT_EQ(Corpus::open(dir / "c").rows(), 2);
  ASSERT_EQ(packed.manifest.skipped.size(), 2u);
  EXPECT_EQ(packed.manifest.skipped[1].line, 3);
  EXPECT_EQ(packed.manifest.skipped[1].reason, "F30 not valid JSON");
  options.allowed_bad_rows = 1;
  EXPECT_EQ(error_of([&] { pack_files(dir / "d", {file}, options); }, dir.path()),
            "3 F30 not valid JSON; file=a.jsonl line=3 offset=41; do: correct the row, or allow some bad rows with --on-bad-row skip:N");
}

TEST(Corpus, CountsDuplicateRows) {
  const TempDir dir;
  const std::string row = "{\"query\": \"a\", \"pos\": \"b\"}\n";
  EXPECT_EQ(pack_files(dir / "c", {write_text(dir / "a.jsonl", row + row + row + "{\"query\": \"b\", \"pos\": \"a\"}\n")}).duplicates, 2);
}

TEST(Corpus, RefusesRowsAndSourcesThatAreNotThere) {
  const TempDir dir;
  pack_files(dir / "c", {write_text(dir / "a.jsonl", numbered_rows(3))});
  const Corpus corpus = Corpus::open(dir / "c");
  PackedRow row;
  EXPECT_THROW(corpus.read(3, row), Error);
  EXPECT_THROW(corpus.read(-1, row), Error);
  EXPECT_THROW(corpus.row_of(3, 0), Error);
  EXPECT_THROW(corpus.row_of(0, 1), Error);
}

}  // namespace
}  // namespace lodestone
