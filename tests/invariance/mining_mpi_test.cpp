// Training with live mining, sharded moments and a loss scale: ten steps are five, a restart, and five; and any number of ranks
// makes the same replacements.
#include <gtest/gtest.h>

#include <cmath>

#include "comm/grad_sync.h"
#include "core/optim/clip.h"
#include "core/optim/loss_scale.h"
#include "data/checkpoints/checkpoint.h"
#include "data/checkpoints/loss_scale_document.h"
#include "launch/mining/mining.h"
#include "losses/info_nce.h"
#include "losses/negative_scores.h"
#include "tests/support/gradient_norm.h"
#include "tests/support/mpi_world.h"
#include "tests/support/temp_dir.h"
#include "tests/support/toy_training.h"

namespace lodestone {
namespace {

using test::world_comm;

constexpr int64_t all_rows = 16, batch_rows = 8, negatives = 2, list_length = 20, steps = 10;
// Every row is trained in every second step. Scores fall fast, so that a toy run replaces something at every check.
const HardNegativesConfig mining_config{.negatives = negatives, .every = 2, .first_end = 4, .mean_ratio = 1.01, .mean_limit = 2};

std::vector<int32_t> content(int64_t name) {
  std::mt19937 random(static_cast<uint32_t>(name));
  std::vector<int32_t> ids(2 + random() % 8);
  for (int32_t& id : ids) id = static_cast<int32_t>(5 + random() % 45);
  return ids;
}

/// This rank's part of a step, its negatives those that mining has in use.
Batch mined_batch(int64_t step, const NegativeWindows& windows, int rank, int world) {
  Batch b;
  b.group = 1 + negatives;
  b.global_queries = batch_rows;
  for (int r = 0; r < world; ++r) b.rank_queries.push_back(rank_rows(batch_rows, r, world).end - rank_rows(batch_rows, r, world).begin);
  const RankRows mine = rank_rows(batch_rows, rank, world);
  b.first_query = mine.begin;
  b.queries = mine.end - mine.begin;
  const auto append = [&](const std::vector<int32_t>& ids, int64_t row, Role role, int64_t k, int64_t slot) {
    b.ids.insert(b.ids.end(), ids.begin(), ids.end());
    b.offsets.push_back(static_cast<int64_t>(b.ids.size()));
    b.keys.push_back(text_key(static_cast<uint64_t>(row), role, static_cast<uint64_t>(k), static_cast<uint64_t>(slot)));
  };
  for (int64_t slot = mine.begin; slot < mine.end; ++slot) b.rows.push_back((step * batch_rows + slot) * 5 % all_rows);
  for (int64_t i = 0; i < b.queries; ++i)
    append(content(b.rows[static_cast<size_t>(i)]), b.rows[static_cast<size_t>(i)], Role::query, 0, mine.begin + i);
  for (int64_t i = 0; i < b.queries; ++i) {
    const int64_t row = b.rows[static_cast<size_t>(i)];
    std::vector<int32_t> positive = content(row);
    positive.push_back(3);
    append(positive, row, Role::positive, 0, mine.begin + i);
    for (int64_t k = 0; k < negatives; ++k)
      append(content(1000 + row * 100 + negative_place(windows, row, k, negatives, list_length)), row, Role::negative, k, mine.begin + i);
  }
  b.query_hash.resize(static_cast<size_t>(b.queries));
  b.passage_hash.resize(static_cast<size_t>(b.queries * b.group));
  for (size_t i = 0; i < b.passage_hash.size(); ++i) b.passage_hash[i] = i;
  b.passage_document = b.passage_hash;
  return b;
}

std::unique_ptr<ScoredLoss> scored_loss() {
  return std::make_unique<ScoredLoss>(std::make_unique<InfoNce>(InfoNceOptions{.temperature = 0.1}), Similarity::cosine);
}

struct MinedTraining {
  MinedTraining(DType compute, Communicator& comm)
      : toy(compute, comm, scored_loss(), {}, Checkpointing::none, "cpu"),
        sync(comm, *toy.backend, toy.params.layout().count(), toy.params.wide_dtype(),
             {.piece_bytes = 2048, .update = GradSync::Update::own_slice}),
        optimizer(toy.backend->memory(), {}, toy.params.layout(), toy.params.wide_dtype(), {sync.own(), {}}),
        mining(comm, mining_config, nullptr) {}

