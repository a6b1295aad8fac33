// Search over ranks against one sorted list. Vectors are small integers: scores are exact and ties are many.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "data/plan/plan.h"
#include "launch/inference/search.h"
#include "losses/metrics.h"
#include "tests/support/mpi_world.h"

namespace lodestone::test {
namespace {

struct Corpus {
  Corpus(int64_t documents, int64_t queries, int64_t width) : width(width) {
    std::mt19937 random(static_cast<uint32_t>(documents * 31 + queries));
    for (int64_t i = 0; i < documents; ++i) ids.push_back("d" + std::to_string((i * 7919) % 100'003));
    for (int64_t i = 0; i < documents * width; ++i) rows.push_back(static_cast<float>(random() % 3));
    for (int64_t i = 0; i < queries * width; ++i) asked.push_back(static_cast<float>(random() % 3));
  }
  /// Best documents of query q by sorting all of them as trec_eval does.
  std::vector<std::string> expected(int64_t q, int64_t best) const {
    std::vector<Hit> hits;
    for (size_t d = 0; d < ids.size(); ++d) {
      float score = 0;
      for (int64_t e = 0; e < width; ++e)
        score += asked[static_cast<size_t>(q * width + e)] * rows[d * static_cast<size_t>(width) + static_cast<size_t>(e)];
      hits.push_back({ids[d], score});
    }
    std::sort(hits.begin(), hits.end(), ranks_before);
    std::vector<std::string> out;
    for (size_t i = 0; i < std::min(hits.size(), static_cast<size_t>(best)); ++i) out.emplace_back(hits[i].document);
    return out;
  }
  int64_t width;
  std::vector<std::string> ids;
  std::vector<float> rows, asked;
};

TEST(Search, FindsWhatOneSortedListHasWhateverTheNumberOfRanks) {
  Communicator& comm = world_comm();
  const auto backend = make_backend({.kind = BackendKind::reference});
  Arena arena(backend->memory(), size_t{1} << 30);
  for (const int64_t documents : {1, 3, 10, 5001}) {
    for (const int64_t best : {1, 10, 1000}) {
      const int64_t queries = 300;  // more than a tile
      const Corpus corpus(documents, queries, 4);
      const RankRows mine = rank_rows(documents, comm.rank(), comm.size());
      const std::vector<int64_t> precedence = precedence_of(corpus.ids);
      const std::span<const float> share =
          std::span(corpus.rows).subspan(static_cast<size_t>(mine.begin * 4), static_cast<size_t>((mine.end - mine.begin) * 4));
      const auto found = search({*backend, arena}, comm,
                                {.queries = corpus.asked,
                                 .documents = share,
                                 .embedding = 4,
                                 .first_document = mine.begin,
                                 .precedence = precedence,
                                 .best = best});
      ASSERT_EQ(found.size(), comm.rank() == 0 ? 300u : 0u);
      for (size_t q = 0; q < found.size(); q += 37) {
        std::vector<std::string> names;
        for (const Found& f : found[q]) names.push_back(corpus.ids[static_cast<size_t>(f.document)]);
        EXPECT_EQ(names, corpus.expected(static_cast<int64_t>(q), best)) << documents << " documents, query " << q;
      }
    }
  }
}

TEST(Search, BringsDocumentsAndQueriesToADeviceOnce) {
  Communicator& comm = world_comm();
  const auto device = make_backend({.kind = BackendKind::debug}), host = make_backend({.kind = BackendKind::cpu});
  Arena there(device->memory(), size_t{1} << 30), here(host->memory(), size_t{1} << 30);
  const Corpus corpus(9000, 300, 4);  // more than a tile of both
  const RankRows mine = rank_rows(9000, comm.rank(), comm.size());
  const std::vector<int64_t> precedence = precedence_of(corpus.ids);
  const SearchInput input{
      .queries = corpus.asked,
      .documents = std::span(corpus.rows).subspan(static_cast<size_t>(mine.begin * 4), static_cast<size_t>((mine.end - mine.begin) * 4)),
      .embedding = 4,
      .first_document = mine.begin,
      .precedence = precedence};
  const auto found = search({*device, there}, comm, input), expected = search({*host, here}, comm, input);
  EXPECT_EQ(device->transfers().uploads, 2);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t q = 0; q < found.size(); ++q)
    EXPECT_TRUE(std::ranges::equal(found[q], expected[q], {}, &Found::document, &Found::document)) << "query " << q;
}

}  // namespace
}  // namespace lodestone::test
