// Which passages are false negatives, found by hash exactly where the rule says so, and counted.
#include "losses/false_negatives.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "losses/cbb.h"
#include "losses/cosines.h"
#include "losses/gte.h"
#include "losses/info_nce.h"
#include "losses/matryoshka.h"
#include "tests/support/loss_problem.h"

namespace lodestone::test {
namespace {

/// Two queries of group 2; every hash differs.
struct Hashes {
  std::vector<uint64_t> query{1, 2}, passage{3, 4, 5, 6}, document{13, 14, 15, 16};
  bool masked(int64_t of, int64_t passage_index) const { return is_false_negative({query, passage, document}, 2, of, passage_index); }
  /// Passages masked for query 0, then for query 1.
  std::vector<int64_t> all() const {
    std::vector<int64_t> found;
    for (int64_t q = 0; q < 2; ++q)
      for (int64_t p = 0; p < 4; ++p)
        if (masked(q, p)) found.push_back(4 * q + p);
    return found;
  }
};

TEST(FalseNegatives, RuleByCases) {
  using Found = std::vector<int64_t>;
  EXPECT_EQ(Hashes{}.all(), Found{});
  EXPECT_EQ((Hashes{.passage = {3, 4, 3, 6}}.all()), (Found{2, 4}));       // both positives have the same text
  EXPECT_EQ((Hashes{.passage = {3, 4, 5, 3}}.all()), (Found{3}));          // the other's negative has my positive's text
  EXPECT_EQ((Hashes{.passage = {3, 3, 5, 6}}.all()), (Found{1}));          // my own negative has my positive's text
  EXPECT_EQ((Hashes{.passage = {3, 4, 5, 1}}.all()), (Found{3}));          // the other's negative is my query
  EXPECT_EQ((Hashes{.passage = {3, 4, 1, 6}}.all()), (Found{2}));          // the other's positive is my query
  EXPECT_EQ((Hashes{.document = {13, 14, 13, 16}}.all()), (Found{2, 4}));  // both positives are of one document
  EXPECT_EQ((Hashes{.document = {13, 14, 15, 13}}.all()), (Found{3}));     // the other's negative is of my positive's document
  EXPECT_EQ((Hashes{.document = {13, 13, 15, 16}}.all()), (Found{}));      // my own negative is of it: the record says negative
  EXPECT_EQ((Hashes{.query = {1, 1}}.all()), (Found{2, 4}));               // one query with two positives
  EXPECT_EQ((Hashes{.passage = {1, 4, 5, 6}}.all()), (Found{}));           // a positive that repeats its query stays
}

/// Where masks are made and applied: what they are made of must outlive it.
struct Rig {
  std::unique_ptr<Backend> backend = any_backend("reference");
  Arena arena{backend->memory(), size_t{1} << 24};
  Exec ex{*backend, arena, Key{}, DType::f64};
  Arena::Scope scope{arena};
};

/// What a mask leaves out of scores [rows,columns] of zeros, applied to tiles of a few rows; and that it counts as many.
std::vector<double> masked_scores(Exec& ex, const ScoreMask& mask, int64_t rows, int64_t columns) {
  const auto scope = ex.arena.scope();
  const Tensor all = ex.arena.tensor(DType::f64, {rows, columns});
  ex.backend.fill_zero(all);
  for (int64_t first = 0; first < rows; first += 7) mask.apply(ex, first, all.rows(first, std::min(first + 7, rows)));
  std::vector<double> scores = to_double(ex.backend, ex.arena, all);
  EXPECT_EQ(mask.count, std::count(scores.begin(), scores.end(), -HUGE_VAL));
  return scores;
}

TEST(FalseNegatives, IndexMasksExactlyWhatTheRuleSays) {
  for (const int64_t group : {1, 3}) {
    for (uint32_t seed = 0; seed < 5; ++seed) {
      LossProblem problem(40, group, 1);
      problem.plant_duplicates(seed);
      const TextHashes texts{problem.query_hash, problem.passage_hash, problem.passage_document};
      Rig rig;
      Exec& ex = rig.ex;
      const FalseNegatives index(ex, texts, group);
      const int64_t first = 11, rows = 20, m = 40 * group;
      const ScoreMask in_forward = index.passages(ex, {first, first + rows}, {0, group}),
                      in_reverse = index.queries_of_positives(ex, {first, first + rows}),
                      of_others = index.passages(ex, {first, first + rows}, {0, group}, FalseNegatives::OwnGroup::left_out);
      const std::vector<double> forward = masked_scores(ex, in_forward, rows, m), reverse = masked_scores(ex, in_reverse, rows, 40),
                                others = masked_scores(ex, of_others, rows, m);
      int64_t expected_forward = 0, expected_reverse = 0;
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < m; ++j) {
          const bool masked = is_false_negative(texts, group, first + i, j);
          ASSERT_EQ(std::isinf(forward[static_cast<size_t>(i * m + j)]), masked) << "query " << first + i << ", passage " << j;
          ASSERT_EQ(std::isinf(others[static_cast<size_t>(i * m + j)]), masked && j / group != first + i) << "of others' passages";
          expected_forward += masked;
        }
        for (int64_t j = 0; j < 40; ++j) {
          const bool masked = j != first + i && is_false_negative(texts, group, j, (first + i) * group);
          ASSERT_EQ(std::isinf(reverse[static_cast<size_t>(i * 40 + j)]), masked) << "positive " << first + i << ", query " << j;
          expected_reverse += masked;
        }
      }
      EXPECT_GT(expected_forward, 0);
      EXPECT_EQ(in_forward.count, expected_forward);
      EXPECT_EQ(in_reverse.count, expected_reverse);
    }
  }
}

