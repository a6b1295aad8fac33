// InfoNCE and Matryoshka on tensors, one rank: equal to the pure function whatever the tiling, exact gradients, refused settings.
#include "losses/info_nce.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "losses/make_loss.h"
#include "losses/matryoshka.h"
#include "tests/losses/golden_pairs.h"
#include "tests/support/evaluate.h"
#include "tests/support/loss_problem.h"
#include "tests/support/rounding.h"

namespace lodestone::test {
namespace {

std::vector<double> random_rows(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> x(static_cast<size_t>(count));
  for (double& v : x) v = normal(random);
  return x;
}

/// One rank that holds the whole batch.
class InfoNceTest : public ::testing::Test {
 protected:
  /// The loss of vectors [n*(1+group), width]; its gradient in `d_emb_`.
  double value_of(Loss& loss, int64_t n, int64_t group, int64_t width, const std::vector<double>& emb, double weight = 1,
                  DType dtype = DType::f64) {
    const std::vector<int64_t> rank_queries{n};
    Pairs pairs;
    pairs.queries = pairs.global_queries = n;
    pairs.group = group;
    pairs.rank_queries = rank_queries;
    const Shape shape{n * (1 + group), width};
    d_emb_.assign(emb.size(), 7.0);  // evaluate sets, it does not add
    Exec ex{*backend_, arena_, Key{}, dtype};
    const auto scope = arena_.scope();
    const Tensor x = tensor_of(*backend_, arena_, emb, shape, dtype), dx = tensor_of(*backend_, arena_, d_emb_, shape, dtype);
    const double value = evaluate(loss, ex, planes_.group(), x, pairs, weight, dx).share;
    d_emb_ = to_double(*backend_, arena_, dx);
    return value;
  }
  /// The pure function on the same vectors: its value, and its gradient in `expected_`.
  double expect(InfoNceInput in, int64_t n, const std::vector<double>& emb) {
    const size_t cut = static_cast<size_t>(n * in.embedding);
    expected_.assign(emb.size(), 0);
    in.queries = std::span(emb).first(cut);
    in.passages = std::span(emb).subspan(cut);
    return info_nce(in, std::span(expected_).first(cut), std::span(expected_).subspan(cut));
  }

