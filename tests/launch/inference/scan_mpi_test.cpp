// Search against brute force in f64: the same lists, bit for bit, whatever is scanned in and on however many ranks.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

#include "data/plan/plan.h"
#include "launch/inference/scan.h"
#include "launch/inference/search.h"
#include "tests/support/mpi_world.h"

namespace lodestone::test {
namespace {

constexpr int64_t width = 48;

/// Unit vectors around few centres, so that many scores lie closer than bf16 can tell, and some of them twice.
std::vector<float> crowded(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> centres(8 * width);
  std::mt19937 same(5);
  for (double& c : centres) c = normal(same);
  std::vector<float> rows;
  for (int64_t i = 0; i < count; ++i) {
    if (i % 17 == 16) {  // an equal one
      rows.insert(rows.end(), rows.end() - 5 * width, rows.end() - 4 * width);
      continue;
    }
    std::vector<double> x(width);
    double squares = 0;
    for (int64_t e = 0; e < width; ++e) {
      x[static_cast<size_t>(e)] = centres[static_cast<size_t>(i % 8 * width + e)] + 0.02 * normal(random);
      squares += x[static_cast<size_t>(e)] * x[static_cast<size_t>(e)];
    }
    for (const double v : x) rows.push_back(static_cast<float>(v / std::sqrt(squares)));
  }
  return rows;
}

/// Of what is far apart, nothing has to be judged.
double never(size_t, std::vector<Scan::Candidate>&) {
  ADD_FAILURE() << "too much was kept";
  return 0;
}

std::span<const float> vector(std::span<const float> rows, int64_t i) { return rows.subspan(static_cast<size_t>(i * width), width); }

std::vector<Found> brute_force(std::span<const float> queries, std::span<const float> documents, int64_t q, int64_t best,
                               Compared compared) {
  std::vector<Found> all;
  for (int64_t d = 0; d * width < std::ssize(documents); ++d) {
    const double exact = exact_dot(vector(queries, q), vector(documents, d));
    all.push_back({d, compared == Compared::as_f32 ? static_cast<double>(static_cast<float>(exact)) : exact});
  }
  std::stable_sort(all.begin(), all.end(), [](const Found& a, const Found& b) { return a.score > b.score; });
  all.resize(std::min(all.size(), static_cast<size_t>(best)));
  return all;
}

TEST(Scan, SearchGivesTheListsOfBruteForceInF64) {
  Communicator& comm = world_comm();
  const std::vector<float> queries = crowded(270, 1), documents = crowded(5000, 2);
  const RankRows mine = rank_rows(5000, comm.rank(), comm.size()), asked = rank_rows(270, comm.rank(), comm.size());
  for (const BackendKind kind : {BackendKind::cpu, BackendKind::reference}) {
    const auto backend = make_backend({.kind = kind});
    Arena arena(backend->memory(), size_t{1} << 30);
    for (const DType scanned : {DType::f32, DType::bf16})
      for (const Compared compared : {Compared::as_f32, Compared::as_f64})
        for (const int64_t best : {1, 10, 300}) {
          if (kind == BackendKind::reference && (best == 300 || scanned == DType::bf16)) continue;
          const auto found = search_own({*backend, arena}, comm,
                                        {.queries = queries,
                                         .documents = std::span(documents).subspan(static_cast<size_t>(mine.begin * width),
                                                                                   static_cast<size_t>((mine.end - mine.begin) * width)),
                                         .embedding = width,
                                         .first_document = mine.begin,
                                         .precedence = {},
                                         .best = best,
                                         .compared = compared,
                                         .scanned = scanned});
          ASSERT_EQ(std::ssize(found), asked.end - asked.begin);
          for (size_t q = 0; q < found.size(); q += 13) {
            const std::vector<Found> expected = brute_force(queries, documents, asked.begin + static_cast<int64_t>(q), best, compared);
            ASSERT_EQ(found[q].size(), expected.size());
            for (size_t i = 0; i < expected.size(); ++i) {
              EXPECT_EQ(found[q][i].document, expected[i].document) << name_of(scanned) << ", place " << i << " of " << best;
              EXPECT_EQ(found[q][i].score, expected[i].score);
            }
          }
        }
  }
}

// Negative control: with no error allowed for, what is scanned in bf16 loses some of the best.
TEST(Scan, WithoutTheBoundSomeOfTheBestAreLost) {
  const std::vector<float> queries = crowded(40, 1), documents = crowded(5000, 2);
  const auto bf16 = [](float x) {
    const auto bits = std::bit_cast<uint32_t>(x);
    return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
  };
  std::vector<float> rounded_queries, rounded;
  for (const float x : queries) rounded_queries.push_back(bf16(x));
  for (const float x : documents) rounded.push_back(bf16(x));
  const auto missing = [&](double error) {
    int64_t count = 0;
    const std::vector<double> errors(40, error);
    Scan scan(10, errors, [&](size_t q, std::vector<Scan::Candidate>& kept) {
      const auto exact = [&](const Scan::Candidate& c) {
        return exact_dot(vector(queries, static_cast<int64_t>(q)), vector(documents, c.document));
      };
      std::ranges::sort(kept, [&](const Scan::Candidate& a, const Scan::Candidate& b) {
        return exact(a) != exact(b) ? exact(a) > exact(b) : a.document < b.document;
      });
      kept.resize(10);
      return exact(kept.back());
    });
    for (size_t q = 0; q < 40; ++q) {
      std::vector<float> scores;
      for (int64_t d = 0; d < 5000; ++d)
        scores.push_back(static_cast<float>(exact_dot(vector(rounded_queries, static_cast<int64_t>(q)), vector(rounded, d))));
      scan.offer(q, scores, 0, -1);
      const auto kept = scan.candidates(q);
      for (const Found& found : brute_force(queries, documents, static_cast<int64_t>(q), 10, Compared::as_f64))
        count += std::ranges::find(kept, found.document, &Scan::Candidate::document) == kept.end();
    }
    return count;
  };
  EXPECT_GT(missing(0), 10);
  EXPECT_EQ(missing(score_error(DType::bf16, width)), 0);
}

TEST(Scan, TheBoundHoldsAndIsNotFarTooWide) {
  const std::vector<float> x = crowded(64, 3), y = crowded(64, 4);
  double largest = 0;
  for (int64_t i = 0; i < 64; ++i) {
    float sum = 0;
    for (int64_t e = 0; e < width; ++e) sum += vector(x, i)[static_cast<size_t>(e)] * vector(y, i)[static_cast<size_t>(e)];
    largest = std::max(largest, std::abs(static_cast<double>(sum) - exact_dot(vector(x, i), vector(y, i))));
  }
  EXPECT_LE(largest, score_error(DType::f32, width));
  EXPECT_GT(largest, score_error(DType::f32, width) / 1000);
  EXPECT_NEAR(score_error(DType::bf16, width), 2 * 0x1p-8, 1e-4);
}

// Elements that bf16 rounds as badly as it can, one document's upwards and the other's downwards.
TEST(Scan, FindsTheBestWhereRoundingIsAtItsWorst) {
  Communicator& comm = world_comm();
  const auto backend = make_backend({.kind = BackendKind::cpu});
  Arena arena(backend->memory(), size_t{1} << 26);
  constexpr int64_t down = 385, up = 384;
  const float below = 1 + 0x1p-8f - 0x1p-20f, above = 1 + 0x1p-8f + 0x1p-20f;
  std::vector<float> query(down, below), documents(down, below);
  query.resize(down + up, above);
  documents.resize(down + up + down, 0);
  documents.resize(2 * (down + up), above);
  const RankRows mine = rank_rows(2, comm.rank(), comm.size());
  const auto found = search({*backend, arena}, comm,
                            {.queries = query,
                             .documents = std::span(documents).subspan(static_cast<size_t>(mine.begin * (down + up)),
                                                                       static_cast<size_t>((mine.end - mine.begin) * (down + up))),
                             .embedding = down + up,
                             .first_document = mine.begin,
                             .precedence = {},
                             .best = 1,
                             .scanned = DType::bf16});
  if (comm.rank() != 0) return;
  ASSERT_EQ(found.size(), 1u);
  ASSERT_EQ(found[0].size(), 1u);
  EXPECT_EQ(found[0][0].document, 0);
}

// A model that tells nothing apart: all documents are one, and of each query the first ones are found, without all of them being kept.
TEST(Scan, KeepsFewWhereAllAreEqual) {
  const std::vector<double> errors(1, 1.0);
  size_t most = 0;
  Scan scan(10, errors, [&](size_t, std::vector<Scan::Candidate>& kept) {
    most = std::max(most, kept.size());
    std::ranges::sort(kept, {}, &Scan::Candidate::document);
    kept.resize(10);
    return 1.0;
  });
  const std::vector<float> scores(4096, 1);
  for (int64_t begin = 0; begin < 200'000; begin += 4096) scan.offer(0, scores, begin, -1);
  std::vector<int64_t> found;
  for (const Scan::Candidate& c : scan.candidates(0)) found.push_back(c.document);
  std::ranges::sort(found);
  EXPECT_LE(most, 1024u);
  EXPECT_LE(found.size(), 512u);
  for (int64_t d = 0; d < 10; ++d) EXPECT_EQ(found[static_cast<size_t>(d)], d);
}

TEST(Scan, VectorsWhoseProductsOverflowAreRefused) {
  Communicator& comm = world_comm();
  const auto backend = make_backend({.kind = BackendKind::cpu});
  Arena arena(backend->memory(), size_t{1} << 26);
  const std::vector<float> large(width, 1e20f);
  try {
    search_own({*backend, arena}, comm, {.queries = large, .documents = large, .embedding = width, .precedence = {}});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "F44");
  }
}

TEST(Scan, KeepsFewMoreThanTheBest) {
  std::mt19937 random(7);
  std::vector<float> scores(100'000);
  for (float& s : scores) s = static_cast<float>(random()) / 4e9f;
  const double errors[] = {1e-6};
  Scan scan(100, errors, never);
  for (size_t begin = 0; begin < scores.size(); begin += 4096)
    scan.offer(0, std::span(scores).subspan(begin, std::min<size_t>(4096, scores.size() - begin)), static_cast<int64_t>(begin), 77);
  const auto kept = scan.candidates(0);
  EXPECT_GE(kept.size(), 100u);
  EXPECT_LE(kept.size(), 110u);
  EXPECT_TRUE(std::ranges::none_of(kept, [](const Scan::Candidate& c) { return c.document == 77; }));
}

TEST(Scan, AVectorThatIsNotFiniteIsRefused) {
  Communicator& comm = world_comm();
  const auto backend = make_backend({.kind = BackendKind::cpu});
  Arena arena(backend->memory(), size_t{1} << 26);
  std::vector<float> queries = crowded(4, 1), documents = crowded(20, 2);
  documents[3 * width + 5] = std::nanf("");
  try {
    search_own({*backend, arena}, comm, {.queries = queries, .documents = documents, .embedding = width, .precedence = {}});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "F44");
    EXPECT_NE(std::string(error.what()).find("the vector of document 3 is not finite"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lodestone::test
