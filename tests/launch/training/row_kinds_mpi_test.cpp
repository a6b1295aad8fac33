// Does every rank refuse the same row, whichever rank has it in its share?
#include <gtest/gtest.h>

#include "launch/training/row_kinds.h"
#include "tests/data/batches/fake_rows.h"
#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

TEST(RowKinds, EveryRankNamesTheFirstRowThatDoesNotFit) {
  for (const size_t bad : {0u, 7u, 12u, 22u}) {
    std::vector<test::FakeRow> made = test::make_rows(23, 1, 1);
    for (size_t r = bad; r < 23; r += 4) made[r].negatives.clear();
    const test::FakeRows rows(made);
    const Plan plan({.global_batch = 4, .batches = 1}, plan_sources(rows.sources()));
    EXPECT_NO_THROW(require_fitting_rows(plan, rows, {}, test::world_comm()));
    try {
      require_fitting_rows(plan, rows, {.candidates = {2}}, test::world_comm());
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.where(), cat("row=", bad, " source=s0"));
    }
  }
}

TEST(RowKinds, CountsOfNegativesAreThoseOfAllRanks) {
  std::vector<test::FakeRow> made = test::make_rows(23, 1, 2);
  for (size_t r = 0; r < 23; r += 4) made[r].negatives[0] = made[r].positives[0];
  made[22].negatives.push_back({4});
  const test::FakeRows rows(made);
  const Plan plan({.global_batch = 4, .batches = 1}, plan_sources(rows.sources()));
  const DrawnNegatives counts = require_fitting_rows(plan, rows, {.candidates = {2}}, test::world_comm());
  EXPECT_EQ(counts.left_out, 6);
  EXPECT_EQ(counts.rows, 6);
  EXPECT_EQ(counts.most, 3);
}

}  // namespace
}  // namespace lodestone
