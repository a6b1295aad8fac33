// Do the estimates of `lodestone check` agree with what a step takes?
#include "launch/networks/estimate.h"

#include <gtest/gtest.h>

#include <numeric>

#include "comm/null_comm.h"
#include "core/null/dry_run.h"
#include "data/batches/collate.h"
#include "launch/bench/bench_loss.h"
#include "losses/embedding_objective.h"
#include "tests/data/batches/fake_rows.h"
#include "tests/support/arena_peak.h"
#include "tests/support/evaluate.h"
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

/// What one accumulation takes of the arena.
size_t taken_by(Objective& objective, const Exec& ex, const Batch& batch, Tensor grads) {
  const auto scope = ex.arena.scope();
  return test::peak_of(ex, [&](Exec e) { objective.accumulate(e.at(Key(1)), batch, 1, grads, zero_total(e), {}); });
}

/// What it is estimated to take.
size_t of_step(const MemoryEstimate& estimate) { return estimate.activations + estimate.embeddings + estimate.work; }

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
  size_t activations = 0;
  for (const size_t kept : {size_t{0}, size_t{1} << 18, size_t{1} << 30}) {
    const EmbeddingObjectiveOptions options{.chunk_tokens = 100, .keep_activations_bytes = kept};
    const auto make = [&](const Group& group) { return std::make_unique<EmbeddingObjective>(model.encoder, loss, group, options); };
    const MemoryEstimate estimate = estimate_memory(model.ex, model.params.layout().count(), batch, make);
    EXPECT_EQ(of_step(estimate), taken_by(*make(*comm), model.ex, batch, grads)) << kept;
    EXPECT_EQ(estimate.gradients, memory.size_bytes());
    EXPECT_EQ(estimate.moments, 2 * memory.size_bytes());
    EXPECT_GT(estimate.activations, activations) << "more is kept";
    EXPECT_GE(estimate.embeddings, size_t{3 * 192 * 8 * sizeof(float)}) << "vectors, their gradient and a copy";
    activations = estimate.activations;
  }
}

// Nobody is there but one rank of three.
TEST(Estimate, WhatABatchLacksIsMadeUp) {
  test::Model model(test::tiny_embedder(), DType::f32, "reference");
  const Batch bare = longest_lengths(900, {5, 9}, 1, 3, 1, 3).largest;
  Batch complete = bare;
  complete.query_hash.resize(300);
  complete.passage_hash.resize(900);
  std::iota(complete.query_hash.begin(), complete.query_hash.end(), uint64_t{1});
  std::iota(complete.passage_hash.begin(), complete.passage_hash.end(), uint64_t{1000});
  complete.passage_document = complete.passage_hash;
  complete.keys.assign(1200, 5);
  complete.teacher_scores.assign(900, 0.5);
  const LossOptions all_masked[] = {InfoNceOptions{.duplicates = Duplicates::masked}, GteOptions{.duplicates = Duplicates::masked},
                                    CbbOptions{.other_positives = OtherPositives::included, .duplicates = Duplicates::masked},
                                    StabilisedOptions{.duplicates = Duplicates::masked}};
  for (const LossOptions& options : all_masked) {
    const LossConfig config{.terms = {{options}}};
    const std::unique_ptr<Loss> loss = make_loss(config, 8, model.backend->device());
    const auto estimate = [&](const Batch& batch) {
      return of_step(estimate_memory(model.ex, model.params.layout().count(), batch, [&](const Group& group) {
        return std::make_unique<EmbeddingObjective>(model.encoder, *loss, group,
                                                    EmbeddingObjectiveOptions{.chunk_tokens = 20, .keep_activations_bytes = 0});
      }));
    };
    complete.in_batch_negatives = true;
    EXPECT_EQ(estimate(bare), estimate(complete)) << describe(config);
    complete.in_batch_negatives = false;
    EXPECT_EQ(estimate(bare), estimate(complete)) << describe(config) << ": others of the task's batches may have them";
  }
}

// Chunks are small, so that the loss is what takes most.
TEST(Estimate, MemoryOfEveryLossIsWhatItTakes) {
  test::Model reference(test::tiny_embedder(), DType::f32, "reference"), with_bf16(test::tiny_embedder(), DType::f32, "cpu");
  const auto comm = make_self_comm();
  const Buffer memory(reference.backend->memory(), static_cast<size_t>(reference.params.layout().count()) * sizeof(float));
  const Tensor grads = memory.tensor(DType::f32, {reference.params.layout().count()});
  std::vector<int64_t> ids;
  for (int64_t row = 0; row < 300; ++row) ids.push_back(row);
  std::vector<double> counted;
  for (const BenchLoss& known : bench_losses()) {
    const FakeRows rows = small_id_rows(300, static_cast<int>(known.group));
    Batch batch;
    Collator({.group = known.group, .query_max_len = 9, .passage_max_len = 9}, plain).collate(rows, {.rows = ids}, batch);
    batch.scores.assign(300, 0.5);
    batch.teacher_scores.assign(static_cast<size_t>(300 * known.group), 0.5);
    const test::Model& model = rounds_scores(known.config(8)) ? with_bf16 : reference;
    const std::unique_ptr<Loss> loss = make_loss(known.config(8), 8, model.backend->device());
    const EmbeddingObjectiveOptions options{.chunk_tokens = 20, .keep_activations_bytes = 0};
    const auto make = [&](const Group& group) { return std::make_unique<EmbeddingObjective>(model.encoder, *loss, group, options); };
    const size_t of_loss = of_step(estimate_memory(model.ex, model.params.layout().count(), batch, make));
    EXPECT_EQ(of_loss, taken_by(*make(*comm), model.ex, batch, grads)) << known.name;
    counted.push_back(static_cast<double>(of_loss));
  }
  const auto of = [&](std::string_view name) { return counted[static_cast<size_t>(&bench_loss(name) - bench_losses().data())]; };
  EXPECT_GT(of("gte"), 1.2 * of("info_nce")) << "losses that all took the same would show nothing";
  EXPECT_GT(of("info_nce_matryoshka"), of("info_nce"));
  EXPECT_LT(of("cosent"), 0.5 * of("info_nce"));
}