  void run(int64_t begin, int64_t end) {
    for (int64_t step = begin; step < end; ++step) {
      const Batch batch = mined_batch(step, mining.negatives(), toy.comm.rank(), toy.comm.size());
      toy.backend->fill_zero(toy.grads);
      sync.begin(toy.grads);
      const auto scope = toy.arena.scope();
      const LossResult result = toy.objective.accumulate(toy.ex.at(Key(5).with(static_cast<uint64_t>(step))), batch, scale.value(),
                                                         toy.grads, zero_total(toy.ex), sync.hook());
      sync.finish(toy.grads);
      const ScaledGradient g = scaled_gradient(test::gradient_norm(sync, toy.comm, *toy.backend, toy.grads), scale.value(), 1, 1);
      ASSERT_TRUE(std::isfinite(g.norm));
      optimizer.step(toy.ex, 0.02, g.factor, toy.grads, toy.params);
      sync.share(toy.params);
      scale.update(GradientState::finite);
      const std::vector<int32_t> lists(batch.rows.size(), list_length);
      mining.observe(step, 0, batch.rows, lists, result.scores);
      if (const auto report = mining.end_of_step(step + 1)) replaced += report->replaced;
    }
  }
  void save(const std::filesystem::path& run_folder, int64_t at) {
    CheckpointManifest m;
    m.step = at;
    m.save_id = 5;
    m.documents[mining_state_file] = mining_state_document(mining.state());
    m.documents[loss_scale_file] = loss_scale_document(scale.state());
    if (toy.comm.rank() == 0) begin_checkpoint(run_folder, at);
    toy.comm.barrier();
    write_part(run_folder, at, 5, toy.comm.rank(), toy.params.layout(), vectors(), optimizer.own());
    toy.comm.barrier();
    if (toy.comm.rank() == 0) publish_checkpoint(run_folder, m, toy.params.layout(), vectors(), toy.comm.size());
    toy.comm.barrier();
  }
  void load(const std::filesystem::path& checkpoint) {
    const CheckpointManifest m = verify_checkpoint(checkpoint);
    load_checkpoint(checkpoint, toy.params.layout(), vectors());
    optimizer.restore_steps(m.step);
    toy.params.refresh(*toy.backend);
    mining.restore(read_mining_state(checkpoint / mining_state_file));
    scale.restore(parse_loss_scale(m.documents.at(loss_scale_file)));
  }
  std::vector<CheckpointVector> vectors() {
    const int64_t begin = optimizer.own().begin;
    return {{"params", toy.params.masters()}, {"adam_m", optimizer.first_moments(), begin}, {"adam_v", optimizer.second_moments(), begin}};
  }
  std::vector<double> values() { return toy.as_doubles(toy.params.masters()); }

  test::ToyRun toy;
  GradSync sync;
  AdamW optimizer;
  LossScale scale{{.initial = 256, .window = 4}};
  Mining mining;
  int64_t replaced = 0;
};

TEST(MinedTraining, TenStepsAreFiveARestartAndFiveWithTheSameBits) {
  const test::TempDir dir;
  std::string folder = dir.path().string();
  broadcast(world_comm(), folder, 0);
  for (const DType compute : {DType::f64, DType::bf16}) {
    MinedTraining straight(compute, world_comm()), first(compute, world_comm()), second(compute, world_comm());
    straight.run(0, steps);
    first.run(0, 5);  // between two checks: scores are on their way
    first.save(folder, 5);
    second.load(folder + "/checkpoint-5");
    second.run(5, steps);
    EXPECT_GT(straight.replaced, 4) << "the run shows nothing";
    EXPECT_EQ(first.replaced + second.replaced, straight.replaced);
    EXPECT_EQ(second.values(), straight.values()) << name_of(compute);
    EXPECT_EQ(second.mining.state(), straight.mining.state());
    EXPECT_EQ(second.scale.state(), straight.scale.state());
    EXPECT_EQ(second.scale.value(), 1024);
    world_comm().barrier();
  }
}

TEST(MinedTraining, InF64ReplacementsDoNotDependOnTheNumberOfRanksNorOnARestartWithAnother) {
  const test::TempDir dir;
  std::string folder = dir.path().string();
  broadcast(world_comm(), folder, 0);
  const auto self = make_self_comm();
  MinedTraining alone(DType::f64, *self), together(DType::f64, world_comm()), resumed(DType::f64, *self);
  alone.run(0, steps);
  together.run(0, 5);
  together.save(folder, 5);
  resumed.load(folder + "/checkpoint-5");
  together.run(5, steps);
  resumed.run(5, steps);
  for (MinedTraining* other : {&together, &resumed}) {
    const MiningState a = alone.mining.state(), b = other->mining.state();
    EXPECT_EQ(b.rows, a.rows);
    ASSERT_EQ(b.scores.size(), a.scores.size());
    for (size_t i = 0; i < a.scores.size(); ++i) EXPECT_NEAR(b.scores[i].initial, a.scores[i].initial, 1e-9);
    EXPECT_LT(test::relative_difference(other->values(), alone.values()), 1e-9);
  }
  world_comm().barrier();
}

}  // namespace
}  // namespace lodestone
