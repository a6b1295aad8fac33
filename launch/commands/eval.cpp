// lodestone eval: how good a model folder is on a BEIR folder, on scored pairs, on lists of candidates or on labelled texts.
#include <algorithm>
#include <cstdio>
#include <map>

#include "core/choice.h"
#include "data/files/durable.h"
#include "launch/command.h"
#include "launch/config/input_options.h"
#include "launch/console/cores.h"
#include "launch/console/log.h"
#include "launch/inference/labelled_tasks.h"
#include "launch/inference/model_options.h"
#include "launch/inference/reranking.h"

namespace lodestone {

const char* const eval_usage =
    R"(usage: lodestone eval MODEL_FOLDER --beir FOLDER | --pairs FILE | --rerank FILE | --pair-classification FILE |
                                   --classification PATH | --clustering FILE [options]

Evaluates a model folder, alone or under mpirun: texts are embedded, searched and scored by all ranks. A reranker's folder
(a cross-encoder with one label) takes --rerank only.

  --beir FOLDER          corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv: nDCG, MAP, recall and MRR as trec_eval computes them
  --pairs FILE           JSONL, CSV or TSV with sentence1, sentence2 and score: Spearman's and Pearson's correlation of the similarity
  --rerank FILE          rows with query, pos and neg: MAP, MRR@10 and nDCG@3, 5, 10 of each row's candidates, ordered by the
                         reranker's score or the embedder's similarity
  --pair-classification FILE
                         JSON lines with sentence1, sentence2 and label 0 or 1: average precision, and the best accuracy and F1 of a threshold
  --classification PATH  a folder with train.jsonl and SPLIT.jsonl, or JSON lines that name their split; text and label: accuracy and F1 of
                         logistic regression on a few rows of each label, over several draws of them
  --clustering FILE      JSON lines with sentences and labels, each a set as lists or each a text: V-measure of mini-batch k-means
  --format NAME          of FILE of --pairs and --rerank: jsonl, csv or tsv; auto goes by the name (auto)
  --columns A,B,...      column names of a table, for example sentence1,sentence2,score
  --header NAME          with --columns: yes when its first line is a header, to be passed over; no when it is a row
  --split NAME           which judgements of a BEIR folder, or rows of --classification (test)
  --output FOLDER        writes FOLDER/TASK.json (MTEB's form) and FOLDER/TASK.trec (a TREC run), neither of which may exist
  --task NAME            what the result is called (the name of the folder or file)
  --language CODE        of the texts, for what mteb selects by it: eng-Latn, cmn-Hans (und-Zyyy: undetermined)
  --query-prompt TEXT    put before every query; without it the model folder's prompt "query", else its default prompt
  --passage-prompt TEXT  put before every document; likewise "document", "passage" or "corpus"
  --top-k N              documents kept for each query, and lines of each in the run file: 10 or more (100)
  --samples-per-label N  rows of each label to learn from (8)
  --experiments N        draws of them (10)
  --kmeans-batch N       texts of a step of k-means (500)
  --seed N               of those draws and of k-means (42)
  --own-document NAME    a document that has the id of the query: leave_out of what the query finds, as BEIR does, or keep (leave_out)
  --max-len N            tokens of a text, or of a reranker's pair (what the model folder says)
  --precision NAME       f32, bf16 or f64 (f32)
  --device NAME          where to compute: auto (the CPU), cpu or cuda (auto)
  --attention NAME       on a GPU: auto (cuDNN in bf16, where it is there), own or cudnn (auto)
  --threads N            threads of each rank (the cores it may use)
  --chunk-tokens N       tokens that pass the encoder at once (2048)
  --dimensions N         leading components of a vector that count, as a model trained with loss.mrl_dims allows (all)
)";

namespace {

constexpr int64_t main_rank = 10;  // the main score looks at so many documents

std::string task_name(const std::filesystem::path& data) {
  const std::filesystem::path name = data.filename().empty() ? data.parent_path().filename() : data.filename();
  std::error_code unknown;
  return std::filesystem::is_directory(data, unknown) ? name.string() : name.stem().string();
}

void print(const TaskResult& result) {
  std::printf("%s (%s): %lld %s", printable(result.task).c_str(), printable(result.split).c_str(), static_cast<long long>(result.count),
              result.unit.c_str());
  if (result.documents > 0) std::printf(", %lld documents", static_cast<long long>(result.documents));
  std::printf(", %.1f s\n", result.seconds);
  for (const auto& [name, value] : result.scores)
    std::printf("  %-18s %.5f%s\n", name.c_str(), value, name == result.main_score ? "  <- main score" : "");
  std::fflush(stdout);
}

/// Where a result goes besides the terminal.
struct Target {
  World& world;
  std::filesystem::path folder;  // empty: nowhere
  std::string model, task, split, language;

