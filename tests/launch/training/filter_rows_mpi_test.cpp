// Do all ranks know the same verdicts, whatever their number?
#include <gtest/gtest.h>

#include "launch/training/filter_rows.h"
#include "tests/data/batches/fake_rows.h"
#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

TEST(JudgeOverRanks, GivesEveryRankTheVerdictOfAWorldOfOne) {
  std::vector<test::FakeRow> made = test::make_rows(23, 1, 1);
  for (size_t r = 0; r < made.size(); ++r) made[r].teacher_scores = {0.1 * static_cast<double>(r % 7), 0};
  const test::FakeRows rows(made);
  const RowFilter filter{.teacher_scores_min = 0.25};
  EXPECT_EQ(judge_over_ranks(test::world_comm(), rows, filter, {2}), judge_rows(rows, filter, {2}, 0, 23));
}

}  // namespace
}  // namespace lodestone
