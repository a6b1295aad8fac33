// B1 and B2: are batches of single texts what masking each text alone would give, and the same whatever the number of ranks?
#include "data/batches/text_collate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "data/batches/collate.h"
#include "data/corpus/corpus_rows.h"
#include "launch/console/allocations.h"
#include "tests/data/batches/fake_rows.h"
#include "tests/data/corpus/pack_support.h"

namespace lodestone {
namespace {

using test::FakeRow;
using test::FakeRows;

constexpr int32_t cls = 2001, sep = 2002, mask = 2003, vocab = 2004;
WordTable words() {
  std::vector<uint8_t> continues(vocab);
  for (size_t id = 0; id < continues.size(); ++id) continues[id] = id % 3 == 2;
  return WordTable(continues, std::vector{cls, sep, mask}, cls, sep, mask);
}

FakeRows texts(int n) {
  std::vector<FakeRow> rows;
  for (int r = 0; r < n; ++r) {
    FakeRow row;
    for (int t = 0; t < 1 + (r * 11) % 90; ++t) row.query.push_back((r * 37 + t * 5) % 2000);
    rows.push_back(row);
  }
  return FakeRows(rows);
}

Batch collate(const RetroMaeCollateConfig& config, const RowSource& rows, const BatchRows& which) {
  Batch batch;
  RetroMaeCollator(config, words()).collate(rows, which, batch);
  return batch;
}

const std::vector<int64_t> rows17 = {3, 1, 30, 8, 9, 10, 22, 5, 28, 12, 17, 2, 4, 39, 33, 11, 6};

TEST(RetroMaeCollate, FramesTruncatesAndLabels) {
  const FakeRows rows = texts(40);
  const Batch batch = collate({.max_len = 20, .seed = 3}, rows, {.step = 5, .source = 2, .rows = rows17});
  EXPECT_EQ(batch.queries, 17);
  EXPECT_EQ(batch.group, 0);
  EXPECT_EQ(batch.global_queries, 17);
  EXPECT_EQ(batch.rows, rows17);
  EXPECT_EQ(batch.source, 2);
  ASSERT_EQ(batch.tokens().texts(), 17);
  const MaskedTexts masked = batch.masked();
  PackedRow row;
  for (int64_t b = 0; b < 17; ++b) {
    rows.read(rows17[static_cast<size_t>(b)], row);
    const auto begin = static_cast<size_t>(batch.offsets[static_cast<size_t>(b)]), length = static_cast<size_t>(batch.tokens().length(b));
    ASSERT_EQ(length, std::min<size_t>(20, row.query.ids.size() + 2));
    std::vector<int32_t> whole{cls};
    whole.insert(whole.end(), row.query.ids.begin(), row.query.ids.begin() + static_cast<std::ptrdiff_t>(length) - 2);
    whole.push_back(sep);
    int64_t predicted = 0;
    for (size_t t = 0; t < length; ++t) {
      EXPECT_EQ(masked.decoder_ids[begin + t], whole[t]);
      EXPECT_EQ(masked.decoder_labels[begin + t], t == 0 || t + 1 == length ? no_label : whole[t]);  // all but the first and the last
      predicted += masked.labels[begin + t] != no_label;
      EXPECT_EQ(masked.labels[begin + t] == no_label ? batch.ids[begin + t] : masked.labels[begin + t], whole[t]);
    }
    EXPECT_EQ(masked.labels[begin], no_label);
    EXPECT_EQ(masked.labels[begin + length - 1], no_label);
    EXPECT_LE(predicted, tokens_to_mask(static_cast<int64_t>(length), 0.3));
  }
}

TEST(RetroMaeCollate, B2_EveryRowSeesClsAndSepAndHidesAboutHalf) {
  const FakeRows rows = texts(40);
  const Batch batch = collate({.seed = 3}, rows, {.step = 5, .rows = rows17});
  const KeyMasks masks = batch.masked().decoder_masks;
  int64_t hidden = 0, all = 0;
  for (int64_t b = 0; b < 17; ++b) {
    const int64_t begin = batch.offsets[static_cast<size_t>(b)], length = batch.tokens().length(b);
    for (int64_t i = 0; i < length; ++i) {
      const std::span<const uint64_t> row(masks.row(b, begin, length, i), static_cast<size_t>(KeyMasks::words(length)));
      EXPECT_FALSE(has_bit(row, 0));
      EXPECT_FALSE(has_bit(row, length - 1));
      for (int64_t j = 1; j + 1 < length; ++j) hidden += has_bit(row, j);
      all += length;
    }
  }
  EXPECT_NEAR(static_cast<double>(hidden) / static_cast<double>(all), 0.5, 0.03);
}

TEST(RetroMaeCollate, B4_BasicDecodingMasksTheDecodersInputInstead) {
  const FakeRows rows = texts(40);
  const Batch batch = collate({.options = {.decoding = Decoding::basic}, .seed = 3}, rows, {.step = 5, .rows = rows17});
  const MaskedTexts masked = batch.masked();
  EXPECT_TRUE(masked.decoder_masks.first.empty());
  int64_t predicted = 0, hidden = 0, both = 0;
  for (size_t s = 0; s < batch.ids.size(); ++s) {
    if (masked.decoder_labels[s] == no_label) continue;
    ++predicted;
    hidden += masked.decoder_ids[s] == mask;
    both += masked.labels[s] != no_label;
  }
  const auto tokens = static_cast<double>(batch.ids.size());
  EXPECT_NEAR(static_cast<double>(predicted) / tokens, 0.5, 0.03);
  EXPECT_NEAR(static_cast<double>(hidden) / static_cast<double>(predicted), 0.8, 0.07);
  EXPECT_NEAR(static_cast<double>(both) / static_cast<double>(predicted), 0.3, 0.08) << "drawn apart from the encoder's";
}

/// Text b of a batch in all its parts, as one list of numbers.
std::vector<uint64_t> parts(const Batch& batch, int64_t b) {
  const auto begin = static_cast<size_t>(batch.offsets[static_cast<size_t>(b)]),
             end = static_cast<size_t>(batch.offsets[static_cast<size_t>(b) + 1]);
  const MaskedTexts masked = batch.masked();
  std::vector<uint64_t> all{batch.keys[static_cast<size_t>(b)], batch.query_hash[static_cast<size_t>(b)]};
  for (size_t s = begin; s < end; ++s) {
    for (const int32_t id : {batch.ids[s], masked.labels[s], masked.decoder_ids[s], masked.decoder_labels[s]})
      all.push_back(static_cast<uint64_t>(id));
    const auto length = static_cast<int64_t>(end - begin);
    const uint64_t* row = masked.decoder_masks.row(b, static_cast<int64_t>(begin), length, static_cast<int64_t>(s - begin));
    all.insert(all.end(), row, row + KeyMasks::words(length));
  }
  return all;
}

TEST(RetroMaeCollate, RanksPutTogetherGiveTheBatchOfAWorldOfOne) {
  const FakeRows rows = texts(40);
  const RetroMaeCollateConfig config{.max_len = 70, .seed = 12};
  const Batch whole = collate(config, rows, {.step = 6, .rows = rows17});
  for (int world = 1; world <= 5; ++world) {
    int64_t b = 0;
    for (int rank = 0; rank < world; ++rank) {
      const Batch part = collate(config, rows, {.step = 6, .rows = rows17, .rank = rank, .world = world});
      EXPECT_EQ(part.first_query, b);
      EXPECT_EQ(std::accumulate(part.rank_queries.begin(), part.rank_queries.end(), int64_t{0}), 17);
      for (int64_t i = 0; i < part.queries; ++i, ++b) EXPECT_EQ(parts(part, i), parts(whole, b)) << world << " ranks, text " << b;
    }
    EXPECT_EQ(b, 17);
  }
}

TEST(RetroMaeCollate, MasksChangeWithStepAndSeedAndStayForEvaluation) {
  const FakeRows rows = texts(40);
  const auto labels = [&](uint64_t seed, int64_t step, Purpose purpose) {
    const Batch batch = collate({.seed = seed, .purpose = purpose}, rows, {.step = step, .rows = rows17});
    EXPECT_EQ(batch.keys.empty(), purpose == Purpose::evaluation);
    return batch.mlm_labels;
  };
  const auto first = labels(1, 0, Purpose::training);
  EXPECT_EQ(first, labels(1, 0, Purpose::training));
  EXPECT_NE(first, labels(1, 1, Purpose::training));
  EXPECT_NE(first, labels(2, 0, Purpose::training));
  EXPECT_NE(first, labels(1, 0, Purpose::evaluation));
}

TEST(RetroMaeCollate, CountsTokensAndAllocatesNothingOnceReserved) {
  const FakeRows rows = texts(40);
  RetroMaeCollator collator({.max_len = 50}, words());
  Batch batch;
  collator.reserve(17, 1, batch);
  collator.collate(rows, {.step = 0, .rows = rows17}, batch);
  int64_t tokens = 0;
  for (const int64_t row : rows17) tokens += collator.tokens(rows, row, 0);
  EXPECT_EQ(tokens, std::ssize(batch.ids));
  const uint64_t before = heap_allocations();
  collator.collate(rows, {.step = 1, .rows = rows17}, batch);
  EXPECT_EQ(heap_allocations(), before);
}

TEST(RetroMaeCollate, RefusesPassagesAndImpossibleSettings) {
  const FakeRows rows(test::make_rows(2, 1, 0));
  const std::vector<int64_t> ids = {1};
  EXPECT_EQ(test::error_of([&] { collate({}, rows, {.rows = ids}); }),
            "3 row the row has passages; RetroMAE trains on single texts; row=1 source=s0; do: pack rows of the form {\"text\": \"...\"}");
  EXPECT_THROW(RetroMaeCollator({.max_len = 2}, words()), Error);
  EXPECT_THROW(RetroMaeCollator({.options = {.encoder_mlm_probability = 0}}, words()), Error);
  EXPECT_THROW(RetroMaeCollator({.options = {.decoder_mlm_probability = 1.5}}, words()), Error);
}

TEST(RetroMaeCollate, TextsAlonePackIntoACorpusWithoutPassages) {
  const test::TempDir dir;
  const auto file = test::write_text(
      dir / "wiki.jsonl", "{\"text\": \"one plain text\"}\n{\"text\": \"and a second one\", \"pos\": null, \"source\": \"b\"}\n");
  test::pack_files(dir / "c", {file});
  const Corpus corpus = Corpus::open(dir / "c");
  ASSERT_EQ(corpus.rows(), 2);
  const CorpusRows rows(corpus);
  PackedRow row;
  rows.read(0, row);
  EXPECT_EQ(std::vector<int32_t>(row.query.ids.begin(), row.query.ids.end()), test::words("one plain text"));
  EXPECT_TRUE(row.positives.empty());
  EXPECT_TRUE(row.negatives.empty());
  const std::vector<int64_t> ids = {0, 1};
  const Batch batch = collate({}, rows, {.rows = ids});
  EXPECT_EQ(batch.decoder_ids.size(), 3u + 4 + 4);
  Batch pairs;
  const std::string refused = test::error_of([&] { Collator({}, {101, 102, {}, {}, {}}).collate(rows, {.rows = ids}, pairs); });
  EXPECT_TRUE(refused.starts_with("3 row the row has no positive; row=0 source=wiki")) << refused;
}

}  // namespace
}  // namespace lodestone
