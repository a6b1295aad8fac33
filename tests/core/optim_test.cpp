// AdamW, learning-rate schedules and clipping against values computed by hand or by closed form.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "core/optim/adamw.h"
#include "core/optim/clip.h"
#include "core/optim/lr_schedule.h"

namespace lodestone::test {
namespace {

ParamLayout two_groups() {
  ParamLayout layout;
  layout.add("matrix", {2}, Decay::yes);
  layout.add("bias", {1}, Decay::no);
  return layout;
}

struct Update {
  double g[3], lr, expected[3];
};
// torch.optim.AdamW 2.15 in f64: two groups, weight_decay 0.1 and 0, betas (0.9, 0.999), eps 1e-8.
constexpr Update trace[] = {
    {{0.3, -0.02, 1.5}, 1e-2, {0.4895000003333333, -1.2387500049999975, 1.9900000000666667}},
    {{-0.1, 0.4, 0.5}, 5e-3, {0.48725415756290402, -1.2416794543736787, 1.985644680352008}},
    {{0.0, 0.25, -3.0}, 2e-2, {0.48009224726524935, -1.2552709109995017, 1.9906753541714142}},
};

TEST(AdamW, ThreeStepsEqualPyTorchsWithAndWithoutDecay) {
  const auto backend = make_backend({.kind = BackendKind::reference});
  Arena arena{backend->memory()};
  Exec ex{*backend, arena, Key(), DType::f64};
  ParamStore params(backend->memory(), two_groups(), DType::f64);
  const auto p = params.masters().host<double>();
  p[0] = 0.5, p[1] = -1.25, p[2] = 2.0;
  AdamW optimizer(backend->memory(), {.weight_decay = 0.1}, params.layout(), DType::f64);
  for (const Update& u : trace) {
    std::vector<double> doubled{2 * u.g[0], 2 * u.g[1], 2 * u.g[2]};  // gradient_scale 0.5 undoes it
    optimizer.step(ex, u.lr, 0.5, view(std::span(doubled)), params);
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(p[i], u.expected[i], 1e-15 * 4) << "step " << optimizer.steps() << " element " << i;
  }
}

TEST(AdamW, RestoredStateContinuesWithTheSameBits) {
  const auto backend = make_backend({.kind = BackendKind::reference});
  Arena arena{backend->memory()};
  Exec ex{*backend, arena, Key(), DType::f64};
  const auto run = [&](bool restart) {
    ParamStore params(backend->memory(), two_groups(), DType::f64);
    const auto p = params.masters().host<double>();
    p[0] = 0.5, p[1] = -1.25, p[2] = 2.0;
    auto optimizer = std::make_unique<AdamW>(backend->memory(), AdamWConfig{}, params.layout(), DType::f64);
    for (const Update& u : trace) {
      if (restart) {
        auto next = std::make_unique<AdamW>(backend->memory(), AdamWConfig{}, params.layout(), DType::f64);
        backend->copy(optimizer->first_moments(), next->first_moments());
        backend->copy(optimizer->second_moments(), next->second_moments());
        next->restore_steps(optimizer->steps());
        optimizer = std::move(next);
      }
      optimizer->step(ex, u.lr, 1.0, view(std::span<const double>(u.g)), params);
    }
    return std::vector<double>(p.begin(), p.end());
  };
  EXPECT_EQ(run(false), run(true));
}

TEST(LrSchedule, LinearRisesToThePeakAndFallsToZero) {
  const LrSchedule lr({.lr = 2.0, .decline = Decline::linear, .warmup_ratio = 0.1}, 95);  // T_w = ceil(9.5) = 10
  EXPECT_EQ(lr.warmup_steps(), 10);
  for (int64_t t = 0; t < 10; ++t) EXPECT_DOUBLE_EQ(lr.at(t), 2.0 * static_cast<double>(t) / 10);
  for (int64_t t = 10; t <= 95; ++t) EXPECT_DOUBLE_EQ(lr.at(t), 2.0 * static_cast<double>(95 - t) / 85);
  EXPECT_EQ(lr.at(200), 0);
}

TEST(LrSchedule, CosineFallsFromThePeakToZero) {
  const LrSchedule lr({.lr = 3.0, .decline = Decline::cosine, .warmup_steps = 4}, 24);
  EXPECT_DOUBLE_EQ(lr.at(2), 1.5);
  EXPECT_DOUBLE_EQ(lr.at(4), 3.0);
  EXPECT_NEAR(lr.at(14), 1.5, 1e-15);
  EXPECT_DOUBLE_EQ(lr.at(9), 1.5 * (1 + std::cos(std::numbers::pi / 4)));
  EXPECT_NEAR(lr.at(24), 0, 1e-15);
  EXPECT_NEAR(lr.at(30), 0, 1e-15);
}

TEST(LrSchedule, ConstantStaysAndStepsOverrideTheRatio) {
  const LrSchedule lr({.lr = 1.0, .decline = Decline::constant, .warmup_steps = 0, .warmup_ratio = 0.5}, 10);
  for (int64_t t = 0; t < 20; ++t) EXPECT_EQ(lr.at(t), 1.0);
}

TEST(LrSchedule, LogWarmupRisesAsTheLogarithmOfTheStep) {
  const LrSchedule lr({.lr = 1.0, .decline = Decline::constant, .warmup_steps = 100, .warmup_shape = WarmupShape::log}, 1000);
  EXPECT_EQ(lr.at(0), 0);
  EXPECT_DOUBLE_EQ(lr.at(9), 0.5);  // log(10) / log(100)
  EXPECT_DOUBLE_EQ(lr.at(99), 1.0);
  EXPECT_DOUBLE_EQ(lr.at(100), 1.0);
}

TEST(LrSchedule, WarmupAsLongAsTheRunEndsAtThePeak) {
  const LrSchedule lr({.lr = 1.0, .decline = Decline::linear, .warmup_ratio = 1.0}, 4);
  EXPECT_DOUBLE_EQ(lr.at(3), 0.75);
  EXPECT_EQ(lr.at(4), 0.0);
}

TEST(LrSchedule, ImpossibleValuesAreRefused) {
  EXPECT_THROW(LrSchedule({.lr = -1.0}, 10), Error);
  EXPECT_THROW(LrSchedule({.warmup_ratio = 1.5}, 10), Error);
  EXPECT_THROW(LrSchedule({.warmup_steps = -1}, 10), Error);
}

TEST(Clip, ScalesLargeNormsToTheLimitAndLeavesSmallOnes) {
  EXPECT_DOUBLE_EQ(clip_scale(4.0, 1.0), 1.0 / (4.0 + 1e-6));
  EXPECT_EQ(clip_scale(0.5, 1.0), 1.0);
  EXPECT_EQ(clip_scale(0.0, 1.0), 1.0);
  EXPECT_EQ(clip_scale(1e9, 0.0), 1.0);
}

}  // namespace
}  // namespace lodestone::test
