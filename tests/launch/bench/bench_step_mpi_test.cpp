// Does `bench` measure on a device what it measures on the host?
#include <gtest/gtest.h>

#include "launch/bench/bench_step.h"
#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

TEST(BenchStep, MeasuresStepsAndLossesOnADevice) {
  BenchStep bench(test::world(),
                  {.lengths = "short", .precision = "f32", .backend = BackendKind::debug, .threads = 1, .pairs = 4, .keep_mb = 0});
  EXPECT_EQ(bench.backend_description().substr(0, 5), "debug");
  const Batch batch = bench.batch(4, 1);
  const StepCounts step = bench.run(batch);
  EXPECT_GT(step.whole.wall, step.loss.wall);
  EXPECT_EQ(bench.step_bytes(batch), bench.memory().peak_bytes + 64) << "which the total takes that is made for it";
  const auto loss = make_loss(bench_loss("gte").config(bench.embedding()), bench.embedding());
  EXPECT_GT(bench.loss_seconds(*loss, batch).wall, 0);
  bench.touch(bench.loss_bytes(*loss, batch));
}

}  // namespace
}  // namespace lodestone
