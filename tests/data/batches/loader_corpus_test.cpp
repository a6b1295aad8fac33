// Does the loader give a packed corpus' texts, and does reading rows allocate nothing once every buffer was used?
#include <gtest/gtest.h>

#include <map>

#include "data/batches/loader.h"
#include "data/corpus/corpus_rows.h"
#include "launch/console/allocations.h"
#include "tests/data/batches/one_task.h"
#include "tests/data/corpus/pack_support.h"

namespace lodestone {
namespace {

/// Row k of source s: query "query s k", one positive and three negatives that name their row.
std::filesystem::path write_source(const test::TempDir& dir, const std::string& name, int rows) {
  std::ostringstream lines;
  for (int k = 0; k < rows; ++k) {
    const std::string row = cat(name, ' ', k);
    lines << R"({"query": "query )" << row << R"(", "pos": ["positive )" << row << R"("], "neg": ["first )" << row << R"(", "second )"
          << row << R"(", "third )" << row << "\"]}\n";
  }
  return test::write_text(dir / (name + ".jsonl"), lines.str());
}

std::vector<int32_t> framed(const std::string& text) {
  std::vector<int32_t> ids = test::words(text);
  ids.insert(ids.begin(), 101);
  ids.push_back(102);
  return ids;
}

TEST(LoaderOverACorpus, GivesThePackedTextsWithoutAllocating) {
  const test::TempDir dir;
  const std::map<std::string, int> sizes = {{"large", 300}, {"small", 3}, {"tiny", 9}};
  std::vector<std::filesystem::path> files;
  files.reserve(sizes.size());
  for (const auto& [name, rows] : sizes) files.push_back(write_source(dir, name, rows));
  test::pack_files(dir / "corpus", files, {}, 2);
  const Corpus corpus = Corpus::open(dir / "corpus");
  const CorpusRows rows(corpus);
  std::vector<std::string> name_of_row(static_cast<size_t>(corpus.rows()));
  for (size_t s = 0; s < corpus.sources().size(); ++s) {
    for (int64_t k = 0; k < corpus.sources()[s].rows; ++k) {
      name_of_row.at(static_cast<size_t>(corpus.row_of(static_cast<int32_t>(s), k))) = cat(corpus.sources()[s].name, ' ', k);
    }
  }
  const int64_t steps = 400;
  const Plan plan({.global_batch = 10, .batches = steps, .seed = 2, .alpha = 0.5, .small_sources = SmallSources::merge},
                  plan_sources(corpus.sources()));
  ASSERT_EQ(plan.sources().size(), 2u);
  test::OneTaskLoader loader(plan, rows, Collator({.group = 3}, {101, 102, {}, {}, {}}), 0, 1, 0);
  std::map<std::string, int> seen;
  for (int64_t step = 0; step < steps / 2; ++step) {
    const Batch& batch = loader.take(step);
    const auto text = [&](int64_t b) {
      return std::vector<int32_t>(batch.ids.begin() + batch.offsets[static_cast<size_t>(b)],
                                  batch.ids.begin() + batch.offsets[static_cast<size_t>(b) + 1]);
    };
    for (int64_t i = 0; i < batch.queries; ++i) {
      const std::string& name = name_of_row[static_cast<size_t>(batch.rows[static_cast<size_t>(i)])];
      ++seen[name.substr(0, name.find(' '))];
      ASSERT_EQ(text(i), framed("query " + name));
      ASSERT_EQ(text(10 + 3 * i), framed("positive " + name));
      for (int64_t g = 1; g < 3; ++g) {
        const auto negative = text(10 + 3 * i + g);
        ASSERT_TRUE(negative == framed("first " + name) || negative == framed("second " + name) || negative == framed("third " + name));
      }
      ASSERT_NE(text(10 + 3 * i + 1), text(10 + 3 * i + 2));
    }
  }
  for (const auto& [name, rows_of_source] : sizes) EXPECT_GT(seen[name], 0) << name;
  const uint64_t before = heap_allocations();
  for (int64_t step = steps / 2; step < steps; ++step) (void)loader.take(step);
  EXPECT_EQ(heap_allocations() - before, 0u);
}

}  // namespace
}  // namespace lodestone
