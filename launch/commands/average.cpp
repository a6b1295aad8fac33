// lodestone average: the published averages of a folder of results.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>

#include "data/files/durable.h"
#include "data/files/strict_json.h"
#include "launch/command.h"
#include "launch/config/options.h"
#include "launch/console/log.h"
#include "launch/evaluation/benchmarks.h"

namespace lodestone {

const char* const average_usage =
    R"(usage: lodestone average RESULTS_FOLDER --benchmark c_mteb|mteb_english [options]

Prints the averages that leaderboards and papers print, times 100: over all data sets of a benchmark, and over those of each type.
Reads FOLDER/*.json as `lodestone eval --output` and the mteb package write them, whose task_name is a data set of the benchmark; the score
of a data set is the mean of the main scores of its subsets. Other files are passed over.

  --benchmark NAME  c_mteb: the 35 data sets of C-MTEB; mteb_english: the 56 of MTEB's first version
  --split NAME      of the results; a result that lacks it is named (the only split that a result has)
)";

namespace {

constexpr size_t most_bytes = size_t{64} << 20;  // of a result

/// JSON as Python writes it, with null for its numbers that are none: NaN, Infinity, -Infinity.
std::string without_nan(std::string_view text) {
  std::string out;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') in_string = !in_string;
    if (in_string && text[i] == '\\' && i + 1 < text.size()) out += text[i++];
    bool replaced = false;
    for (const std::string_view word : {"NaN", "Infinity", "-Infinity"})
      if (!in_string && text.substr(i).starts_with(word)) {
        out += "null";
        i += word.size() - 1;
        replaced = true;
        break;
      }
    if (!replaced) out += text[i];
  }
  return out;
}

/// A file as a result: its data set and scores by split; none where it is something else.
std::optional<std::pair<std::string, Json>> read_result(const std::filesystem::path& file) {
  Json json;
  try {
    json = parse_strict_json(without_nan(read_text_file(file, most_bytes, ExitCode::data)), ExitCode::data, "F30");
  } catch (Error& error) {
    throw error.at("file", file.string());
  }
  if (!json.is_object() || !json.contains("task_name") || !json["task_name"].is_string()) return {};
  if (!json.contains("scores") || !json["scores"].is_object()) return {};
  return std::pair{json["task_name"].get<std::string>(), json["scores"]};
}

/// The mean main score of a result's subsets; NaN where it has none in this split.
double main_score(const Json& scores, const std::string& split) {
  const auto found = !split.empty() ? scores.find(split) : scores.size() == 1 ? scores.begin() : scores.end();
  if (found == scores.end() || !found->is_array() || found->empty()) return std::nan("");
  double sum = 0;
  for (const Json& subset : *found) {
    const auto score = subset.is_object() ? subset.find("main_score") : subset.end();
    if (!subset.is_object() || score == subset.end() || !score->is_number()) return std::nan("");
    sum += score->get<double>();
  }
  return sum / static_cast<double>(found->size());
}

/// The scores by data set of all results of a folder, in the order of file names. Says which results have none.
std::map<std::string, double> read_scores(const std::filesystem::path& folder, const std::string& split) {
  std::vector<std::filesystem::path> files;
  std::error_code failure;
  for (std::filesystem::directory_iterator at(folder, failure), end; !failure && at != end; at.increment(failure))
    if (at->path().extension() == ".json") files.push_back(at->path());
  if (failure)
    throw Error(ExitCode::usage, "missing", cat("cannot read the folder: ", failure.message()), "check its path")
        .at("folder", folder.string());
  std::ranges::sort(files);
  std::map<std::string, double> scores;
  for (const std::filesystem::path& file : files) {
    const auto result = read_result(file);
    if (!result) continue;  // model_meta.json and others
    const auto& [task, by_split] = *result;
    const double score = main_score(by_split, split);
    if (std::isnan(score)) {
      std::printf("%s: no main score%s\n", printable(file.string()).c_str(), split.empty() ? "; name one --split" : " in this split");
    } else if (!scores.emplace(task, score).second) {
      throw Error(ExitCode::data, "F30", cat("two results of ", printable(task)), "keep one of them").at("file", file.string());
    }
  }
  return scores;
}

}  // namespace

int run_average(World& world, std::span<const std::string> arguments) {
  const std::string names[] = {"--benchmark", "--split"};
  const Options options(arguments, "average", names);
  if (options.positional().size() != 1) options.refuse("give one folder of results");
  if (!options.has("--benchmark")) options.refuse("give --benchmark c_mteb or mteb_english");
  const auto benchmark = options.choice("--benchmark", Benchmark::c_mteb);
  if (world.rank() != 0) return 0;
  const BenchmarkAverages found = averages(benchmark, read_scores(options.positional()[0], options.text("--split", "")));
  const auto all = std::ssize(tasks_of(benchmark)), missing = std::ssize(found.missing);
  if (missing == all)
    throw Error(ExitCode::data, "F32", "no result of a data set of this benchmark", "name results as the mteb package names its tasks")
        .at("folder", options.positional()[0]);
  std::printf("%-20s data sets  average\n", std::string(name_of(benchmark)).c_str());
  for (const auto& type : found.types) {
    std::printf("%-20s %4lld of %2lld", std::string(name_of(type.type)).c_str(), static_cast<long long>(type.found),
                static_cast<long long>(type.all));
    std::printf(type.found > 0 ? "  %7.2f\n" : "        -\n", 100 * type.mean);
  }
  std::printf("%-20s %4lld of %2lld  %7.2f\n", "all data sets", static_cast<long long>(all - missing), static_cast<long long>(all),
              100 * found.mean);
  std::printf("%-20s             %7.2f\n", "types", 100 * found.mean_of_types);
  if (missing > 0) {
    std::string line = "missing, so that these are no published averages:";
    for (const std::string& name : found.missing) line += " " + name;
    std::puts(line.c_str());
  }
  return 0;
}

}  // namespace lodestone