  void announce_ignored(std::span<const std::string> names) const {
    if (world.rank() == 0 && !names.empty()) std::puts(describe_ignored(names).c_str());
  }
  void finish(TaskResult& result) const {
    result.task = task;
    result.split = split;
    result.language = language;
    if (world.rank() != 0) return;
    print(result);
    if (!folder.empty()) write_result(folder, result, model);
  }
};

/// What becomes of a document that has the id of the query.
enum class OwnDocument : uint8_t { leave_out, keep };
constexpr std::string_view name_of(OwnDocument own) {
  switch (own) {
    case OwnDocument::leave_out:
      return "leave_out";
    case OwnDocument::keep:
      return "keep";
  }
  return {};
}

/// Says how many queries have the id of a document, how many its text as well, and for how many that document is judged relevant.
void announce_own(const BeirSet& set, std::span<const int64_t> own, OwnDocument choice) {
  int64_t ids = 0, texts = 0, relevant = 0;
  for (size_t q = 0; q < own.size(); ++q) {
    if (own[q] < 0) continue;
    ++ids;
    texts += set.documents[static_cast<size_t>(own[q])].ends_with(set.queries[q]);
    relevant += std::any_of(set.judgements[q].begin(), set.judgements[q].end(),
                            [&](const auto& judgement) { return judgement.first == own[q] && judgement.second > 0; });
  }
  if (ids == 0) return;
  std::printf("notice: %lld queries have the id of a document (%lld its text too; for %lld it is judged relevant): ",
              static_cast<long long>(ids), static_cast<long long>(texts), static_cast<long long>(relevant));
  std::puts(choice == OwnDocument::leave_out ? "it is left out of what they find, as BEIR does; --own-document keep counts it"
                                             : "it counts as any other; --own-document leave_out does as BEIR does");
}

/// Evaluates a BEIR folder; the run file is written too.
void evaluate_beir(const Target& target, const std::filesystem::path& data, LoadedModel& model, const Prompts& prompts, int64_t best,
                   OwnDocument choice) {
  const BeirSet set = read_beir(data, target.split, BeirDocuments::all);
  if (!target.folder.empty()) require_run_ids(set);
  const std::vector<int64_t> own = own_documents(set);
  if (target.world.rank() == 0) {
    print_warnings(judgement_warnings(set));
    announce_own(set, own, choice);
  }
  const std::span<const int64_t> left_out = choice == OwnDocument::leave_out ? std::span(own) : std::span<const int64_t>();
  Retrieval retrieval = evaluate_retrieval(target.world.comm(), model, set, prompts, best, left_out);
  target.finish(retrieval.result);
  if (target.world.rank() == 0 && !target.folder.empty()) write_run(target.folder, retrieval, set);
}

void evaluate_lists(const Target& target, const std::filesystem::path& data, const InputOptions& input, const ScoreLists& score) {
  const CandidateSet set = read_candidates(data, input);
  target.announce_ignored(set.ignored);
  if (set.left_out > 0 && target.world.rank() == 0)
    std::printf("%lld rows without a negative are left out\n", static_cast<long long>(set.left_out));
  TaskResult result = evaluate_candidates(target.world.comm(), set, score);
  target.finish(result);
}

/// What is evaluated, and which options are for it alone. The other options are for all.
struct Kind {
  const char* option;
  std::vector<std::string> own;
};
std::vector<Kind> kinds() {
  return {{"--beir", {"--top-k", "--own-document"}},
          {"--pairs", input_option_names()},
          {"--rerank", input_option_names()},
          {"--pair-classification", {}},
          {"--classification", {"--samples-per-label", "--experiments", "--seed"}},
          {"--clustering", {"--kmeans-batch", "--seed"}}};
}

/// The one kind that is asked for. Refuses options that are for others alone.
Kind choose_kind(const Options& options) {
  std::vector<Kind> given;
  std::map<std::string, std::string> owners;  // option -> "--pairs and --rerank"
  for (const Kind& kind : kinds()) {
    if (options.has(kind.option)) given.push_back(kind);
    for (const std::string& name : kind.own) owners[name] += cat(owners[name].empty() ? "" : " and ", kind.option);
  }
  if (given.size() != 1) options.refuse("give one of --beir, --pairs, --rerank, --pair-classification, --classification and --clustering");
  for (const auto& [name, owner] : owners)
    if (options.has(name) && std::ranges::find(given[0].own, name) == given[0].own.end()) options.refuse(cat(name, " is for ", owner));
  return given[0];
}

void evaluate_labelled(const Target& target, const std::string& kind, const std::filesystem::path& data, const Options& options,
                       LoadedModel& model, const std::string& prompt) {
  Communicator& comm = target.world.comm();
  constexpr int64_t most_seed = 0xFFFFFFFF;
  const auto seed = static_cast<uint32_t>(options.integer("--seed", 42, 0, most_seed));
  TaskResult result;
  if (kind == "--pair-classification") {
    const LabelledPairs pairs = read_labelled_pairs(data);
    target.announce_ignored(pairs.ignored);
    result = evaluate_pair_classification(comm, model, pairs, prompt);
  } else if (kind == "--classification") {
    const ClassificationSet set = read_classification(data, target.split);
    target.announce_ignored(set.ignored);
    const ClassificationOptions chosen{options.integer("--samples-per-label", 8, 1), options.integer("--experiments", 10, 1), seed};
    result = evaluate_classification(comm, model, set, chosen, prompt);
  } else {
    const ClusteringSets sets = read_clustering(data);
    target.announce_ignored(sets.ignored);
    result = evaluate_clustering(comm, model, sets, {options.integer("--kmeans-batch", 500, 1), seed}, prompt);
  }
  target.finish(result);
}

/// Evaluates a reranker's folder, which has no vectors.
void evaluate_reranker(const Target& target, const std::filesystem::path& data, const InputOptions& input, const Options& options,
                       Backend& backend) {
  if (!options.has("--rerank")) options.refuse("this is a reranker, which gives no vectors: evaluate it with --rerank");
  if (options.has("--dimensions")) options.refuse("this is a reranker, which gives no vectors: leave --dimensions out");
  LoadedReranker model(target.model, model_options(options), backend);
  if (target.world.rank() == 0) print_warnings(model.warnings());
  model.require_same_on(target.world.comm());
  const Prompts prompts{options.text("--query-prompt", ""), options.text("--passage-prompt", "")};
  model.scorer().require_room(prompts.query, prompts.passage);
  evaluate_lists(target, data, input, score_with(model.scorer(), model.exec(), prompts));
}

}  // namespace

int run_eval(World& world, std::span<const std::string> arguments) {
  world.watchdog().set_limit(World::unequal_work_limit_s);
  std::vector<std::string> names = model_option_names();
  names.insert(names.end(), {"--split", "--output", "--task", "--language"});
  const std::vector<std::string> prompt_names = prompt_option_names();
  names.insert(names.end(), prompt_names.begin(), prompt_names.end());
  for (const Kind& kind : kinds()) {
    names.emplace_back(kind.option);
    names.insert(names.end(), kind.own.begin(), kind.own.end());
  }
  const Options options(arguments, "eval", names);
  if (options.positional().size() != 1) options.refuse("give one model folder");
  const std::string kind = choose_kind(options).option;
  const std::filesystem::path data = options.text(kind, "");
  InputOptions input;
  read_input_options(options, input);
  const int64_t best = options.integer("--top-k", 100, main_rank);
  const Target target{world,
                      options.text("--output", ""),
                      options.positional()[0],
                      options.text("--task", task_name(data)),
                      options.text("--split", "test"),
                      options.text("--language", TaskResult().language)};
  if (target.task.empty() || target.task.find('/') != std::string::npos)
    options.refuse(cat("--task names a file, which ", printable(target.task), " cannot"));
  if (world.rank() == 0 && !target.folder.empty()) {
    check_writable(target.folder);
    require_new_result(target.folder, target.task);
  }

  const std::unique_ptr<Backend> backend = open_backend(options, world);
  if (is_reranker_folder(target.model)) {
    evaluate_reranker(target, data, input, options, *backend);
    return 0;
  }
  LoadedModel model(target.model, model_options(options), *backend);
  if (world.rank() == 0) print_warnings(model.warnings());
  model.require_same_on(world.comm());
  const Prompts prompts = choose_prompts(options, model);
  model.embedder().require_room(prompts.query);
  if (kind == "--beir" || kind == "--rerank") model.embedder().require_room(prompts.passage);
  if (kind == "--rerank") {
    evaluate_lists(target, data, input, score_with(model, prompts));
  } else if (kind == "--pairs") {
    const ScoredPairs pairs = read_scored_pairs(data, input);
    target.announce_ignored(pairs.ignored);
    TaskResult result = evaluate_pairs(world.comm(), model, pairs, prompts.query);
    target.finish(result);
  } else if (kind == "--beir") {
    evaluate_beir(target, data, model, prompts, best, options.choice("--own-document", OwnDocument::leave_out));
  } else {
    evaluate_labelled(target, kind, data, options, model, prompts.query);
  }
  return 0;
}

}  // namespace lodestone
