// What a run does beside its steps, on a device: held-out rows, mining, checkpoints and the folder that users load are those of the CPU.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "launch/training/run_checkpoint.h"
#include "launch/training/step.h"
#include "tests/support/mpi_world.h"
#include "tests/support/tiny_run.h"

namespace lodestone {
namespace {

using test::world;

/// What two steps and all that follows left; the same on all ranks.
struct Outcome {
  std::map<std::string, double> heldout;
  int64_t checked = 0;  // rows that mining judged
  std::vector<float> parameters;
};

std::vector<float> parameters_of(Run& run) {
  std::vector<float> values;
  read_on_host(run.params(), *run.backend, [&](const ParamStore& host) {
    const auto masters = host.masters().host<float>();
    values.assign(masters.begin(), masters.end());
  });
  return values;
}

/// The state of a run that goes on from the checkpoint is the snapshot, byte by byte.
void expect_restored(RunConfig config, const std::filesystem::path& checkpoint, const RunSnapshot& saved) {
  Run run(world(), std::move(config), saved.manifest.step);
  restore_run(run, checkpoint);
  const RunSnapshot again = take_snapshot(run, saved.manifest.step);
  ASSERT_EQ(again.vectors.size(), saved.vectors.size());
  for (size_t i = 0; i < again.vectors.size(); ++i) {
    const Tensor a = again.vectors[i].values, b = saved.vectors[i].values;
    ASSERT_EQ(a.size_bytes(), b.size_bytes());
    EXPECT_EQ(std::memcmp(a.bytes(), b.bytes(), a.size_bytes()), 0) << again.vectors[i].name;
  }
  EXPECT_EQ(again.manifest.documents, saved.manifest.documents);
}

/// Files are written into `folder`, which all ranks see.
Outcome whole_run(const RunConfig& config, const std::filesystem::path& folder) {
  Outcome outcome;
  Run run(world(), config, 0);
  TrainingStep training(run);
  for (int64_t step = 0; step < 2; ++step) {
    training.accumulate(step);
    EXPECT_TRUE(training.update(step).finite);
    if (const std::optional<MiningReport> report = mine(run, step + 1)) outcome.checked += report->checked;
  }
  for (const HeldOutFigures& task : heldout_figures(run))
    for (const Figure& figure : task.figures) outcome.heldout[figure.name] = figure.value;
  outcome.parameters = parameters_of(run);

  const RunSnapshot snapshot = take_snapshot(run, 2);
  EXPECT_EQ(write_snapshot(run.planes.group().host, folder, snapshot), "");
  expect_restored(config, folder / "checkpoint-2", snapshot);
  if (world().rank() == 0) {
    run.network->keep_source(run.tokenizer, folder / "source");
    run.network->write(folder / "model", folder / "source", {}, run.tokenizer, *run.backend);  // proves what it wrote
    EXPECT_TRUE(std::filesystem::exists(folder / "model/model.safetensors"));
  }
  return outcome;
}

class DevicePaths : public ::testing::Test {
 protected:
  std::string rows(const char* corpus, const char* rest) const {
    return cat("data: {train: ", material_.corpus(corpus), ", heldout: ", material_.corpus(corpus),
               ", query_max_len: 16, passage_max_len: 16", rest, "}\n");
  }
  Outcome outcome_on(BackendKind kind, const std::string& yaml) const {
    const test::TempDir of_rank;
    std::string folder = of_rank.path().string();
    broadcast(world().comm(), folder, 0);
    Outcome outcome = whole_run(material_.config(kind, yaml), folder);
    world().comm().barrier();  // rank 0's folder goes
    return outcome;
  }
  /// The debug backend computes by the CPU's, so both give the same bits, as far as gradients are added in one order: that is so on two
  /// ranks, whereas on more MPI and the ring in shared memory differ by rounding, of which Adam makes up to its learning rate (2e-5) in
  /// an element, and so about 1e-4 of a figure.
  void expect_equal_outcomes(const std::string& yaml) const {
    const Outcome device = outcome_on(BackendKind::debug, yaml), host = outcome_on(BackendKind::cpu, yaml);
    EXPECT_FALSE(host.heldout.empty());
    ASSERT_EQ(device.heldout.size(), host.heldout.size());
    for (const auto& [name, value] : host.heldout)
      EXPECT_NEAR(device.heldout.at(name), value, world().size() <= 2 ? 0 : 1e-3 * std::abs(value)) << name;
    EXPECT_EQ(device.checked, host.checked);
    if (world().size() <= 2) {
      EXPECT_EQ(device.parameters, host.parameters);
    }
  }

  test::TinyRun material_;
};

TEST_F(DevicePaths, OfAnEmbedder) { expect_equal_outcomes(cat(rows("triples", ", train_group_size: 3"), "loss: {name: info_nce}\n")); }

TEST_F(DevicePaths, OfScoredPairs) { expect_equal_outcomes(cat(rows("pairs", ""), "loss: {name: cosent}\n")); }

TEST_F(DevicePaths, OfMiningThatProbesAndRanksAnew) {
  const std::string yaml = cat(rows("triples", ", train_group_size: 2, select_negative: window"),
                               "mining: {negatives: 1, every: 1, probe: 4, refill: remine}\n");
  expect_equal_outcomes(yaml);
}

TEST_F(DevicePaths, OfAReranker) { expect_equal_outcomes(cat(rows("triples", ", train_group_size: 3"), "objective: {name: reranker}\n")); }

TEST_F(DevicePaths, OfRetroMae) { expect_equal_outcomes(cat(rows("texts", ""), "objective: {name: retromae}\n")); }

}  // namespace
}  // namespace lodestone
