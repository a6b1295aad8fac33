// How often a training step asks a device for something: once, and once more for what only the host can do.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "launch/training/step.h"
#include "tests/support/mpi_world.h"
#include "tests/support/tiny_run.h"

namespace lodestone {
namespace {

/// What losses, objectives and the step asked for, and what communicators did inside their verbs.
struct PerStep {
  int64_t downloads = 0, waits = 0, staged = 0, drained = 0;
  PerStep operator-(const PerStep& before) const {
    return {downloads - before.downloads, waits - before.waits, staged - before.staged, drained - before.drained};
  }
  friend bool operator==(const PerStep&, const PerStep&) = default;
};

PerStep so_far(const Run& run) {
  const Transfers& all = run.backend->transfers();
  const int64_t staged = run.planes.device_waits(), drained = run.planes.host_waits();
  return {all.downloads - staged, all.waits - staged - drained, staged, drained};
}

/// Of the steps of a run behind the first, which must all ask for as much.
PerStep asked_for(RunConfig config) {
  Run run(test::world(), std::move(config), 0);
  TrainingStep training(run);
  std::vector<PerStep> steps;
  for (int64_t step = 0; step < 3; ++step) {
    const PerStep before = so_far(run);
    training.accumulate(step);
    const StepOutcome outcome = training.update(step);
    EXPECT_TRUE(outcome.finite) << "step " << step;
    steps.push_back(so_far(run) - before);
  }
  EXPECT_EQ(steps[1], steps[2]);
  return steps[2];
}

void expect_downloads(const char* what, int64_t expected, RunConfig config) {
  const PerStep asked = asked_for(std::move(config));
  EXPECT_EQ(asked.downloads, expected) << what;
  EXPECT_EQ(asked.waits, expected) << what;
  if (test::world().rank() != 0) return;
  std::cout << what << ": " << asked.downloads << " downloads and waits a step, and inside communicators " << asked.staged
            << " verbs staged, " << asked.drained << " of the host plane\n";
}

TEST(StepTransfers, AStepDownloadsOnceAndOnceMoreForWhatOnlyTheHostCanDo) {
  const test::TinyRun material;
  const auto config = [&](const char* corpus, const char* group, const char* rest) {
    return material.config(BackendKind::debug,
                           cat("data: {train: ", material.corpus(corpus), ", query_max_len: 16, passage_max_len: 16", group, "}\n", rest));
  };
  for (const char* loss : {"info_nce", "gte", "cbb", "kl_divergence", "margin_mse", "stabilised_distillation"})
    expect_downloads(loss, 1, config("triples", ", train_group_size: 3", cat("loss: {name: ", loss, "}\n").c_str()));
  expect_downloads("info_nce, masked", 1,
                   config("triples", ", train_group_size: 3", "loss: {name: info_nce, mask_false_negatives: true}\n"));
  expect_downloads("cosent", 1, config("pairs", "", "loss: {name: cosent}\n"));
  expect_downloads("info_nce, mining", 2,
                   config("triples", ", train_group_size: 2, select_negative: window", "mining: {negatives: 1, every: 100}\n"));
  expect_downloads("reranker", 1, config("triples", ", train_group_size: 3", "objective: {name: reranker}\n"));
  expect_downloads("retromae", 1, config("texts", "", "objective: {name: retromae}\n"));
}

}  // namespace
}  // namespace lodestone