// What CBB needs: all queries, the passages of one rank, the columns of its positives or of its negatives alone.
TEST(FalseNegatives, IndexOfOneRanksPassagesMasksTheSameThere) {
  const int64_t n = 40, group = 3;
  for (const Slice owners : {Slice{0, 40}, Slice{0, 13}, Slice{13, 40}, Slice{20, 20}}) {
    LossProblem problem(n, group, 1);
    problem.plant_duplicates(static_cast<uint32_t>(owners.begin));
    std::vector<uint64_t> positive, positive_document;
    for (size_t i = 0; i < static_cast<size_t>(n * group); i += static_cast<size_t>(group)) {
      positive.push_back(problem.passage_hash[i]);
      positive_document.push_back(problem.passage_document[i]);
    }
    const auto here = [&](const std::vector<uint64_t>& all) {
      return std::span<const uint64_t>(all).subspan(static_cast<size_t>(owners.begin * group), static_cast<size_t>(owners.count() * group));
    };
    Rig rig;
    Exec& ex = rig.ex;
    const TextHashes all{problem.query_hash, problem.passage_hash, problem.passage_document};
    const TextHashes passages{{}, here(problem.passage_hash), here(problem.passage_document)};
    const FalseNegatives index(ex, {problem.query_hash, positive, positive_document}, passages, group, owners.begin);
    for (const Slice places : {Slice{0, 3}, Slice{0, 1}, Slice{1, 3}}) {
      const int64_t columns = owners.count() * places.count();
      const ScoreMask mask = index.passages(ex, {0, n}, places);
      const std::vector<double> scores = masked_scores(ex, mask, n, columns);
      int64_t expected = 0;
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < columns; ++j) {
          const int64_t passage = (owners.begin + j / places.count()) * group + places.begin + j % places.count();
          const bool masked = is_false_negative(all, group, i, passage);
          ASSERT_EQ(std::isinf(scores[static_cast<size_t>(i * columns + j)]), masked) << "query " << i << ", passage " << passage;
          expected += masked;
        }
      }
      EXPECT_EQ(mask.count, expected);
      EXPECT_EQ(expected > 0, columns > 0);
    }
  }
}

