// What ranks must have alike at a start, and replicas whose memory changes while they train.
#include <gtest/gtest.h>

#include <cstring>

#include "core/instruction_set.h"
#include "launch/console/cores.h"
#include "launch/training/replicas.h"
#include "launch/training/same_start.h"
#include "launch/training/step.h"
#include "tests/support/mpi_world.h"
#include "tests/support/tiny_run.h"

namespace lodestone {
namespace {

using test::world;

/// "F46 what; where" of what all ranks throw, or nothing.
template <class Work>
std::string refusal(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    return cat(static_cast<int>(error.exit_code()), ' ', error.code(), ' ', error.what(), "; ", error.where());
  }
  return {};
}

int last_rank() { return world().size() - 1; }
bool odd_one() { return world().rank() == last_rank(); }
/// How a message begins: of two ranks nobody knows which is right.
std::string differs() {
  return cat("rank ", last_rank(), " of ", world().size(), " differs from ", world().size() > 2 ? "most" : "rank 0");
}

/// Flips the lowest bit of one element on this rank, wherever the backend keeps it.
void flip(Run& run, Tensor vector, int64_t element) {
  const Tensor there = vector.slice({element, element + 1});
  HostMemory host;
  const Buffer memory(host, 64);
  const Tensor copy = memory.tensor(DType::f32, {1});
  run.backend->synchronize();
  run.backend->download(there, copy);
  run.backend->synchronize();
  uint32_t bits = 0;
  std::memcpy(&bits, copy.bytes(), sizeof bits);
  bits ^= 1;
  std::memcpy(copy.bytes(), &bits, sizeof bits);
  run.backend->upload(copy, there);
  run.backend->synchronize();
}

class ReplicasOfARun : public ::testing::Test {
 protected:
  std::string data(const char* corpus, const char* rest = "") const {
    return cat("data: {train: ", material_.corpus(corpus), ", query_max_len: 16, passage_max_len: 16}\n", rest);
  }
  test::TinyRun material_;
};

TEST_F(ReplicasOfARun, AFlippedBitIsFoundAndNamesRankTensorAndStep) {
  for (const BackendKind kind : {BackendKind::cpu, BackendKind::debug})
    for (const char* vector : {"params", "adam_m", "adam_v"}) {
      SCOPED_TRACE(cat(kind == BackendKind::cpu ? "cpu, " : "debug, ", vector));
      lodestone::Run run(world(), material_.config(kind, data("triples")), 0);
      Replicas replicas(run);
      replicas.require_same_start(0);
      TrainingStep training(run);
      training.accumulate(0);
      training.update(0);
      replicas.require_same(1);
      const Param& p = run.params().layout().find("encoder.layer.1.output.LayerNorm.bias");
      const Tensor flat = vector == std::string("params")   ? run.params().masters()
                          : vector == std::string("adam_m") ? run.optimizer.first_moments()
                                                            : run.optimizer.second_moments();
      if (odd_one()) flip(run, flat, p.slice.begin + 3);
      const std::string said = refusal([&] { replicas.require_same(1); });
      if (world().size() == 1) {
        EXPECT_EQ(said, "");
        continue;
      }
      EXPECT_TRUE(said.starts_with(cat("6 F46 ", differs(), " in the replica of the weights: ", vector, "/", p.name, " is "))) << said;
      EXPECT_NE(said.find(world().size() > 2 ? cat("; rank=", last_rank(), " host=") : "; rank=0,1 host="), std::string::npos) << said;
      EXPECT_TRUE(said.ends_with(" step=1")) << said;
      if (odd_one()) flip(run, flat, p.slice.begin + 3);
      replicas.require_same(1);
    }
}

TEST_F(ReplicasOfARun, ShardedMomentsAreNotReplicas) {
  lodestone::Run run(world(), material_.config(BackendKind::cpu, data("triples", "optim: {zero: true}\n")), 0);
  TrainingStep training(run);
  training.accumulate(0);
  training.update(0);
  Replicas replicas(run);
  replicas.require_same(1);
  if (run.sync.sharded() && odd_one()) flip(run, run.optimizer.first_moments(), 0);
  replicas.require_same(1);
  if (odd_one()) flip(run, run.params().masters(), 0);
  EXPECT_EQ(refusal([&] { replicas.require_same(1); }).empty(), world().size() == 1);
}

TEST_F(ReplicasOfARun, OtherStartingWeightsAreRefused) {
  if (world().size() == 1) GTEST_SKIP() << "one rank differs from nobody";
  lodestone::Run run(world(), material_.config(BackendKind::cpu, data("triples")), 0);
  const Param& last = run.params().layout().params().back();
  if (odd_one()) flip(run, run.params().masters(), last.slice.end - 1);
  const std::string said = refusal([&] { Replicas(run).require_same_start(0); });
  EXPECT_TRUE(said.starts_with(cat("2 F12 ", differs(), " in the starting weights: params/", last.name, " is "))) << said;
}

TEST_F(ReplicasOfARun, AnotherModelIsRefusedBeforeAnythingIsBuiltOnIt) {
  if (world().size() == 1) GTEST_SKIP() << "one rank differs from nobody";
  RunConfig config = material_.config(BackendKind::cpu, data("triples"));
  config.model.dropout = odd_one() ? 0.25 : 0.125;
  const std::string said = refusal([&] { lodestone::Run(world(), config, 0); });
  EXPECT_TRUE(said.starts_with(
      cat("2 F12 ", differs(), " in the model: hidden_dropout_prob is 0.25 on rank ", last_rank(), ", 0.125 on rank 0; rank=")))
      << said;
}

TEST_F(ReplicasOfARun, AnotherCorpusIsRefusedWhetherTrainedOnOrHeldOut) {
  if (world().size() == 1) GTEST_SKIP() << "one rank differs from nobody";
  const auto built = [&](const char* train, const char* heldout) {
    const std::string yaml = cat("data: {train: ", material_.corpus(train), ", heldout: ", material_.corpus(heldout),
                                 ", query_max_len: 16, passage_max_len: 16}\nloss: {name: cosent}\n");
    return refusal([&] { lodestone::Run(world(), material_.config(BackendKind::cpu, yaml), 0); });
  };
  EXPECT_TRUE(built(odd_one() ? "texts" : "pairs", "pairs").starts_with(cat("2 F12 ", differs(), " in the corpus of data.train; rank=")));
  EXPECT_TRUE(built("pairs", odd_one() ? "texts" : "pairs").starts_with(cat("2 F12 ", differs(), " in the corpus of data.heldout; rank=")));
}

TEST(SameStart, AnotherConfigurationNamesTheKey) {
  if (world().size() == 1) GTEST_SKIP() << "one rank differs from nobody";
  RunConfig config;
  config.keys.resize(2);
  config.keys[0].path = "train.steps";
  config.keys[1].path = "optim.weight_decay";
  config.keys[1].value = odd_one() ? "0.5" : "0.25";
  const std::string said = refusal([&] { require_same_configuration(test::world_comm(), config); });
  EXPECT_TRUE(said.starts_with(
      cat("2 F12 ", differs(), " in the configuration: optim.weight_decay is 0.5 on rank ", last_rank(), ", 0.25 on rank 0; rank=")))
      << said;
}

/// Updates of one vector by gradients that are the same everywhere, with the vector kernels of `set`.
std::vector<float> updated(InstructionSet set) {
  const auto backend = make_backend({.kind = BackendKind::cpu}, set);
  constexpr int64_t n = 4096;
  Buffer memory(backend->memory(), 4 * n * sizeof(float));
  const Tensor all = memory.tensor(DType::f32, {4, n});
  const auto row = [&](int64_t i) { return all.slice({i * n, (i + 1) * n}); };
  const Key key(5);
  const std::vector<UpdateRun> runs{{{0, n}}};
  for (int64_t step = 1; step <= 8; ++step) {
    const std::span<float> gradient = row(0).host<float>();
    for (int64_t i = 0; i < n; ++i) gradient[static_cast<size_t>(i)] = static_cast<float>(key.uniform(static_cast<uint64_t>(step * n + i)));
    backend->adamw({.lr = 1e-3, .t = step}, runs, row(0), row(1), row(2), row(3));
  }
  const std::span<const float> weights = row(1).host<float>();
  return {weights.begin(), weights.end()};
}

TEST(CommonInstructionSet, IsTheLeastOfAllRanksWithWhichReplicasDoNotDrift) {
  Communicator& comm = test::world_comm();
  const InstructionSet own = odd_one() ? InstructionSet::v2 : best_instruction_set();
  const InstructionSet common = common_instruction_set(comm, own);
  EXPECT_EQ(common, InstructionSet::v2);
  EXPECT_EQ(common_instruction_set(comm, InstructionSet::v3), InstructionSet::v3);
  const auto spread = [&](InstructionSet set) {  // whether ranks hold different weights
    const std::vector<float> weights = updated(set);
    double sum = 0;
    for (size_t i = 0; i < weights.size(); ++i) sum += static_cast<double>(weights[i]) * static_cast<double>(i + 1);
    std::array<double, 2> extremes{sum, -sum};
    all_reduce(comm, extremes, Reduce::max);
    return extremes[0] != -extremes[1];
  };
  EXPECT_FALSE(spread(common));
  // The control: what each processor would choose for itself.
  if (world().size() > 1 && best_instruction_set() != InstructionSet::v2) {
    EXPECT_TRUE(spread(own));
  }
}

TEST(CommonInstructionSet, ABackendIsKeptToIt) {
  EXPECT_NE(make_backend({.kind = BackendKind::cpu}, InstructionSet::v2)->description().find("x86-64-v2"), std::string::npos);
}

}  // namespace
}  // namespace lodestone
