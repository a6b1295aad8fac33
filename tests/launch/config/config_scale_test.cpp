// What large batches are configured by: the precision of scores, and the activations that are kept.
#include <gtest/gtest.h>

#include "tests/support/read_config.h"

namespace lodestone {
namespace {

using test::failure, test::read, test::smallest;

TEST(Config, ScoresAreRoundedByTheLossesThatCompareQueriesWithOthersPassages) {
  const auto rounds = [](const std::vector<std::string>& more) {
    std::vector<std::string> overrides{"data.train_group_size=3", "loss.score_precision=bf16"};
    overrides.insert(overrides.end(), more.begin(), more.end());
    return rounds_scores(read(smallest, overrides).tasks[0].loss);
  };
  for (const char* name : {"info_nce", "gte", "cbb", "stabilised_distillation"}) EXPECT_TRUE(rounds({cat("loss.name=", name)})) << name;
  EXPECT_FALSE(rounds_scores(read(smallest).tasks[0].loss));
  EXPECT_EQ(failure({"loss.score_precision=bf16", "loss.use_inbatch_neg=false", "data.train_group_size=3"}),
            "loss.score_precision: a query is compared with its own group alone, whose scores are never rounded");
  for (const char* name : {"cosent", "kl_divergence", "margin_mse"})
    EXPECT_NE(failure({cat("loss.name=", name), "data.train_group_size=3", "loss.score_precision=bf16"}), "") << name;
  EXPECT_EQ(failure({"loss.score_precision=bf16", "train.precision=f64"}),
            "train.precision: f64 computes everything in f64, and loss.score_precision: bf16 rounds what scores are made of");
  EXPECT_EQ(failure({"loss.score_precision=f32", "train.precision=f64"}), "");
  EXPECT_NE(failure({"loss.score_precision=fp8"}), "");
}

TEST(Config, ActivationsThatAreKeptAreANumberOrAutomatic) {
  const auto train = [](const char* value) { return read(smallest, {cat("train.keep_activations_mb=", value)}).train; };
  EXPECT_TRUE(read(smallest).train.keep_activations_is_auto);
  EXPECT_EQ(read(smallest).train.keep_activations_mb, 4096) << "what counts on the CPU";
  for (const char* number : {"0", "1", "123456789"}) {
    EXPECT_FALSE(train(number).keep_activations_is_auto);
    EXPECT_EQ(train(number).keep_activations_mb, std::stoll(number));
  }
  for (const char* bad : {"-1", "00", "01", "some", "1234567890"})
    EXPECT_EQ(failure({cat("train.keep_activations_mb=", bad)}),
              cat("train.keep_activations_mb: '", bad, "' is neither auto nor a number from 0 on"));
}

}  // namespace
}  // namespace lodestone
