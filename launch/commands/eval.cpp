// lodestone eval: how good a model folder is on a BEIR folder, on scored pairs or on lists of candidates.
#include <algorithm>
#include <cstdio>

#include "core/choice.h"
#include "data/files/durable.h"
#include "launch/command.h"
#include "launch/config/input_options.h"
#include "launch/console/cores.h"
#include "launch/console/log.h"
#include "launch/inference/model_options.h"
#include "launch/inference/reranking.h"

namespace lodestone {

const char* const eval_usage =
    R"(usage: lodestone eval MODEL_FOLDER --beir FOLDER | --pairs FILE | --rerank FILE [options]

Evaluates a model folder, alone or under mpirun: texts are embedded, searched and scored by all ranks. A reranker's folder
(a cross-encoder with one label) takes --rerank only.

  --beir FOLDER          corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv: nDCG, MAP, recall and MRR as trec_eval computes them
  --pairs FILE           JSONL, CSV or TSV with sentence1, sentence2 and score: Spearman's and Pearson's correlation of the similarity
  --rerank FILE          rows with query, pos and neg: MAP, MRR@10 and nDCG@10 of each row's candidates, ordered by the reranker's
                         score or the embedder's similarity
  --format NAME          of FILE: jsonl, csv or tsv; auto goes by the name (auto)
  --columns A,B,...      column names of a table, for example sentence1,sentence2,score
  --header NAME          with --columns: yes when its first line is a header, to be passed over; no when it is a row
  --split NAME           which judgements of a BEIR folder (test)
  --output FOLDER        writes FOLDER/TASK.json (MTEB's form) and FOLDER/TASK.trec (a TREC run), neither of which may exist
  --task NAME            what the result is called (the name of the folder or file)
  --query-prompt TEXT    put before every query; without it the model folder's prompt "query", else its default prompt
  --passage-prompt TEXT  put before every document; likewise "document", "passage" or "corpus"
  --top-k N              documents kept for each query, and lines of each in the run file: 10 or more (100)
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
  std::string model, task, split;

  void announce_ignored(std::span<const std::string> names) const {
    if (world.rank() == 0 && !names.empty()) std::puts(describe_ignored(names).c_str());
  }
  void finish(TaskResult& result) const {
    result.task = task;
    result.split = split;
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

}  // namespace

int run_eval(World& world, std::span<const std::string> arguments) {
  world.watchdog().set_limit(World::unequal_work_limit_s);
  std::vector<std::string> names = model_option_names();
  names.insert(names.end(), {"--beir", "--pairs", "--rerank", "--split", "--output", "--task", "--top-k", "--own-document"});
  const std::vector<std::string> input_names = input_option_names(), prompt_names = prompt_option_names();
  names.insert(names.end(), input_names.begin(), input_names.end());
  names.insert(names.end(), prompt_names.begin(), prompt_names.end());
  const Options options(arguments, "eval", names);
  if (options.positional().size() != 1) options.refuse("give one model folder");
  if (options.has("--beir") + options.has("--pairs") + options.has("--rerank") != 1)
    options.refuse("give one of --beir, --pairs and --rerank");
  const std::filesystem::path data = options.text("--beir", options.text("--pairs", options.text("--rerank", "")));
  if (options.has("--beir"))
    for (const std::string& name : input_names)
      if (options.has(name)) options.refuse(cat(name, " is for the files of --pairs and --rerank"));
  InputOptions input;
  read_input_options(options, input);
  const int64_t best = options.integer("--top-k", 100, main_rank);
  const Target target{world, options.text("--output", ""), options.positional()[0], options.text("--task", task_name(data)),
                      options.text("--split", "test")};
  if (target.task.empty() || target.task.find('/') != std::string::npos)
    options.refuse(cat("--task names a file, which ", printable(target.task), " cannot"));
  if (world.rank() == 0 && !target.folder.empty()) {
    check_writable(target.folder);
    require_new_result(target.folder, target.task);
  }

  const std::unique_ptr<Backend> backend = open_backend(options, world);
  if (is_reranker_folder(target.model)) {
    if (!options.has("--rerank")) options.refuse("this is a reranker, which gives no vectors: evaluate it with --rerank");
    if (options.has("--dimensions")) options.refuse("this is a reranker, which gives no vectors: leave --dimensions out");
    LoadedReranker model(target.model, model_options(options), *backend);
    if (world.rank() == 0) print_warnings(model.warnings());
    model.require_same_on(world.comm());
    const Prompts prompts{options.text("--query-prompt", ""), options.text("--passage-prompt", "")};
    model.scorer().require_room(prompts.query, prompts.passage);
    evaluate_lists(target, data, input, score_with(model.scorer(), model.exec(), prompts));
    return 0;
  }
  LoadedModel model(target.model, model_options(options), *backend);
  if (world.rank() == 0) print_warnings(model.warnings());
  model.require_same_on(world.comm());
  const Prompts prompts = choose_prompts(options, model);
  model.embedder().require_room(prompts.query);
  if (!options.has("--pairs")) model.embedder().require_room(prompts.passage);
  if (options.has("--rerank")) {
    evaluate_lists(target, data, input, score_with(model, prompts));
  } else if (options.has("--pairs")) {
    const ScoredPairs pairs = read_scored_pairs(data, input);
    target.announce_ignored(pairs.ignored);
    TaskResult result = evaluate_pairs(world.comm(), model, pairs, prompts.query);
    target.finish(result);
  } else {
    evaluate_beir(target, data, model, prompts, best, options.choice("--own-document", OwnDocument::leave_out));
  }
  return 0;
}

}  // namespace lodestone
