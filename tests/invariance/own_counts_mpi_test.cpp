// The negative control of losses that exchange no gradient: training on a mean over each rank's own rows is not independent of ranks.
#include <gtest/gtest.h>

#include "losses/distill.h"
#include "tests/losses/contrastive_cases.h"
#include "tests/support/divided_by_own_count.h"
#include "tests/support/mpi_world.h"
#include "tests/support/trajectory.h"

namespace lodestone::test {
namespace {

constexpr int64_t queries = 7, group = 3;  // uneven for 2, 3 and 4 ranks

Batch taught_batch(int64_t step, int rank, int world) {
  Batch batch = toy_batch(step, queries, group, rank, world);
  for (int64_t j = batch.first_query * group; j < (batch.first_query + batch.queries) * group; ++j)
    batch.teacher_scores.push_back(0.5 * static_cast<double>((13 * step + 7 * j) % 5));
  return batch;
}

TEST(OwnCounts, MeansOverEachRanksOwnRowsFailTheComparisonOfInvariance) {
  if (world_comm().size() == 1) GTEST_SKIP() << "one rank has all rows";
  std::vector<ContrastiveCase> cases = contrastive_cases();
  std::erase_if(cases, [](const ContrastiveCase& c) { return c.gradients == GradientsTravel::yes; });
  cases.push_back({"KL divergence", [] { return std::make_unique<GroupDistillation>(GroupDistillationOptions{.temperature = 0.1}); }});
  cases.push_back({"margin-MSE", [] { return std::make_unique<MarginMse>(MarginMseOptions{}); }});
  for (const ContrastiveCase& c : cases) {
    const Training right{.loss = c.make, .batch = taught_batch};
    const Training wrong{.loss = [&] { return std::make_unique<DividedByOwnCount>(c.make()); }, .batch = taught_batch};
    const Trajectory expected = reference(DType::f64, right);
    EXPECT_LT(distance(train(DType::f64, right, world_comm(), world_comm(), chunkings[1]), expected).loss, 1e-12) << c.name;
    const Distance d = distance(train(DType::f64, wrong, world_comm(), world_comm(), chunkings[1]), expected);
    EXPECT_GT(d.loss, 1e-3) << c.name;
    EXPECT_GT(d.parameter, 1e-5) << c.name;
  }
}

}  // namespace
}  // namespace lodestone::test
