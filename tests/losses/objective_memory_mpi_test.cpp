// Does an objective that is run where nothing is computed and no other rank is there take the step memory that it takes in truth, on a
// backend whose products pad their rows?
#include <gtest/gtest.h>

#include "comm/null_comm.h"
#include "core/null/dry_run.h"
#include "losses/make_loss.h"
#include "tests/support/arena_peak.h"
#include "tests/support/mpi_world.h"
#include "tests/support/toy_reranker.h"
#include "tests/support/toy_retromae.h"

namespace lodestone::test {
namespace {

/// Rows of a batch: uneven on 2 to 4 ranks, and one that the last rank has alone. Of texts for RetroMAE there is one for every rank.
constexpr int64_t batch_sizes[] = {7, 1};

/// `dry` is the same objective as `real`, over ranks that are not there.
void expect_equal_peaks(const std::string& what, ToyStep& run, Objective& real, Objective& dry, const Batch& batch) {
  ASSERT_GT(run.backend->row_bucket(), 1) << "nothing is padded";
  const auto compare = [&](const char* task, const auto& work) {
    DryRun nothing(*run.backend);
    const size_t taken = peak_of(run.ex, [&](Exec ex) { work(real, ex); });
    EXPECT_EQ(peak_of(nothing.exec(run.ex), [&](Exec ex) { work(dry, ex); }), taken)
        << what << ", " << task << ", " << batch.queries << " of " << batch.global_queries << " rows in " << name_of(run.ex.compute);
    EXPECT_TRUE(taken > 0 || batch.queries == 0) << what;
  };
  compare("training", [&](Objective& objective, Exec ex) { accumulate(objective, ex, batch, 1, run.grads, {}); });
  compare("evaluation", [&](Objective& objective, Exec ex) { evaluate(objective, ex, batch); });
}

/// For both precisions, batches of each size and chunks of one text, of some and of all: body(precision, rows, chunk tokens).
template <class Body>
void for_each_setting(const Body& body) {
  for (const DType compute : {DType::f32, DType::bf16})
    for (const int64_t n : batch_sizes)
      for (const int64_t chunk_tokens : {1, 40, 1 << 20}) body(compute, n, chunk_tokens);
}

TEST(ObjectiveMemory, EmbeddingTakesWithEveryLossWhatItsDryRunTakes) {
  Communicator& world = world_comm();
  const auto nobody = make_null_comm(world.rank(), world.size());
  of_each_loss([&]<class Options>(const Options& options) {
    const bool scored = LossRow<Options>::reads == LossReads::gold_scores;
    const LossConfig config{.terms = {{options}}};
    for_each_setting([&](DType compute, int64_t n, int64_t chunk_tokens) {
      Batch batch = toy_batch(0, n, scored ? 1 : 3, world.rank(), world.size());
      batch.scores.assign(static_cast<size_t>(batch.queries), 0.5);
      batch.teacher_scores.assign(static_cast<size_t>(batch.queries * batch.group), 0.5);
      for (const size_t kept : {size_t{0}, size_t{1} << 30}) {
        const EmbeddingObjectiveOptions settings{.chunk_tokens = chunk_tokens, .keep_activations_bytes = kept};
        ToyRun run(compute, world, make_loss(config, 12, Device::cpu), settings, Checkpointing::none, "cpu");
        EmbeddingObjective dry(run.encoder, *run.loss, *nobody, settings);
        expect_equal_peaks(describe(config), run, run.objective, dry, batch);
      }
    });
    return 0;
  });
}

TEST(ObjectiveMemory, RetroMaeTakesWhatItsDryRunTakes) {
  Communicator& world = world_comm();
  const auto nobody = make_null_comm(world.rank(), world.size());
  for (const RetroMaeOptions& options : {RetroMaeOptions{}, RetroMaeOptions{.decoding = Decoding::basic}})
    for_each_setting([&](DType compute, int64_t n, int64_t chunk_tokens) {
      const MlmTile tile{.rows = 16, .elements = 128};
      ToyRetroMae run(compute, world, options, chunk_tokens, "cpu", tile);
      RetroMaeObjective dry(run.encoder, run.params, *nobody, options, chunk_tokens, tile);
      const Batch batch = toy_masked_batch(0, n + 4, world.rank(), world.size(), options);
      expect_equal_peaks("RetroMAE", run, run.objective, dry, batch);
    });
}

TEST(ObjectiveMemory, ARerankerTakesWhatItsDryRunTakes) {
  Communicator& world = world_comm();
  for (const GroupTarget target : {GroupTarget::cross_entropy, GroupTarget::binary})
    for_each_setting([&](DType compute, int64_t n, int64_t chunk_tokens) {
      const RerankerOptions options{.loss = {.target = target, .distillation_weight = 0.5}, .chunk_tokens = chunk_tokens};
      ToyReranker run(compute, world, options, "cpu");
      expect_equal_peaks("reranker", run, run.objective, run.objective, toy_pairs(0, n, 3, world.rank(), world.size()));
    });
}

}  // namespace
}  // namespace lodestone::test