  std::unique_ptr<Backend> backend_ = any_backend("reference");
  std::unique_ptr<Communicator> comm_ = make_self_comm();
  Planes planes_{*comm_, *backend_};
  Arena arena_{backend_->memory()};
  std::vector<double> d_emb_, expected_;
};

TEST_F(InfoNceTest, TensorFormEqualsThePureFunctionForEveryCandidateSetAndTiling) {
  const int64_t n = 150, group = 3, width = 9;  // 150 rows are three tiles when a tile is as small as it may be
  std::vector<double> emb = random_rows(n * (1 + group) * width, 1);
  for (const Candidates candidates : {Candidates::all_ranks, Candidates::this_rank, Candidates::own_group}) {
    for (const int64_t tile_elements : {int64_t{1}, int64_t{1} << 20}) {
      InfoNce loss({.temperature = 0.1, .candidates = candidates, .tile_elements = tile_elements});
      const double value = value_of(loss, n, group, width, emb);
      const double expected =
          expect({.embedding = width, .dimensions = width, .group = group, .temperature = 0.1, .candidates = candidates}, n, emb);
      EXPECT_NEAR(value, expected, 1e-13 * expected);
      for (size_t i = 0; i < emb.size(); ++i) ASSERT_NEAR(d_emb_[i], expected_[i], 1e-14) << "element " << i;
    }
  }
}

TEST_F(InfoNceTest, WeightScalesValueAndGradient) {
  std::vector<double> emb = random_rows(int64_t{4} * 3 * 5, 2);
  InfoNce loss({.temperature = 0.1});
  const double once = value_of(loss, 4, 2, 5, emb);
  const std::vector<double> d_once = d_emb_;
  EXPECT_NEAR(value_of(loss, 4, 2, 5, emb, 0.25), once / 4, 1e-15);
  for (size_t i = 0; i < emb.size(); ++i) EXPECT_NEAR(d_emb_[i], d_once[i] / 4, 1e-15);
}

TEST_F(InfoNceTest, MatryoshkaIsTheAverageOverPrefixesOfTheRawVector) {
  std::vector<double> emb(golden_queries.begin(), golden_queries.end());
  emb.insert(emb.end(), golden_passages.begin(), golden_passages.end());
  const auto loss = make_loss({.terms = {{InfoNceOptions{.temperature = 0.5}}}, .matryoshka_dims = {2, 3}}, 3, Device::cpu);
  EXPECT_NEAR(value_of(*loss, 2, 2, 3, emb), 0.9049300713, 5e-11);
}

TEST_F(InfoNceTest, MatryoshkaGradientIsZeroBeyondTheLargestDimensionAndExactBelow) {
  const int64_t n = 5, group = 2, width = 7;
  std::vector<double> emb = random_rows(n * (1 + group) * width, 3);
  const auto loss = make_loss({.terms = {{InfoNceOptions{.temperature = 0.2}}}, .matryoshka_dims = {2, 5}}, width, Device::cpu);
  value_of(*loss, n, group, width, emb);
  std::vector<double> average(emb.size());
  for (const int64_t d : {2, 5}) {
    expect({.embedding = width, .dimensions = d, .group = group, .temperature = 0.2}, n, emb);
    for (size_t i = 0; i < emb.size(); ++i) average[i] += expected_[i] / 2;
  }
  for (size_t i = 0; i < emb.size(); ++i) {
    EXPECT_NEAR(d_emb_[i], average[i], 1e-14);
    if (static_cast<int64_t>(i) % width >= 5) {
      EXPECT_EQ(d_emb_[i], 0);
    }
  }
}

TEST_F(InfoNceTest, SinglePrecisionFollowsDoubleAtASmallTemperature) {
  const int64_t n = 40, group = 2, width = 16;
  const std::vector<double> emb = random_rows(n * (1 + group) * width, 4);
  const InfoNceInput input{.embedding = width, .dimensions = width, .group = group, .temperature = 0.01};
  const double there = expect(input, n, beside(emb));
  const std::vector<double> d_there = expected_;
  const double expected = expect(input, n, emb);
  InfoNce loss({.temperature = 0.01});
  const double value = value_of(loss, n, group, width, emb, 1, DType::f32);
  // The longest sum is a cosine's, whose error the temperature makes a hundred times larger.
  EXPECT_NEAR(value, expected, rounding_of({&expected, 1}, {&there, 1}, width));
  EXPECT_LT(distance_between(d_emb_, expected_), rounding_of(expected_, d_there, width));
}

TEST_F(InfoNceTest, SymmetricAndMaskedFormsEqualThePureFunction) {
  LossProblem problem(150, 3, 9);
  problem.plant_duplicates();
  const TextHashes hashes{problem.query_hash, problem.passage_hash, problem.passage_document};
  for (const Direction direction : {Direction::query_to_passage, Direction::both}) {
    for (const Candidates candidates : {Candidates::all_ranks, Candidates::this_rank, Candidates::own_group}) {
      if (direction == Direction::both && candidates == Candidates::own_group) continue;
      for (const Duplicates duplicates : {Duplicates::kept, Duplicates::masked}) {
        InfoNce loss({.temperature = 0.1, .candidates = candidates, .direction = direction, .duplicates = duplicates});
        const LossAnswer got = answer_alone(loss, problem);
        LossAnswer expected = got;
        expected.loss = info_nce({.queries = problem.queries,
                                  .passages = problem.passages,
                                  .embedding = 9,
                                  .dimensions = 9,
                                  .group = 3,
                                  .temperature = 0.1,
                                  .candidates = candidates,
                                  .direction = direction,
                                  .hashes = duplicates == Duplicates::masked ? hashes : TextHashes{}},
                                 expected.d_queries, expected.d_passages);
        EXPECT_NEAR(got.loss, expected.loss, 1e-13 * expected.loss);
        EXPECT_LT(gradient_difference(got, expected), 1e-14);
        EXPECT_EQ(got.masked > 0, duplicates == Duplicates::masked);
      }
    }
  }
}

TEST(InfoNce, RefusesImpossibleSettingsNamingTheKey) {
  const auto where = [](const InfoNceOptions& options) {
    try {
      InfoNce loss(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::usage);
      EXPECT_FALSE(error.remedy().empty());
      return error.where();
    }
    return std::string("accepted");
  };
  EXPECT_EQ(where({}), "accepted");
  EXPECT_EQ(where({.temperature = 0}), "key=loss.temperature");
  EXPECT_EQ(where({.temperature = std::nan("")}), "key=loss.temperature");
  EXPECT_EQ(where({.candidates = Candidates::own_group, .direction = Direction::both}), "key=loss.symmetric");
}

TEST(MakeLoss, RefusesImpossibleSettingsNamingTheKey) {
  const auto where = [](const LossConfig& config) {
    try {
      make_loss(config, 16, Device::cpu);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::usage);
      EXPECT_FALSE(error.remedy().empty());
      return error.where();
    }
    return std::string("accepted");
  };
  EXPECT_EQ(where({}), "accepted");
  EXPECT_EQ(where({.matryoshka_dims = {4, 16}}), "accepted");
  EXPECT_EQ(where({.terms = {{CosentOptions{.temperature = 0}}}}), "key=loss.temperature");
  EXPECT_EQ(where({.terms = {{GteOptions{.temperature = std::nan("")}}}}), "key=loss.temperature");
  EXPECT_EQ(where({.matryoshka_dims = {8, 4}}), "key=loss.mrl_dims");
  EXPECT_EQ(where({.matryoshka_dims = {4, 4}}), "key=loss.mrl_dims");
  EXPECT_EQ(where({.matryoshka_dims = {0, 4}}), "key=loss.mrl_dims");
  EXPECT_EQ(where({.matryoshka_dims = {4, 17}}), "key=loss.mrl_dims");
  EXPECT_EQ(where({.terms = {{MarginMseOptions{.similarity = Similarity::dot}}}, .matryoshka_dims = {4}}), "key=loss.mrl_dims");
  EXPECT_EQ(where({.terms = {{StabilisedOptions{.candidates = Candidates::own_group, .duplicates = Duplicates::masked}}}}),
            "key=loss.mask_false_negatives");
  EXPECT_EQ(where({.terms = {{GteOptions{}, -1}}}), "key=loss.terms.weight");
  EXPECT_EQ(where({.terms = {}}), "key=loss.terms");
}

}  // namespace
}  // namespace lodestone::test
