// corpus_rows FOLDER ROWS SEED: reads random rows of a corpus and prints as JSON the processor time of one, and what the same row would
// take were it read with pread. Used by corpus_speed.py.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "data/corpus/corpus.h"
#include "data/files/durable.h"

namespace {

using namespace lodestone;

/// The calls that a reader without mapping would make for a row, each for all texts of a role together: hashes, documents, offsets and ids,
/// the offsets of the row, and what it has beside texts. From places spread over the file that do not matter.
class Preads {
 public:
  explicit Preads(const std::filesystem::path& folder) {
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.path().extension() == ".h5" && entry.file_size() > size_) {
        size_ = entry.file_size();
        file_ = Descriptor(open(entry.path().c_str(), O_RDONLY));
      }
  }
  void read(const PackedRow& row) {
    role({&row.query, 1}, Lists::no);
    role(row.positives, Lists::yes);
    role(row.negatives, Lists::yes);
    take(4);  // source
    if (!row.teacher_scores.empty()) take(16), take(row.teacher_scores.size() * 8);
  }

 private:
  enum class Lists { no, yes };
  void role(std::span<const PackedText> texts, Lists lists) {
    if (texts.empty()) return;
    size_t ids = 0;
    for (const PackedText& text : texts) ids += text.ids.size();
    if (lists == Lists::yes) take(16);
    take(texts.size() * 8);  // hashes
    if (texts[0].document != texts[0].text_hash) take(texts.size() * 8);
    take((texts.size() + 1) * 8);  // offsets
    take(ids * 2);
  }
  void take(size_t bytes) {
    buffer_.resize(std::max(buffer_.size(), bytes));
    place_ = (place_ * 6364136223846793005u + 1442695040888963407u);
    if (pread(file_.get(), buffer_.data(), bytes, static_cast<off_t>((place_ >> 16) % (size_ - std::min(size_ - 1, bytes)))) < 0)
      std::abort();
  }

  Descriptor file_;
  size_t size_ = 0, place_ = 1;
  std::vector<char> buffer_;
};

}  // namespace

int main(int argc, char** argv) {
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
    for (int64_t r = 0; r < corpus.rows(); ++r) corpus.read(r, row);  // first touches: every chunk is verified
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
    Preads preads(argv[1]);
    double pread_seconds = 0;
    for (const int64_t r : order) {
      corpus.read(r, row);
      const double began = now();
      preads.read(row);
      pread_seconds += now() - began;
    }
    const double empty = now();  // the clock's own share
    for (size_t i = 0; i < order.size(); ++i) (void)now();
    pread_seconds -= now() - empty;
    std::printf(
        "{\"rows\": %lld, \"tokens\": %lld, \"sum\": %lld, \"us_per_row\": %.4f, \"pread_us_per_row\": %.4f, \"first_pass_us_per_row\": "
        "%.4f, \"order\": [",
        static_cast<long long>(rows), static_cast<long long>(tokens), static_cast<long long>(sum),
        seconds / static_cast<double>(rows) * 1e6, pread_seconds / static_cast<double>(rows) * 1e6,
        (opened - start) / static_cast<double>(corpus.rows()) * 1e6);
    for (size_t i = 0; i < order.size(); ++i) std::printf("%s%lld", i == 0 ? "" : ", ", static_cast<long long>(order[i]));
    std::printf("]}\n");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "corpus_rows: %s\n", e.what());
    return 1;
  }
}
