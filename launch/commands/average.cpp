// lodestone average: the published averages of a folder of results.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <variant>

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
of a data set in several languages is that of its English or Chinese subset. Other files are passed over.

  --benchmark NAME  c_mteb: the 35 data sets of C-MTEB; mteb_english: the 56 of MTEB's first version
  --split NAME      of results that have several; others count by the one they have
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

/// Names of the subsets that count of a data set in several languages: those of English or of Chinese.
bool counts(Benchmark benchmark, const std::string& subset) {
  const auto is_one_of = [&](std::initializer_list<const char*> names) { return std::ranges::find(names, subset) != names.end(); };
  return benchmark == Benchmark::c_mteb ? is_one_of({"zh", "zh-CN", "cmn-hans"}) : is_one_of({"en", "en-en", "eng"});
}

/// The main score of the subset that the benchmark counts, which is the only one or the one of its language; or why there is none. Of
/// several splits the one named.
std::variant<double, std::string> main_score(const Json& scores, const std::string& split, Benchmark benchmark) {
  const auto found = scores.size() == 1 ? scores.begin() : scores.find(split);
  if (found == scores.end())
    return split.empty() ? std::string("it has several splits; name one with --split") : "it has several splits, and none is " + split;
  if (!found->is_array() || found->empty()) return "no scores";
  const Json* chosen = found->size() == 1 ? &(*found)[0] : nullptr;
  if (chosen == nullptr)
    for (const Json& subset : *found) {
      if (!subset.is_object() || !subset.contains("hf_subset") || !subset["hf_subset"].is_string()) continue;
      if (!counts(benchmark, subset["hf_subset"].get<std::string>())) continue;
      if (chosen != nullptr) return "it has several subsets that the benchmark may mean; keep one";
      chosen = &subset;
    }
  if (chosen == nullptr) return "it has several subsets, and none of the benchmark's language";
  if (!chosen->is_object() || !chosen->contains("main_score") || !(*chosen)["main_score"].is_number()) return "no main score";
  return (*chosen)["main_score"].get<double>();
}

/// mteb writes a result for each of twelve forums that make one data set of its English benchmark.
void add_forums(std::map<std::string, double>& scores) {
  constexpr const char* forums[] = {"Android",     "English", "Gaming", "Gis",  "Mathematica", "Physics",
                                    "Programmers", "Stats",   "Tex",    "Unix", "Webmasters",  "Wordpress"};
  double sum = 0;
  for (const char* const forum : forums) {
    const auto found = scores.find(cat("CQADupstack", forum, "Retrieval"));
    if (found == scores.end()) return;
    sum += found->second;
  }
  scores.emplace("CQADupstackRetrieval", sum / static_cast<double>(std::size(forums)));
}

/// The scores by data set of all results of a folder, in the order of file names. Says which results have none.
std::map<std::string, double> read_scores(const std::filesystem::path& folder, const std::string& split, Benchmark benchmark) {
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
    const auto score = main_score(by_split, split, benchmark);
    if (const auto* const why_not = std::get_if<std::string>(&score)) {
      std::printf("%s is left out: %s\n", printable(file.string()).c_str(), why_not->c_str());
    } else if (!scores.emplace(task, std::get<double>(score)).second) {
      throw Error(ExitCode::data, "F30", cat("two results of ", printable(task)), "keep one of them").at("file", file.string());
    }
  }
  add_forums(scores);
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
  const BenchmarkAverages found = averages(benchmark, read_scores(options.positional()[0], options.text("--split", ""), benchmark));
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
