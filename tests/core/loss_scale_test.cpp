// The loss scale's rule step by step, and what scaling does to an update.
#include "core/optim/loss_scale.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/optim/adamw.h"
#include "core/optim/clip.h"
#include "data/checkpoints/loss_scale_document.h"
#include "tests/support/squares.h"

namespace lodestone::test {
namespace {

/// "f" a finite step, "o" an overflow.
void run(LossScale& scale, const std::string& steps) {
  for (const char c : steps) scale.update(c == 'o' ? GradientState::overflow : GradientState::finite);
}

TEST(LossScale, FollowsTheTableOfDelayedShift) {
  // Worked out by hand from DeepSpeed's DynamicLossScaler with delayed_shift 2, scale_window 4, min_scale 1, scale 16.
  struct Case {
    const char* steps;
    double scale;
    int64_t hysteresis_left;
  };
  constexpr Case table[] = {
      {"", 16, 2},        {"o", 16, 1},                              // the first overflow uses up hysteresis
      {"oo", 8, 1},                                                  // the second halves
      {"ooo", 4, 1},                                                 // and every one after it
      {"ofo", 8, 1},                                                 // finite steps in between restore nothing
      {"fff", 16, 2},     {"ffff", 32, 2},                           // the window doubles
      {"fffffff", 32, 2}, {"ffffffff", 64, 2}, {"fffoffff", 32, 2},  // an overflow begins the window anew; growth restores hysteresis
      {"oofff", 8, 1},    {"ooffff", 16, 2},   {"ooffffo", 16, 1},  {"oooooooo", 1, 1},  // never below the minimum
  };
  for (const Case& c : table) {
    LossScale scale({.initial = 16, .window = 4, .hysteresis = 2, .minimum = 1});
    run(scale, c.steps);
    EXPECT_EQ(scale.value(), c.scale) << c.steps;
    EXPECT_EQ(scale.state().hysteresis_left, c.hysteresis_left) << c.steps;
    EXPECT_EQ(scale.at_minimum(), c.scale == 1) << c.steps;
  }
}

TEST(LossScale, DefaultsAreThoseOfTheRecipes) {
  LossScale scale({});
  EXPECT_EQ(scale.value(), 65536);
  for (int i = 0; i < 999; ++i) scale.update(GradientState::finite);
  EXPECT_EQ(scale.value(), 65536);
  scale.update(GradientState::finite);
  EXPECT_EQ(scale.value(), 131072);
  EXPECT_EQ(LossScale({.initial = 4096}).value(), 4096);
}

TEST(LossScale, ContinuesFromItsDocument) {
  const std::string steps = "foofffoffo";
  for (size_t cut = 0; cut <= steps.size(); ++cut) {
    LossScale before({.initial = 64, .window = 3}), after({.initial = 64, .window = 3}), whole({.initial = 64, .window = 3});
    run(whole, steps);
    run(before, steps.substr(0, cut));
    after.restore(parse_loss_scale(loss_scale_document(before.state())));
    run(after, steps.substr(cut));
    EXPECT_EQ(after.state(), whole.state()) << "cut at " << cut;
  }
  for (const char* bad : {"{}", "{\"scale\": -1, \"finite_steps\": 0, \"hysteresis_left\": 1}", "[1]", "x"})
    EXPECT_THROW(parse_loss_scale(bad), Error) << bad;
}

TEST(LossScale, RefusesImpossibleSettings) {
  EXPECT_THROW(LossScale({.initial = 0.5}), Error);
  EXPECT_THROW(LossScale({.window = 0}), Error);
  EXPECT_THROW(LossScale({.hysteresis = 0}), Error);
  EXPECT_THROW(LossScale({.minimum = 0}), Error);
}

TEST(LossScale, AnInfiniteGradientSkipsTheStepAndHalvesTheScale) {
  const auto backend = make_backend({.kind = BackendKind::reference});
  Arena arena{backend->memory()};
  for (const DType dtype : {DType::f32, DType::f64}) {
    Exec ex{*backend, arena, Key(), dtype};
    ParamLayout layout;
    layout.add("w", {3}, Decay::yes);
    ParamStore scaled(backend->memory(), layout, dtype), plain(backend->memory(), layout, dtype);
    AdamW scaled_optimizer(backend->memory(), {}, layout, dtype), plain_optimizer(backend->memory(), {}, layout, dtype);
    LossScale scale({.initial = 1024, .window = 2, .hysteresis = 1});
    const auto value = [&](int64_t step, int64_t i) { return 0.25 * static_cast<double>(i + 1) - 0.125 * static_cast<double>(step); };
    std::vector<double> scales;
    for (int64_t step = 0; step < 6; ++step) {
      const bool overflows = step == 1;
      const auto gradient = [&](double factor) {
        std::vector<double> g;
        for (int64_t i = 0; i < 3; ++i) g.push_back(factor * value(step, i));
        return g;
      };
      const auto update = [&](AdamW& optimizer, ParamStore& params, std::vector<double> g, double loss_scale) {
        Buffer memory(backend->memory(), 3 * size_of(dtype));
        const Tensor grads = memory.tensor(dtype, {3});
        backend->cast(view(std::span<const double>(g)), grads);
        const ScaledGradient s = scaled_gradient(std::sqrt(squares_of(*backend, grads)), loss_scale, 1, 0.5);
        if (!std::isfinite(s.norm)) return GradientState::overflow;
        optimizer.step(ex, 0.125, s.factor, grads, params);
        return GradientState::finite;
      };
      std::vector<double> g = gradient(scale.value());
      if (overflows) g[1] = std::numeric_limits<double>::infinity();
      const GradientState state = update(scaled_optimizer, scaled, g, scale.value());
      EXPECT_EQ(state, overflows ? GradientState::overflow : GradientState::finite);
      scale.update(state);
      scales.push_back(scale.value());
      if (!overflows) update(plain_optimizer, plain, gradient(1), 1);
    }
    EXPECT_EQ(scales, (std::vector<double>{1024, 512, 512, 1024, 1024, 2048}));
    EXPECT_EQ(scaled_optimizer.steps(), 5) << "the step with the infinity counted";
    for (size_t i = 0; i < 3; ++i) {  // a power of two changes no bit
      if (dtype == DType::f64) {
        EXPECT_EQ(scaled.masters().host<double>()[i], plain.masters().host<double>()[i]);
      } else {
        EXPECT_EQ(scaled.masters().host<float>()[i], plain.masters().host<float>()[i]);
      }
    }
  }
}

TEST(RefGradScale, DividesTheGradientBeforeItIsClipped) {
  const ScaledGradient whole = scaled_gradient(8, 1, 1, 1), quarter = scaled_gradient(8, 1, 0.25, 1);
  EXPECT_DOUBLE_EQ(whole.norm, 8);
  EXPECT_DOUBLE_EQ(whole.factor, 1 / (8 + 1e-6));
  EXPECT_DOUBLE_EQ(quarter.norm, 2);
  EXPECT_DOUBLE_EQ(quarter.factor, 0.25 / (2 + 1e-6));
  EXPECT_DOUBLE_EQ(scaled_gradient(8, 1, 0.25, 0).factor, 0.25);       // without a limit: the unscaled gradient / W
  EXPECT_DOUBLE_EQ(scaled_gradient(2, 1, 0.25, 1).factor, 0.25);       // 0.5 is below the limit that 2 would exceed
  EXPECT_DOUBLE_EQ(scaled_gradient(8 * 4096, 4096, 0.25, 1).norm, 2);  // with a loss scale: undone first
  EXPECT_DOUBLE_EQ(scaled_gradient(8 * 4096, 4096, 0.25, 1).factor, 0.25 / 4096 / (2 + 1e-6));
}

}  // namespace
}  // namespace lodestone::test