TEST(FalseNegatives, QueriesOfEqualTextAreNotEachOthersNegatives) {
  // Query 1 has the text of query 0; query 2 that of query 0's positive.
  const std::vector<uint64_t> query{1, 1, 3, 9}, passage{3, 4, 5, 6}, document{13, 14, 15, 16};
  const TextHashes texts{query, passage, document};
  Rig rig;
  Exec& ex = rig.ex;
  const ScoreMask mask = FalseNegatives(ex, texts, 1).queries(ex, {0, 4});
  EXPECT_EQ(mask.count, 3);
  const std::vector<double> scores = masked_scores(ex, mask, 4, 4);
  for (const int64_t i : {0, 1, 2, 3})
    for (const int64_t j : {0, 1, 2, 3}) {
      const bool masked = (i == 0 && (j == 1 || j == 2)) || (i == 1 && j == 0);
      EXPECT_EQ(std::isinf(scores[static_cast<size_t>(4 * i + j)]), masked) << i << ' ' << j;
      EXPECT_EQ(is_false_negative_query(texts, 1, i, j), masked) << i << ' ' << j;
    }
}

TEST(FalseNegatives, MasksOfOwnGroupsAreTheRuleWithinThem) {
  const int64_t n = 40, group = 3;
  LossProblem problem(n, group, 1);
  problem.plant_duplicates();
  for (const int64_t i : {0, 7, 30})
    problem.passage_hash[static_cast<size_t>(i * group + 2)] = problem.passage_hash[static_cast<size_t>(i * group)];
  const TextHashes texts{problem.query_hash, problem.passage_hash, problem.passage_document};
  Rig rig;
  Exec& ex = rig.ex;
  for (const Slice places : {Slice{0, 3}, Slice{0, 1}, Slice{1, 3}}) {
    const ScoreMask mask = mask_of_own_groups(ex, texts, group, places);
    const std::vector<double> scores = masked_scores(ex, mask, n, places.count());
    for (int64_t i = 0; i < n; ++i)
      for (int64_t g = places.begin; g < places.end; ++g)
        EXPECT_EQ(std::isinf(scores[static_cast<size_t>(i * places.count() + g - places.begin)]),
                  is_false_negative(texts, group, i, i * group + g))
            << i << ' ' << g;
    EXPECT_EQ(mask.count > 2, places.end == 3) << "a positive is never one of its own query's";
  }
}

TEST(FalseNegatives, AreCountedOnceWhateverTheNumberOfPrefixes) {
  LossProblem problem(2, 2, 4);
  problem.passage_hash[2] = problem.passage_hash[0];  // each positive is the other query's false negative
  const InfoNceOptions options{.temperature = 0.1, .duplicates = Duplicates::masked};
  InfoNce plain(options);
  EXPECT_EQ(answer_alone(plain, problem).masked, 2);
  Matryoshka prefixes(std::make_unique<InfoNce>(options), {2, 3, 4});
  EXPECT_EQ(answer_alone(prefixes, problem).masked, 2);
  InfoNce kept({.temperature = 0.1});
  EXPECT_EQ(answer_alone(kept, problem).masked, 0);
}

TEST(FalseNegatives, BatchOfOneTextIsAllPositivesAndHasNoLoss) {
  LossProblem problem(5, 1, 4);
  std::fill(problem.passage_hash.begin(), problem.passage_hash.end(), uint64_t{9});
  InfoNce loss({.temperature = 0.1, .direction = Direction::both, .duplicates = Duplicates::masked});
  const LossAnswer got = answer_alone(loss, problem);
  EXPECT_NEAR(got.loss, 0, 1e-15);
  EXPECT_EQ(got.masked, 2 * 5 * 4);
  for (const double d : got.d_queries) EXPECT_NEAR(d, 0, 1e-16);
}

// ---- GTE and CBB ---------------------------------------------------------------------------------------------------------------

double log_sum(std::initializer_list<double> logits) {
  double sum = 0;
  for (const double x : logits) sum += std::exp(x);
  return std::log(sum);
}

