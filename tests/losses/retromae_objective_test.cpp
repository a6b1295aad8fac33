// RetroMaeObjective on one rank: exact gradients, chunks that change nothing, plain MLM where the decoder counts nothing, bounded
// memory, and that it learns.
#include "losses/retromae_objective.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <random>

#include "core/null/dry_run.h"
#include "core/step_texts.h"
#include "launch/console/allocations.h"
#include "tests/support/arena_peak.h"
#include "tests/support/gradcheck.h"
#include "tests/support/rounding.h"
#include "tests/support/tiny_model.h"
#include "tests/support/toy_retromae.h"

namespace lodestone::test {
namespace {

constexpr int64_t one_chunk = 100000;
const RetroMaeOptions embed_block{}, add{.h1_mode = QueryStream::add}, basic{.decoding = Decoding::basic};

std::vector<double> gradient(DType compute, const RetroMaeOptions& options, int64_t chunk_tokens, double& value,
                             const char* kind = "reference", MlmTile tile = {.rows = 16, .elements = 128}) {
  const auto self = make_self_comm();
  ToyRetroMae run(compute, *self, options, chunk_tokens, kind, tile);
  value = run.gradient(3, toy_masked_batch(3, 9, 0, 1, options));
  return run.as_doubles(run.grads);
}

TEST(RetroMaeObjective, B2_GradientOfTheWholeModelAgreesWithCentralDifferences) {
  const auto self = make_self_comm();
  for (const RetroMaeOptions& options : {embed_block, add, basic}) {
    RetroMaeOptions weighted = options;
    weighted.decoder_weight = 0.7;
    ToyRetroMae run(DType::f64, *self, weighted, 30);
    const Batch batch = toy_masked_batch(3, 5, 0, 1, options);
    run.gradient(3, batch);
    const std::vector<double> g = run.as_doubles(run.grads);
    std::vector<double> values = run.as_doubles(run.params.masters());
    const auto loss = [&] {
      run.set_masters(values);
      return accumulate(run.objective, run.at_step(3), batch, 1, run.grads, {});
    };
    expect_gradient("RetroMAE", values, g, loss, 211);
    std::mt19937 random(9);
    std::normal_distribution<double> normal;
    std::vector<double> v(g.size());
    for (double& x : v) x = normal(random);
    // Along a direction through 6,000 parameters third derivatives are large: a smaller step than the check of single ones.
    double along = 0;
    for (size_t i = 0; i < g.size(); ++i) along += g[i] * v[i];
    const double h = 1e-6;
    const auto moved = [&](double by) {
      for (size_t i = 0; i < v.size(); ++i) values[i] += by * v[i];
      return loss();
    };
    const double above = moved(h), below = moved(-2 * h);
    EXPECT_NEAR(along, (above - below) / (2 * h), 1e-6 * std::abs(along));
  }
}

TEST(RetroMaeObjective, ChunksAndTilesGiveEqualGradientsWithDropout) {
  for (const RetroMaeOptions& options : {embed_block, add, basic}) {
    double whole_value = 0;
    const std::vector<double> whole = gradient(DType::f64, options, one_chunk, whole_value, "reference", {});
    ASSERT_GT(dot(whole, whole), 0.01);
    for (const int64_t chunk_tokens : {1, 20, 50}) {
      double value = 0;
      const std::vector<double> chunked = gradient(DType::f64, options, chunk_tokens, value);
      EXPECT_NEAR(value, whole_value, 1e-13 * whole_value);
      for (size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(chunked[i], whole[i], 1e-13) << chunk_tokens << " tokens, element " << i;
    }
  }
}

TEST(RetroMaeObjective, FastBackendsAgreeWithTheReference) {
  const auto self = make_self_comm();
  for (const RetroMaeOptions& options : {embed_block, add, basic}) {
    const Batch batch = toy_masked_batch(3, 9, 0, 1, options);
    ToyRetroMae run(DType::f64, *self, options, 60);
    const double exact_value = run.gradient(3, batch);
    const std::vector<double> exact = run.as_doubles(run.grads);
    run.set_masters(beside(run.as_doubles(run.params.masters())));
    const double value_there = run.gradient(3, batch);
    const std::vector<double> there = run.as_doubles(run.grads);
    const int64_t terms = toy_retromae_config().encoder.vocab;  // of the longest sum: a row's words

    double value = 0;
    const std::vector<double> single = gradient(DType::f32, options, 60, value, "cpu");
    EXPECT_LT(distance_between(single, exact), rounding_of(exact, there, terms));
    EXPECT_NEAR(value, exact_value, rounding_of({&exact_value, 1}, {&value_there, 1}, terms));
    EXPECT_LT(distance_between(gradient(DType::bf16, options, 60, value, "cpu"), exact), stored_rounding_of(exact, there));
    EXPECT_NEAR(value, exact_value, stored_rounding_of({&exact_value, 1}, {&value_there, 1}));
  }
}

// The same loss put together here from the encoder and the head alone.
TEST(RetroMaeObjective, B3_WithoutTheDecodersLossItIsPlainMlm) {
  const auto self = make_self_comm();
  ToyRetroMae run(DType::f64, *self, {.decoder_weight = 0}, 30);
  const Batch batch = toy_masked_batch(3, 9, 0, 1);
  const double value = run.gradient(3, batch);
  const std::vector<double> ours = run.as_doubles(run.grads);

  Exec ex = run.at_step(3);
  const MlmHead head = make_mlm_head(toy_retromae_config().encoder, run.params.layout(), {});
  std::vector<int64_t> places;
  std::vector<int32_t> labels;
  for (size_t s = 0; s < batch.mlm_labels.size(); ++s) {
    if (batch.mlm_labels[s] == no_label) continue;
    places.push_back(static_cast<int64_t>(s));
    labels.push_back(batch.mlm_labels[s]);
  }
  const auto scope = run.arena.scope();  // of what is uploaded from places and labels
  const int64_t R = std::ssize(places), S = batch.tokens().tokens(), H = 16;
  const Tensor grads = run.arena.tensor(DType::f64, {std::ssize(ours)}), total = zero_total(ex);
  run.backend->fill_zero(grads);
  const DeviceTexts tokens = upload_texts(*run.backend, run.arena, in_step(ex, batch.tokens()));
  const ConstTensor rows = run.backend->upload(view(std::span(places)), run.arena),
                    ids = run.backend->upload(view(std::span(labels)), run.arena);
  EncoderSaved* saved = run.encoder.forward_tokens(ex, tokens);
  const Activation x = take_rows(ex, DType::f64, R, H, Padding::zero), dx = take_rows(ex, DType::f64, R, H, Padding::zero);
  const Activation d = take_rows(ex, DType::f64, S, H, Padding::zero);
  run.backend->fill_zero(d.padded);
  run.backend->select_rows(saved->inputs.back().real(), rows, x.real());
  head.gradient(ex, run.params, x, ids, 1.0 / static_cast<double>(R), dx, grads, total);
  run.backend->place_rows(dx.real(), rows, d.real());
  run.encoder.backward_tokens(ex, tokens, saved, d, grads, {});
  EXPECT_NEAR(value, run.as_doubles(total)[0] / static_cast<double>(R), 1e-13 * value);
  EXPECT_LT(relative_error(ours, run.as_doubles(grads)), 1e-13);
  const Slice decoder = MlmDecoder(toy_retromae_config().encoder, run.params.layout(), Decoding::enhanced, QueryStream::add).slice();
  for (int64_t i = decoder.begin; i < decoder.end; ++i) ASSERT_EQ(ours[static_cast<size_t>(i)], 0);
}

TEST(RetroMaeObjective, B3_LossAndGradientAreTheSumOfBothSides) {
  double values[3];
  std::vector<double> g[3];
  for (size_t w = 0; w < 3; ++w) g[w] = gradient(DType::f64, {.decoder_weight = static_cast<double>(w)}, 50, values[w]);
  EXPECT_NEAR(values[2] - values[1], values[1] - values[0], 1e-12);
  EXPECT_GT(values[1] - values[0], 1);  // a decoder's cross-entropy over 50 words
  for (size_t i = 0; i < g[0].size(); ++i) ASSERT_NEAR(g[2][i] - g[1][i], g[1][i] - g[0][i], 1e-12) << i;
}

/// Both losses of a batch: this rank's shares of L_enc and of L_dec.
std::array<double, 2> shares_of(ToyRetroMae& run, const Batch& batch) {
  const auto scope = run.arena.scope();
  const Tensor shares = run.arena.tensor(DType::f64, {2});
  run.backend->fill_zero(shares);
  run.objective.evaluate_both(run.ex, batch, shares);
  const std::vector<double> values = run.as_doubles(shares);
  return {values[0], values[1]};
}

TEST(RetroMaeObjective, B3_SharesAreTheTwoMeans) {
  const auto self = make_self_comm();
  ToyRetroMae run(DType::f64, *self, {.decoder_weight = 0.5}, 50);
  const Batch batch = toy_masked_batch(3, 9, 0, 1, {}, Purpose::evaluation);
  const double value = evaluate(run.objective, run.ex, batch);
  const auto [encoder, decoder] = shares_of(run, batch);
  EXPECT_NEAR(value, encoder + 0.5 * decoder, 1e-14 * value);
  for (const double mean : {encoder, decoder}) EXPECT_NEAR(mean, std::log(50.0), 1.5);  // untrained: about uniform
}

TEST(RetroMaeObjective, EvaluateDropsNothingAndEqualsAccumulateWithoutKeys) {
  const auto self = make_self_comm();
  for (const RetroMaeOptions& options : {embed_block, add, basic}) {
    ToyRetroMae run(DType::f64, *self, options, 40);
    Batch batch = toy_masked_batch(3, 6, 0, 1, options);
    const double once = evaluate(run.objective, run.ex.with(Key(1)), batch), again = evaluate(run.objective, run.ex.with(Key(2)), batch);
    EXPECT_EQ(once, again);
    EXPECT_NE(once, run.gradient(0, batch));  // dropout is on there
    batch.keys.clear();
    EXPECT_NEAR(once, run.gradient(0, batch), 1e-13);
  }
}

TEST(RetroMaeObjective, HookReportsEveryParameterOnceInTheLastChunkOnly) {
  const auto self = make_self_comm();
  ToyRetroMae run(DType::f64, *self, {}, 20);
  Batch none = toy_masked_batch(3, 1, 0, 1);  // a rank without texts
  for (auto* v : {&none.ids, &none.mlm_labels, &none.decoder_ids, &none.decoder_labels}) v->clear();
  none.offsets.assign(1, 0);
  none.keys.clear();
  none.mask_first.clear();
  none.mask_of_row.clear();
  for (const Batch& batch : {toy_masked_batch(3, 6, 0, 1), none}) {
    const HookReport seen = watch_hook(run, run.objective, batch);
    EXPECT_EQ(seen.times, std::vector<int>(seen.times.size(), 1));
    EXPECT_EQ(seen.gradient, run.as_doubles(run.grads));  // final when reported
  }
}

TEST(RetroMaeObjective, AllocatesNothingOnceWarm) {
  const auto self = make_self_comm();
  ToyRetroMae run(DType::f32, *self, {}, 40, "cpu");
  const Batch batch = toy_masked_batch(3, 9, 0, 1);
  const GradHook ready = [](Slice) {};
  accumulate(run.objective, run.ex, batch, 1, run.grads, ready);
  const uint64_t before = heap_allocations();
  accumulate(run.objective, run.ex, batch, 1, run.grads, ready);
  EXPECT_EQ(heap_allocations(), before);
}

TEST(RetroMaeObjective, MemoryIsThatOfAChunkWhateverTheBatch) {
  const auto self = make_self_comm();
  const auto peak = [&](int64_t n) {
    ToyRetroMae run(DType::f32, *self, {}, 64);
    run.gradient(0, toy_masked_batch(0, n, 0, 1));
    return run.arena.peak_bytes();
  };
  const auto few = peak(40);
  EXPECT_NEAR(static_cast<double>(peak(400)), static_cast<double>(few), 0.05 * static_cast<double>(few));
}

TEST(RetroMaeObjective, ADryRunTakesTheBytesOfTheRealOne) {
  const auto self = make_self_comm();
  for (const RetroMaeOptions& options : {embed_block, add, basic, RetroMaeOptions{.decoder_weight = 0}})
    for (const DType compute : {DType::f32, DType::bf16}) {
      ToyRetroMae run(compute, *self, options, one_chunk, "cpu", {});
      const Batch batch = toy_masked_batch(0, 40, 0, 1, options);
      DryRun dry(*run.backend);
      for (const auto& work : {std::function([&](Exec ex) { accumulate(run.objective, ex, batch, 1, run.grads, {}); }),
                               std::function([&](Exec ex) { evaluate(run.objective, ex, batch); })}) {
        const size_t taken = peak_of(run.ex, work);
        EXPECT_GT(taken, 0u);
        EXPECT_EQ(peak_of(dry.exec(run.ex), work), taken);
      }
    }
}

TEST(RetroMaeObjective, RefusesBatchesThatAreNotMasked) {
  const auto self = make_self_comm();
  ToyRetroMae run(DType::f64, *self, {}, 20);
  Batch batch = toy_masked_batch(3, 6, 0, 1);
  batch.mlm_labels.clear();
  EXPECT_THROW(evaluate(run.objective, run.ex, batch), Error);
  EXPECT_THROW(ToyRetroMae(DType::f64, *self, {.decoder_weight = -1}, 20), Error);
}

TEST(RetroMaeObjective, BothLossesFallOnAFewTexts) {
  const auto self = make_self_comm();
  ToyRetroMae run(DType::f32, *self, {}, 100, "cpu");
  const Batch held = toy_masked_batch(0, 10, 0, 1, {}, Purpose::evaluation);
  const auto before = shares_of(run, held);
  for (int64_t step = 0; step < 150; ++step) {
    const Batch batch = toy_masked_batch(step * 40, 10, 0, 1);  // the same ten texts under other masks
    run.train_step(step, batch, 5e-3);
  }
  const auto after = shares_of(run, held);
  EXPECT_LT(after[0], before[0] - 0.5);
  EXPECT_LT(after[1], before[1] - 0.5);
}

}  // namespace
}  // namespace lodestone::test
