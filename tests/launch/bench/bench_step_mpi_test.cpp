// Does `bench` measure on a device what it measures on the host?
#include <gtest/gtest.h>

#include "launch/bench/bench_device.h"
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
  const auto loss = make_loss(bench_loss("gte").config(bench.embedding()), bench.embedding(), bench.device());
  EXPECT_GT(bench.loss_seconds(*loss, batch).wall, 0);
  bench.touch(bench.loss_bytes(*loss, batch));
}

TEST(BenchStep, FindsWhatADeviceNeedsForAStepThatIsEnqueued) {
  BenchStep bench(test::world(),
                  {.lengths = "short", .precision = "f32", .backend = BackendKind::debug, .threads = 1, .pairs = 4, .ceiling_edge = 32});
  const Batch batch = bench.batch(4, 1);
  BenchDevice device(bench, test::world());
  const StepCounts step = bench.run(batch, Watch::whole);
  EXPECT_EQ(step.loss.wall, 0) << "nobody waited for it";
  device.queue(batch, step);
  const nlohmann::ordered_json found = device.report(1e9, step.whole.wall);
  ASSERT_TRUE(found.contains("large_product"));
  if (test::world().size() > 1) {
    EXPECT_EQ(found["device_idle_share"], "not measured: ranks wait for each other: start it with one");
    return;
  }
  const double queued_s = found["queued_step_s"].get<double>();
  EXPECT_GT(queued_s, 0);
  EXPECT_DOUBLE_EQ(found["device_idle_share"].get<double>(), 1 - queued_s / step.whole.wall);
  // A host that has enqueued all before the first product waits for the products, and hardly where there are none.
  EXPECT_GT(bench.queued(batch, 100).ahead_s, bench.queued(batch, 0).ahead_s);
}

TEST(BenchStep, SaysWhyNothingIsKnownOfAnIdleDevice) {
  BenchStep bench(test::world(), {.lengths = "short", .precision = "f32", .threads = 1, .pairs = 4});
  const Batch batch = bench.batch(4, 1);
  BenchDevice device(bench, test::world());
  device.queue(batch, bench.run(batch, Watch::whole));
  const nlohmann::ordered_json found = device.report(1e9, 1);
  EXPECT_EQ(found["share_of_large_product"], "not measured: --ceiling-edge N asks for it");
  EXPECT_EQ(found["device_idle_share"], "not measured: a CPU works while it is asked");
}

}  // namespace
}  // namespace lodestone