// Two queries with one text as their positive: neither query nor positive is pushed from it, however often it stands in the batch.
TEST(FalseNegatives, APositiveOfTwoQueriesIsNoNegativeInAnyOfGtesSums) {
  LossProblem problem(2, 1, 4);
  problem.passage_hash[1] = problem.passage_hash[0];
  std::copy_n(problem.passages.begin(), 4, problem.passages.begin() + 4);
  const Cosines s(problem.queries, problem.passages, 4, 4);
  const double tau = 0.5, a = s({0, 2}) / tau, b = s({1, 3}) / tau, q = s({0, 1}) / tau;
  // Left: s(q_i, d_i) twice, and the queries against each other. Masked for each i: (q_i, d_j), (q_j, d_i), (d_j, d_i).
  const double expected = (log_sum({a, a, q}) - a + log_sum({b, b, q}) - b) / 2;
  Gte masked({.temperature = tau, .duplicates = Duplicates::masked}), kept({.temperature = tau});
  const LossAnswer got = answer_alone(masked, problem);
  EXPECT_NEAR(got.loss, expected, 1e-14);
  EXPECT_EQ(got.masked, 6);
  EXPECT_GT(answer_alone(kept, problem).loss, expected + 0.1) << "the copies count unless they are masked";
  EXPECT_EQ(answer_alone(kept, problem).masked, 0);
}

TEST(FalseNegatives, ANegativeThatIsAnotherQuerysPositiveIsLeftOutOfItsSumInCbb) {
  LossProblem problem(2, 2, 4);  // the second query's negative is the first one's positive
  problem.passage_hash[3] = problem.passage_hash[0];
  std::copy_n(problem.passages.begin(), 4, problem.passages.begin() + 12);
  const Cosines s(problem.queries, problem.passages, 4, 4);
  const double tau = 0.5;
  const auto z = [&](size_t query, size_t passage) { return s({query, s.passage(passage)}) / tau; };
  const double others_left_out = (log_sum({z(0, 0), z(0, 1)}) - z(0, 0) + log_sum({z(1, 2), z(1, 1), z(1, 3)}) - z(1, 2)) / 2;
  // The first one's positive is a candidate of the second query, whose own negative it is: that stays.
  const double with_positives =
      (log_sum({z(0, 0), z(0, 1), z(0, 2)}) - z(0, 0) + log_sum({z(1, 2), z(1, 0), z(1, 1), z(1, 3)}) - z(1, 2)) / 2;
  for (const auto& [others, expected] :
       {std::pair(OtherPositives::excluded, others_left_out), {OtherPositives::included, with_positives}}) {
    Cbb masked({.temperature = tau, .other_positives = others, .duplicates = Duplicates::masked}),
        kept({.temperature = tau, .other_positives = others});
    const LossAnswer got = answer_alone(masked, problem);
    EXPECT_NEAR(got.loss, expected, 1e-14);
    EXPECT_EQ(got.masked, 1);
    EXPECT_GT(answer_alone(kept, problem).loss, expected + 0.05) << "it counts unless it is masked";
  }
}

TEST(FalseNegatives, BatchOfOneTextHasNoneOfItsTextsAsNegativesInGteAndCbb) {
  LossProblem problem(5, 3, 4);
  for (auto* hashes : {&problem.query_hash, &problem.passage_hash}) std::fill(hashes->begin(), hashes->end(), uint64_t{9});
  Gte twice({.temperature = 0.1, .positive_rivals = PositiveRivals::all_passages, .duplicates = Duplicates::masked}),
      once({.temperature = 0.1, .positive_terms = PositiveTerms::once, .duplicates = Duplicates::masked});
  Cbb all({.temperature = 0.1, .other_positives = OtherPositives::included, .duplicates = Duplicates::masked}),
      own({.temperature = 0.1, .negatives = NegativeScope::own, .duplicates = Duplicates::masked});
  const struct {
    Loss& loss;
    double left;
    int64_t masked;
  } cases[] = {{twice, std::log(2.0), 5 * 14 + 5 * 4 + 5 * 4 + 5 * 12},
               {once, 0, 5 * 14 + 5 * 4 + 5 * 4 + 5 * 4},
               {all, 0, 5 * 14},
               {own, 0, 5 * 2}};
  for (const auto& [loss, left, masked] : cases) {
    const LossAnswer got = answer_alone(loss, problem);
    EXPECT_NEAR(got.loss, left, 1e-14);
    EXPECT_EQ(got.masked, masked);
    for (const double d : got.d_queries) EXPECT_NEAR(d, 0, 1e-14);
    for (const double d : got.d_passages) EXPECT_NEAR(d, 0, 1e-14);
  }
}

