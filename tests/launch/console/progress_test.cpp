// How a line of progress fits its terminal.
#include "launch/console/progress.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace lodestone {
namespace {

const std::vector<std::string> figures{"loss 0.1234", "norm 1.234", "lr 1.00e-05", "123.4 pairs/s", "12345 tokens/s"};

std::string at(int columns, const std::vector<std::string>& of = figures) { return progress_line("step", 120, 200, of, "12m34s", columns); }

TEST(ProgressLine, HasEverythingWhereThereIsRoom) {
  EXPECT_EQ(at(200),
            "step 120/200 [##############..........]  loss 0.1234  norm 1.234  lr 1.00e-05  123.4 pairs/s  12345 tokens/s  left 12m34s");
}

TEST(ProgressLine, ShortensTheBarBeforeItLosesFigures) {
  EXPECT_EQ(at(110), "step 120/200 [#######.....]  loss 0.1234  norm 1.234  lr 1.00e-05  123.4 pairs/s  12345 tokens/s  left 12m34s");
  EXPECT_EQ(at(100), "step 120/200  loss 0.1234  norm 1.234  lr 1.00e-05  123.4 pairs/s  12345 tokens/s  left 12m34s");
}

TEST(ProgressLine, LosesTheLastFiguresFirst) {
  EXPECT_EQ(at(80), "step 120/200  loss 0.1234  norm 1.234  lr 1.00e-05  123.4 pairs/s  left 12m34s");
  EXPECT_EQ(at(40), "step 120/200  loss 0.1234  left 12m34s");
}

TEST(ProgressLine, IsShorterThanEveryTerminal) {
  for (int columns = 1; columns <= 160; ++columns) EXPECT_LT(static_cast<int>(at(columns).size()), std::max(columns, 2)) << columns;
  EXPECT_EQ(at(10), "step 120/");
}

TEST(ProgressLine, CountsTwoColumnsForWideCharactersAndCutsNone) {
  const std::vector<std::string> wide{"検索 0.5"};
  EXPECT_EQ(at(40, wide), "step 120/200  検索 0.5  left 12m34s");
  EXPECT_EQ(at(35, wide), "step 120/200  left 12m34s");
  EXPECT_EQ(progress_line("検索検索", 1, 2, {}, "?", 7), "検索検");
  EXPECT_EQ(progress_line("検索検索", 1, 2, {}, "?", 8), "検索検");
}

TEST(ProgressLine, OfNoWorkIsFull) { EXPECT_EQ(progress_line("texts", 0, 0, {}, "0s", 40), "texts 0/0 [##################]  left 0s"); }

}  // namespace
}  // namespace lodestone
