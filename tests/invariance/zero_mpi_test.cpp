// ZeRO-1: five steps with sharded moments give the parameters of five steps without, and their checkpoints are interchangeable.
#include <gtest/gtest.h>

#include <cmath>

#include "comm/grad_sync.h"
#include "core/optim/clip.h"
#include "core/optim/freeze.h"
#include "data/checkpoints/checkpoint.h"
#include "losses/info_nce.h"
#include "losses/loss.h"
#include "tests/support/gradient_norm.h"
#include "tests/support/mpi_world.h"
#include "tests/support/temp_dir.h"
#include "tests/support/toy_training.h"

namespace lodestone {
namespace {

using test::accumulate;
using test::gradient_norm;
using test::world_comm;
using Route = GradSync::Route;
using Update = GradSync::Update;

constexpr int64_t rows = 12;
constexpr double no_limit = 0;

/// A toy run whose gradient sum and optimizer are those of the training loop.
struct Training {
  Training(DType compute, Communicator& comm, Update update, Route route, double max_norm, std::vector<std::string> frozen_names = {})
      : toy(compute, comm, std::make_unique<InfoNce>(InfoNceOptions{.temperature = 0.1}), {}, Checkpointing::none, "cpu"),
        frozen(frozen_ranges(toy.params.layout(), frozen_names)),
        sync(comm, *toy.backend, toy.params.layout().count(), toy.params.wide_dtype(),
             {.piece_bytes = 2048, .route = route, .update = update}),
        optimizer(toy.backend->memory(), compute == DType::f64 ? AdamWConfig{} : test::adam_above_rounding(), toy.params.layout(),
                  toy.params.wide_dtype(), {sync.own(), frozen}),
        max_norm(max_norm) {}

  void step(int64_t step) {
    const Batch batch = test::toy_batch(step, rows, 3, toy.comm.rank(), toy.comm.size());
    toy.backend->fill_zero(toy.grads);
    sync.begin(toy.grads);
    accumulate(toy.objective, toy.ex.at(Key(5).with(static_cast<uint64_t>(step))), batch, 1, toy.grads, sync.hook());
    sync.finish(toy.grads);
    clear_frozen(*toy.backend, frozen, toy.grads);
    norm = gradient_norm(sync, toy.comm, *toy.backend, toy.grads);
    optimizer.step(toy.ex, 0.01, clip_scale(norm, max_norm), toy.grads, toy.params);
    sync.share(toy.params);
  }
  std::vector<CheckpointVector> vectors() {
    const int64_t begin = optimizer.own().begin;
    return {{"params", toy.params.masters()}, {"adam_m", optimizer.first_moments(), begin}, {"adam_v", optimizer.second_moments(), begin}};
  }
  void save(const std::filesystem::path& run, int64_t at) {
    const int64_t n = toy.params.layout().count();
    const bool sharded = optimizer.own().count() < n;
    if (toy.comm.rank() == 0) begin_checkpoint(run, at);
    toy.comm.barrier();
    const auto state = vectors();
    write_part(run, at, 7, toy.comm.rank(), toy.params.layout(), state,
               sharded ? optimizer.own() : checkpoint_share(n, toy.comm.rank(), toy.comm.size()));
    toy.comm.barrier();
    CheckpointManifest m;
    m.step = at;
    m.save_id = 7;
    if (toy.comm.rank() == 0) publish_checkpoint(run, m, toy.params.layout(), state, toy.comm.size());
    toy.comm.barrier();
  }
  void load(const std::filesystem::path& checkpoint, int64_t steps) {
    load_checkpoint(checkpoint, toy.params.layout(), vectors());
    optimizer.restore_steps(steps);
    toy.params.refresh(*toy.backend);
  }
  std::vector<double> values() { return toy.as_doubles(toy.params.masters()); }