TEST(Estimate, RetroMaeAndRerankersTakeTheirHungriestChunk) {
  const auto alone = make_self_comm();
  for (const int64_t chunk_tokens : {20, 60, 1 << 20}) {
    test::ToyRetroMae retro(DType::f32, *alone, {}, chunk_tokens);
    const Batch texts = test::toy_masked_batch(0, 24, 0, 1);
    const auto of_retro = [&](const Batch& batch) {
      return estimate_memory(retro.ex, retro.params.layout().count(), batch, [&](const Group& group) {
        return std::make_unique<RetroMaeObjective>(retro.encoder, retro.params, group, RetroMaeOptions{}, chunk_tokens,
                                                   MlmTile{.rows = 16, .elements = 128});
      });
    };
    const MemoryEstimate of_texts = of_retro(texts);
    EXPECT_EQ(of_texts.work, taken_by(retro.objective, retro.ex, texts, retro.grads)) << chunk_tokens;
    EXPECT_EQ(of_texts.activations + of_texts.embeddings, 0u);
    EXPECT_EQ(of_texts.gradients, retro.gradient_memory.size_bytes());
    Batch unmasked = texts;  // every token is predicted
    for (auto* of_tokens : {&unmasked.mlm_labels, &unmasked.decoder_ids, &unmasked.decoder_labels}) of_tokens->clear();
    unmasked.mask_bits.clear();
    unmasked.mask_first.clear();
    unmasked.mask_of_row.clear();
    EXPECT_GT(of_retro(unmasked).work, of_texts.work);

    test::ToyReranker reranker(DType::f32, *alone, {.chunk_tokens = chunk_tokens});
    const Batch pairs = test::toy_pairs(0, 9, 3, 0, 1);
    const MemoryEstimate of_pairs = estimate_memory(reranker.ex, reranker.params.layout().count(), pairs, [&](const Group&) {
      return std::make_unique<RerankerObjective>(reranker.reranker, RerankerOptions{.chunk_tokens = chunk_tokens});
    });
    EXPECT_EQ(of_pairs.work, taken_by(reranker.objective, reranker.ex, pairs, reranker.grads)) << chunk_tokens;
    EXPECT_EQ(of_pairs.activations + of_pairs.embeddings, 0u);
    EXPECT_EQ(of_pairs.moments, 2 * reranker.gradient_memory.size_bytes());
  }
}

/// `dry` is the same objective over ranks of which none need be there.
void expect_dry_evaluation(const char* what, test::ToyStep& run, Objective& objective, Objective& dry, const Batch& batch) {
  const auto evaluating = [&](Objective& of) { return [&](Exec ex) { test::evaluate(of, ex, batch); }; };
  DryRun nothing(*run.backend);
  const size_t taken = test::peak_of(run.ex, evaluating(objective));
  EXPECT_GT(taken, 0u) << what;
  EXPECT_EQ(test::peak_of(nothing.exec(run.ex), evaluating(dry)), taken) << what;
}

TEST(Estimate, ADryEvaluationTakesWhatEvaluationTakes) {
  const auto alone = make_self_comm(), nobody = make_null_comm(0, 1);
  test::ToyRun embedder(DType::f32, *alone, std::make_unique<InfoNce>(InfoNceOptions{}), {.chunk_tokens = 60});
  EmbeddingObjective dry_embedder(embedder.encoder, *embedder.loss, *nobody, {.chunk_tokens = 60});
  expect_dry_evaluation("embedder", embedder, embedder.objective, dry_embedder, test::toy_batch(0, 9, 3, 0, 1));
  test::ToyRetroMae retro(DType::f32, *alone, {}, 60);
  expect_dry_evaluation("RetroMAE", retro, retro.objective, retro.objective, test::toy_masked_batch(0, 24, 0, 1));
  test::ToyReranker reranker(DType::f32, *alone, {.loss = {.distillation_weight = 0.5}, .chunk_tokens = 60});
  expect_dry_evaluation("reranker", reranker, reranker.objective, reranker.objective, test::toy_pairs(0, 9, 3, 0, 1));
}

}  // namespace
}  // namespace lodestone
