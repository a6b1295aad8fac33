// lodestone dedup: JSON lines in, each row once out.
#include "data/cleaning/dedup.h"

#include <cmath>
#include <cstdio>
#include <set>

#include "data/files/temporary.h"
#include "data/records/inputs.h"
#include "launch/command.h"
#include "launch/commands/cleaned.h"
#include "launch/console/log.h"

namespace lodestone {

namespace fs = std::filesystem;

const char* const dedup_usage =
    R"(usage: lodestone dedup FILE.jsonl[.gz]... --output OUT.jsonl[.gz]|FOLDER [options]

Copies each row once, byte for byte and in order: the first one stays, across all files. Rows are the same when query and positives are;
negatives and scores may differ. OUT.jsonl has the rows of all files, a FOLDER a file for each.

  --same NAME           which texts are the same: bytes; spaces (but for white space); words (also but for capitals and punctuation)
                        (default spaces)
  --near T              also drop rows of which query and positives together have a Jaccard index of at least T (0.3 to 1) with those of a
                        row that was kept: |a and b| / |a or b| of their sets of --shingle words
  --shingle N           words that follow each other (default 5)

)";

namespace {

/// Where rows go: one file, or a folder with one for each input, which has its name when all is there.
class DedupOutput {
 public:
  DedupOutput(const fs::path& out, const std::vector<fs::path>& inputs) : out_(out) {
    if (format_by_name(out) == InputFormat::jsonl) {
      files_.emplace_back(out);
      return;
    }
    std::set<fs::path> names;
    for (const fs::path& input : inputs)
      if (!names.insert(input.filename()).second)
        throw Error(ExitCode::usage, "usage", "two inputs have this name, and the output is a folder",
                    "rename one, or give --output OUT.jsonl")
            .at("file", input.string());
    folder_.emplace(out, Temporary::Kind::folder);
    for (const fs::path& input : inputs) files_.emplace_back(folder_->path() / input.filename());
  }
  LineWriter& of_input(size_t i) { return folder_ ? files_[i] : files_[0]; }
  void publish() {
    for (LineWriter& file : files_) file.publish();
    if (!folder_) return;
    publish_folder(folder_->path(), out_, IfExists::refuse);
    folder_->release();
  }

 private:
  fs::path out_;
  std::optional<Temporary> folder_;
  std::vector<LineWriter> files_;
};

std::optional<NearSettings> near_settings(const Options& given, const Cleaning& cleaning) {
  if (!given.has("--near")) {
    if (given.has("--shingle")) given.refuse("--shingle is for --near");
    return std::nullopt;
  }
  NearSettings near;
  near.threshold = given.number("--near", near.threshold, 0.3, 1);
  near.words = static_cast<int>(given.integer("--shingle", near.words, 1, 64));
  const fs::path& out = cleaning.out();
  near.folder = out.has_parent_path() ? out.parent_path() : fs::path(".");
  return near;
}

int64_t state_bytes(const Deduplicator& dedup) {
  return dedup.hashes().peak_bytes() + (dedup.near() != nullptr ? dedup.near()->bytes() : 0);
}

OrderedJson report_of(const Deduplicator& dedup, const std::optional<NearSettings>& near) {
  OrderedJson report{{"state_bytes", state_bytes(dedup)}};
  if (!near) return report;
  const Bands bands = dedup.near()->bands();
  report["near"] = {{"threshold", near->threshold},
                    {"shingle_words", near->words},
                    {"hashes", minhash_values},
                    {"bands", bands.count},
                    {"values_per_band", bands.values},
                    {"catch_probability_at_threshold", catch_probability(bands, near->threshold)},
                    {"full_buckets", dedup.near()->full_buckets()}};
  return report;
}

void print_state(const Deduplicator& dedup, const std::optional<NearSettings>& near) {
  std::printf("memory for rows that came before: %.1f MB\n", static_cast<double>(state_bytes(dedup)) / 1e6);
  if (!near) return;
  const Bands bands = dedup.near()->bands();
  std::printf(
      "near: Jaccard index of %g or more over shingles of %d words; MinHash of %d values in %d bands of %d: a pair at %g is found with\n"
      "probability 1 - (1 - %g^%d)^%d = %.4f, and compared by all its shingles\n",
      near->threshold, near->words, minhash_values, bands.count, bands.values, near->threshold, near->threshold, bands.values, bands.count,
      catch_probability(bands, near->threshold));
}

}  // namespace

int run_dedup(World& world, std::span<const std::string> arguments) {
  std::vector<std::string> names = cleaning_option_names();
  names.insert(names.end(), {"--same", "--near", "--shingle"});
  const Options given(arguments, "dedup", names);
  if (given.positional().empty()) given.refuse("no input is given");
  const Sameness sameness = given.choice("--same", Sameness::spaces);
  Cleaning cleaning(world, given, "dedup", arguments);
  const std::optional<NearSettings> near = near_settings(given, cleaning);
  DedupOutput output(cleaning.out(), cleaning.inputs());
  Deduplicator dedup(TextFields(given.list("--fields")), sameness, near);
  std::vector<std::string> reasons{std::string(Deduplicator::duplicate)};
  if (cleaning.settings().allowed_bad_rows > 0) reasons.insert(reasons.begin(), std::string(bad_row_reason));
  if (near) reasons.emplace_back(Deduplicator::near_duplicate);
  Tally tally(std::move(reasons));
  cleaning.run([&](std::span<const Field> fields) { return dedup.judge(fields); }, tally,
               [&](size_t i) -> LineWriter& { return output.of_input(i); });
  output.publish();
  cleaning.finish_side_files(tally, report_of(dedup, near));
  cleaning.print_summary(tally);
  print_state(dedup, near);
  return static_cast<int>(ExitCode::finished);
}

}  // namespace lodestone
