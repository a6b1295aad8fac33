// When does a ceiling judge?
#include "launch/bench/bench_product.h"

#include <gtest/gtest.h>

namespace lodestone {
namespace {

TEST(Ceiling, JudgesByTheMeanOfTwoRates) {
  const Ceiling steady{.edge = 8, .before = 100, .after = 96};
  EXPECT_DOUBLE_EQ(steady.share(49).get<double>(), 0.5);
  EXPECT_DOUBLE_EQ((Ceiling{.edge = 8, .before = 96, .after = 100}.apart()), 0.04);
}

TEST(Ceiling, DoesNotJudgeWhereTheyDifferByMoreThanATwentieth) {
  for (const auto& [before, after] : {std::pair{100, 94}, {94, 100}}) {
    const Ceiling changed{.edge = 8, .before = static_cast<double>(before), .after = static_cast<double>(after)};
    EXPECT_EQ(changed.share(50), "not measured: the products before and after differ by 6 %, more than 5 %");
  }
}

TEST(LargeProduct, HasARate) {
  const std::unique_ptr<Backend> backend = make_backend({.kind = BackendKind::reference});
  EXPECT_GT(LargeProduct(*backend, 8, DType::f32).flops_per_s(), 0);
}

}  // namespace
}  // namespace lodestone