  test::ToyRun toy;
  std::vector<Slice> frozen;
  GradSync sync;
  AdamW optimizer;
  double max_norm, norm = 0;
};

TEST(ZeroOne, FiveStepsThroughSharedMemoryGiveTheBitsOfTheUnshardedRun) {
  for (const DType compute : {DType::f64, DType::f32, DType::bf16}) {
    Training whole(compute, world_comm(), Update::everywhere, Route::shared_memory, no_limit);
    Training sharded(compute, world_comm(), Update::own_slice, Route::shared_memory, no_limit);
    for (int64_t s = 0; s < 5; ++s) {
      whole.step(s);
      sharded.step(s);
      EXPECT_NEAR(sharded.norm, whole.norm, 1e-14 * whole.norm) << "the norm's squares are added in another order";
    }
    EXPECT_EQ(sharded.values(), whole.values()) << name_of(compute);
  }
}

TEST(ZeroOne, FiveStepsWithClippingEqualTheUnshardedRunOnBothRoutes) {
  // The norm's squares, and over a communicator the sums themselves, are added in another order: some units in the last place.
  struct Case {
    DType compute;
    double tolerance;
  };
  for (const Case c : {Case{DType::f64, 1e-9}, Case{DType::f32, 1e-6}})
    for (const Route route : {Route::shared_memory, Route::communicator}) {
      Training whole(c.compute, world_comm(), Update::everywhere, route, 0.5);
      Training sharded(c.compute, world_comm(), Update::own_slice, route, 0.5);
      for (int64_t s = 0; s < 5; ++s) {
        whole.step(s);
        sharded.step(s);
        ASSERT_GT(whole.norm, 0.5) << "nothing is clipped";
      }
      EXPECT_LT(test::relative_difference(sharded.values(), whole.values()), c.tolerance) << name_of(c.compute);
      std::vector<double> root = sharded.values();
      world_comm().broadcast(view(std::span(root)), 0).wait();
      EXPECT_EQ(sharded.values(), root) << "ranks differ in their bits";
    }
}

TEST(ZeroOne, MomentsTakeTheSharePerRank) {
  Training whole(DType::f32, world_comm(), Update::everywhere, Route::automatic, no_limit);
  Training sharded(DType::f32, world_comm(), Update::own_slice, Route::automatic, no_limit);
  const auto bytes = [](const Training& t) {
    return static_cast<int64_t>(t.optimizer.first_moments().size_bytes() + t.optimizer.second_moments().size_bytes());
  };
  EXPECT_LE(std::abs(bytes(sharded) - bytes(whole) / world_comm().size()), 2 * 64);
  int64_t sum = bytes(sharded);
  all_reduce(world_comm(), std::span(&sum, 1), Reduce::sum);
  EXPECT_EQ(sum, bytes(whole));
}

TEST(ZeroOne, FrozenPositionsStayAndAreNotCountedByTheNorm) {
  const std::vector<std::string> positions{"embeddings.position_embeddings.weight"};
  for (const Update update : {Update::everywhere, Update::own_slice}) {
    Training none(DType::f64, world_comm(), update, Route::automatic, no_limit);
    Training frozen(DType::f64, world_comm(), update, Route::automatic, no_limit, positions);
    const std::vector<double> before = frozen.values();
    none.step(0);
    frozen.step(0);
    EXPECT_LT(frozen.norm, none.norm);
    for (int64_t s = 1; s < 3; ++s) frozen.step(s);
    const Slice range = frozen.toy.params.layout().find(positions[0]).slice;
    const std::vector<double> after = frozen.values();
    for (int64_t i = 0; i < static_cast<int64_t>(after.size()); ++i) {
      const auto at = static_cast<size_t>(i);
      if (range.begin <= i && i < range.end) {
        EXPECT_EQ(after[at], before[at]) << i;
      }
    }
    EXPECT_GT(test::relative_difference(after, before), 0.001);
  }
}

/// The name of a folder that rank 0 made, on all ranks.
std::string shared_folder(const test::TempDir& dir) {
  std::string name = dir.path().string();
  broadcast(world_comm(), name, 0);
  return name;
}

TEST(ZeroOne, CheckpointsGoFromAnyNumberOfRanksToAnyOtherWithAndWithoutIt) {
  const test::TempDir dir;
  const std::string run = shared_folder(dir);
  const auto self = make_self_comm();
  for (const Update update : {Update::own_slice, Update::everywhere}) {
    // Five steps straight on all ranks; three steps, saved; then the other way of updating for the last two.
    Training straight(DType::f64, world_comm(), update, Route::shared_memory, no_limit);
    for (int64_t s = 0; s < 3; ++s) straight.step(s);
    straight.save(run, 3);
    const Update other = update == Update::own_slice ? Update::everywhere : Update::own_slice;
    Training resumed(DType::f64, world_comm(), other, Route::shared_memory, no_limit);
    resumed.load(run + "/checkpoint-3", 3);
    // One process alone holds all of it, and saves what all ranks load.
    Training alone(DType::f64, *self, update, Route::shared_memory, no_limit);
    alone.load(run + "/checkpoint-3", 3);
    EXPECT_EQ(alone.values(), straight.values());
    if (world_comm().rank() == 0) alone.save(run, 4);
    world_comm().barrier();
    Training again(DType::f64, world_comm(), update, Route::shared_memory, no_limit);
    again.load(run + "/checkpoint-4", 3);
    for (int64_t s = 3; s < 5; ++s) {
      straight.step(s);
      resumed.step(s);
      again.step(s);
    }
    EXPECT_EQ(resumed.values(), straight.values());
    EXPECT_EQ(again.values(), straight.values());
    world_comm().barrier();
  }
}

TEST(ZeroOne, ARankWithoutItsShareOfTheMomentsRefusesToWriteThem) {
  ParamLayout layout;
  layout.add("w", {10}, Decay::yes);
  std::vector<double> values(4);
  const std::vector<CheckpointVector> part{{"adam_m", view(std::span(values)), 3}};
  EXPECT_THROW(write_part("/nowhere", 1, 1, 0, layout, part, {0, 10}), Error);
  EXPECT_THROW(write_part("/nowhere", 1, 1, 0, layout, part, {2, 5}), Error);
}

}  // namespace
}  // namespace lodestone