TEST(FalseNegatives, GteAndCbbEqualTheirPureFunctionsForEverySettingAndTiling) {
  for (const int64_t group : {1, 3}) {
    LossProblem problem(150, group, 6);
    problem.plant_duplicates();
    const TextHashes hashes{problem.query_hash, problem.passage_hash, problem.passage_document};
    const auto compare = [&](Loss& loss, const LossAnswer& expected) {
      const LossAnswer got = answer_alone(loss, problem);
      EXPECT_NEAR(got.loss, expected.loss, 1e-13);
      EXPECT_LT(gradient_difference(got, expected), 1e-14);
      EXPECT_TRUE(got.masked > 0 || expected.masked == 0);
    };
    for (const int64_t tile_elements : {int64_t{1}, int64_t{1} << 20}) {
      for (const PositiveTerms terms : {PositiveTerms::twice, PositiveTerms::once}) {
        for (const PositiveRivals rivals : {PositiveRivals::positives, PositiveRivals::all_passages}) {
          for (const Candidates candidates : {Candidates::all_ranks, Candidates::this_rank, Candidates::own_group}) {
            LossAnswer expected{0, candidates != Candidates::own_group, problem.queries, problem.passages};
            expected.loss = gte({.queries = problem.queries,
                                 .passages = problem.passages,
                                 .embedding = 6,
                                 .dimensions = 6,
                                 .group = group,
                                 .temperature = 0.1,
                                 .positive_terms = terms,
                                 .positive_rivals = rivals,
                                 .candidates = candidates,
                                 .hashes = hashes},
                                expected.d_queries, expected.d_passages);
            Gte loss({.temperature = 0.1,
                      .positive_terms = terms,
                      .positive_rivals = rivals,
                      .candidates = candidates,
                      .duplicates = Duplicates::masked,
                      .tile_elements = tile_elements});
            compare(loss, expected);
          }
        }
      }
      Cosines cosines(problem.queries, problem.passages, 6, 6);
      std::vector<CosinePair> pairs;
      std::vector<double> scores;
      for (size_t i = 0; i < cosines.queries(); ++i)
        for (size_t j = 0; j < cosines.passages(); ++j) pairs.push_back({i, cosines.passage(j)});
      scores.reserve(pairs.size());
      for (const CosinePair pair : pairs) scores.push_back(cosines(pair));
      for (const NegativeScope scope : {NegativeScope::all, NegativeScope::own}) {
        for (const OtherPositives others : {OtherPositives::excluded, OtherPositives::included}) {
          std::vector<double> d_scores(scores.size());
          LossAnswer expected{0, others == OtherPositives::included, problem.queries, problem.passages};
          expected.loss =
              cbb({.scores = scores, .group = group, .temperature = 0.1, .negatives = scope, .other_positives = others, .hashes = hashes},
                  d_scores);
          Cosines way_back(problem.queries, problem.passages, 6, 6);
          for (size_t k = 0; k < pairs.size(); ++k) way_back.add_gradient(pairs[k], d_scores[k]);
          way_back.gradient(expected.d_queries, expected.d_passages);
          Cbb loss({.temperature = 0.1,
                    .negatives = scope,
                    .other_positives = others,
                    .duplicates = Duplicates::masked,
                    .tile_elements = tile_elements});
          compare(loss, expected);
        }
      }
    }
  }
}

}  // namespace
}  // namespace lodestone::test
