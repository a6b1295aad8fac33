// corpus_rows FOLDER ROWS SEED: reads random rows of a corpus and prints as JSON the processor time of one. Used by corpus_speed.py.
#include <cstdio>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "data/corpus.h"

int main(int argc, char** argv) {
  using namespace lodestone;
  if (argc != 4) return 2;
  try {
    const Corpus corpus = Corpus::open(argv[1]);
    const int64_t rows = std::stoll(argv[2]);
    std::mt19937_64 random(std::stoull(argv[3]));
    std::vector<int64_t> order(static_cast<size_t>(rows));
    for (int64_t& row : order) row = static_cast<int64_t>(random() % static_cast<uint64_t>(corpus.rows()));
    PackedRow row;
    const auto now = [] {
      timespec t{};
      clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
      return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
    };
    const double start = now();
    for (int64_t r = 0; r < corpus.rows(); ++r) corpus.read(r, row);      // first touches: every chunk is verified
    const double opened = now();
    int64_t sum = 0, tokens = 0;
    for (const int64_t r : order) {
      corpus.read(r, row);
      const auto add = [&](const PackedText& text) {
        for (const int32_t id : text.ids) sum += id;
        tokens += static_cast<int64_t>(text.ids.size());
      };
      add(row.query);
      for (const PackedText& text : row.positives) add(text);
      for (const PackedText& text : row.negatives) add(text);
    }
    const double seconds = now() - opened;
    std::printf("{\"rows\": %lld, \"tokens\": %lld, \"sum\": %lld, \"us_per_row\": %.4f, \"first_pass_us_per_row\": %.4f, \"order\": [", static_cast<long long>(rows),
                static_cast<long long>(tokens), static_cast<long long>(sum), seconds / static_cast<double>(rows) * 1e6,
                (opened - start) / static_cast<double>(corpus.rows()) * 1e6);
    for (size_t i = 0; i < order.size(); ++i) std::printf("%s%lld", i == 0 ? "" : ", ", static_cast<long long>(order[i]));
    std::printf("]}\n");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "corpus_rows: %s\n", e.what());
    return 1;
  }
}
