// Do the estimates of `lodestone check` agree with what a step takes?
#include "launch/networks/estimate.h"

#include <gtest/gtest.h>

#include "data/batches/collate.h"
#include "launch/bench/bench_loss.h"
#include "tests/data/batches/fake_rows.h"
#include "tests/support/tiny_model.h"
#include "tests/support/toy_reranker.h"
#include "tests/support/toy_retromae.h"

namespace lodestone {
namespace {

using test::FakeRows;
using test::make_rows;

const Framing plain{0, 1, {}, {}, {}};

/// n rows whose ids fit the vocabulary of tiny_encoder().
FakeRows small_id_rows(int n, int negatives) {
  std::vector<test::FakeRow> rows = make_rows(n, 1, negatives);
  const auto shrink = [](std::vector<int32_t>& ids) {
    for (int32_t& id : ids) id %= 13;
    ids.resize(std::min<size_t>(ids.size(), 7));
  };
  for (test::FakeRow& row : rows) {
    shrink(row.query);
    for (auto& ids : row.positives) shrink(ids);
    for (auto& ids : row.negatives) shrink(ids);
  }
  return FakeRows(rows);
}

TEST(Estimate, LengthsOfAPlanReadInFullAreExact) {
  const FakeRows rows(make_rows(60, 1, 0));
  const Plan plan({.global_batch = 20, .batches = 6}, plan_sources(rows.sources()));
  Collator collator({.query_max_len = 8, .passage_max_len = 64}, plain);
  const LengthSample sample = sample_lengths(plan, rows, collator, {8, 64}, 2, 3);
  EXPECT_EQ(sample.batches, 6);
  double tokens = 0;
  int64_t full = 0;
  for (int64_t step = 0; step < 3; ++step) {
    for (int64_t i = 0; i < 2; ++i) {
      Part part;
      plan.batch(2 * step + i, part);
      Batch batch;
      collator.collate(rows, {.step = step, .rows = part.rows}, batch);
      tokens += static_cast<double>(batch.ids.size());
      for (int64_t b = 0; b < 20; ++b) full += batch.tokens().length(b) == 8;
    }
  }
  EXPECT_DOUBLE_EQ(sample.tokens_per_step, tokens / 3);
  EXPECT_EQ(sample.queries.texts, 120);
  EXPECT_EQ(sample.queries.longest, 8);
  EXPECT_EQ(sample.queries.full, full);
  EXPECT_EQ(sample.passages.longest, 11);
  EXPECT_EQ(sample.passages.full, 0);
  EXPECT_EQ(sample.largest.queries, 7) << "the first rank's share of 20 rows on 3 ranks";
}

TEST(Estimate, LengthsOfAHugeBatchComeFromAPartOfIt) {
  const FakeRows rows(make_rows(9000, 1, 0));
  const Plan plan({.global_batch = 9000, .batches = 5}, plan_sources(rows.sources()));
  Collator collator({}, plain);
  const LengthSample sample = sample_lengths(plan, rows, collator, {512, 512}, 1, 1);
  EXPECT_EQ(sample.batches, 1);
  EXPECT_EQ(sample.queries.texts, 4500);
  EXPECT_NEAR(sample.tokens_per_step, 9000 * 2 * 7, 9000);  // texts have 1 to 9 tokens and two special ones
}

TEST(Estimate, MemoryIsWhatAStepTakesWhateverIsKept) {
  test::Model model(test::tiny_embedder(), DType::f32, "reference");
  const FakeRows rows = small_id_rows(64, 1);
  std::vector<int64_t> ids;
  for (int64_t row = 0; row < 64; ++row) ids.push_back(row);
  Batch batch;
  Collator({.group = 2, .query_max_len = 9, .passage_max_len = 9}, plain).collate(rows, {.rows = ids}, batch);
  InfoNce loss({});
  const auto comm = make_self_comm();
  const Buffer memory(model.backend->memory(), static_cast<size_t>(model.params.layout().count()) * sizeof(float));
  const Tensor grads = memory.tensor(DType::f32, {model.params.layout().count()});
  for (const size_t kept : {size_t{0}, size_t{1} << 20, size_t{1} << 30}) {
    const EmbeddingObjectiveOptions options{.chunk_tokens = 100, .keep_activations_bytes = kept};
    EmbeddingObjective objective(model.encoder, loss, *comm, options);
    model.arena.reset_peak();
    objective.accumulate(model.ex, batch, 1, grads, {});
    const MemoryEstimate estimate = estimate_memory(model.encoder, model.ex, model.params.layout().count(), batch, options, loss);
    const auto counted = static_cast<double>(estimate.activations + estimate.embeddings + estimate.work),
               taken = static_cast<double>(model.arena.peak_bytes());
    EXPECT_GE(counted, 0.9 * taken) << kept;
    EXPECT_LE(counted, 1.1 * taken) << kept;
    EXPECT_EQ(estimate.gradients, memory.size_bytes());
    EXPECT_EQ(estimate.moments, 2 * memory.size_bytes());
  }
}

// Chunks are small, so that the loss is what takes most.
TEST(Estimate, MemoryOfEveryLossIsWhatItTakes) {
  test::Model model(test::tiny_embedder(), DType::f32, "reference");
  const auto comm = make_self_comm();
  const Buffer memory(model.backend->memory(), static_cast<size_t>(model.params.layout().count()) * sizeof(float));
  const Tensor grads = memory.tensor(DType::f32, {model.params.layout().count()});
  std::vector<int64_t> ids;
  for (int64_t row = 0; row < 300; ++row) ids.push_back(row);
  std::vector<double> counted;
  for (const BenchLoss& known : bench_losses()) {
    const FakeRows rows = small_id_rows(300, static_cast<int>(known.group));
    Batch batch;
    Collator({.group = known.group, .query_max_len = 9, .passage_max_len = 9}, plain).collate(rows, {.rows = ids}, batch);
    batch.scores.assign(300, 0.5);
    batch.teacher_scores.assign(static_cast<size_t>(300 * known.group), 0.5);
    const std::unique_ptr<Loss> loss = make_loss(known.config(8), 8);
    const EmbeddingObjectiveOptions options{.chunk_tokens = 20, .keep_activations_bytes = 0};
    EmbeddingObjective objective(model.encoder, *loss, *comm, options);
    model.arena.reset_peak();
    objective.accumulate(model.ex, batch, 1, grads, {});
    const MemoryEstimate estimate = estimate_memory(model.encoder, model.ex, model.params.layout().count(), batch, options, *loss);
    counted.push_back(static_cast<double>(estimate.activations + estimate.embeddings + estimate.work));
    const auto taken = static_cast<double>(model.arena.peak_bytes());
    EXPECT_GE(counted.back(), taken) << known.name;
    EXPECT_LE(0.95 * counted.back(), taken) << known.name;
  }
  const auto of = [&](std::string_view name) { return counted[static_cast<size_t>(&bench_loss(name) - bench_losses().data())]; };
  EXPECT_GT(of("gte"), 1.2 * of("info_nce")) << "losses that all took the same would show nothing";
  EXPECT_GT(of("info_nce_matryoshka"), of("info_nce"));
  EXPECT_LT(of("cosent"), 0.5 * of("info_nce"));
}

/// What one gradient takes of the arena.
template <class Run>
double taken_by_a_step(Run& run, const Batch& batch) {
  run.gradient(0, batch);
  run.arena.reset_peak();
  run.gradient(1, batch);
  return static_cast<double>(run.arena.peak_bytes());
}

TEST(Estimate, RetroMaeAndRerankersTakeTheirHungriestChunk) {
  const auto alone = make_self_comm();
  for (const int64_t chunk_tokens : {20, 60, 1 << 20}) {
    test::ToyRetroMae retro(DType::f32, *alone, {}, chunk_tokens);
    const Batch texts = test::toy_masked_batch(0, 24, 0, 1);
    const MemoryEstimate of_texts = estimate_memory(retro.objective, retro.ex, retro.params.layout().count(), texts, chunk_tokens);
    const double taken = taken_by_a_step(retro, texts);
    EXPECT_GE(static_cast<double>(of_texts.work), taken) << chunk_tokens;  // counted as if all tokens were predicted
    EXPECT_LE(0.75 * static_cast<double>(of_texts.work), taken) << chunk_tokens;
    EXPECT_EQ(of_texts.gradients, retro.gradient_memory.size_bytes());

    test::ToyReranker reranker(DType::f32, *alone, {.chunk_tokens = chunk_tokens});
    const Batch pairs = test::toy_pairs(0, 9, 3, 0, 1);
    const MemoryEstimate of_pairs = estimate_memory(reranker.objective, reranker.ex, reranker.params.layout().count(), pairs);
    const double taken_by_pairs = taken_by_a_step(reranker, pairs);
    EXPECT_GE(static_cast<double>(of_pairs.work), taken_by_pairs) << chunk_tokens;  // of its calls evaluation's may be the hungriest
    EXPECT_LE(0.9 * static_cast<double>(of_pairs.work), taken_by_pairs) << chunk_tokens;
    EXPECT_EQ(of_pairs.moments, 2 * reranker.gradient_memory.size_bytes());
  }
}

}  // namespace
}  // namespace lodestone
