// lodestone eval: how good a model folder is on a BEIR folder, on scored pairs or on lists of candidates.
#include <cstdio>

#include "data/files/durable.h"
#include "launch/command.h"
#include "launch/console/cores.h"
#include "launch/inference/model_options.h"
#include "launch/inference/reranking.h"

namespace lodestone {

const char* const eval_usage =
    R"(usage: lodestone eval MODEL_FOLDER --beir FOLDER | --pairs FILE | --rerank FILE [options]

Evaluates a model folder, alone or under mpirun: texts are embedded, searched and scored by all ranks. A reranker's folder
(a cross-encoder with one label) takes --rerank only.

  --beir FOLDER          corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv: nDCG, MAP, recall and MRR as trec_eval computes them
  --pairs FILE           JSONL, CSV or TSV with sentence1, sentence2 and score: Spearman's and Pearson's correlation of the cosine
  --rerank FILE          rows with query, pos and neg: MAP, MRR@10 and nDCG@10 of each row's candidates, ordered by the reranker's
                         score or the embedder's cosine
  --split NAME           which judgements of a BEIR folder (test)
  --output FOLDER        writes FOLDER/TASK.json (MTEB's form) and FOLDER/TASK.trec (a TREC run)
  --task NAME            what the result is called (the name of the folder or file)
  --query-prompt TEXT    put before every query; without it the model folder's prompt "query", else its default prompt
  --passage-prompt TEXT  put before every document; likewise "passage", "document" or "corpus"
  --top-k N              documents kept for each query, and lines of each in the run file (100)
  --max-len N            tokens of a text, or of a reranker's pair (what the model folder says)
  --precision NAME       f32, bf16 or f64 (f32)
  --device NAME          where to compute: auto (the best that this build has) or cpu (auto)
  --threads N            threads of each rank (the cores it may use)
  --chunk-tokens N       tokens that pass the encoder at once (2048)
  --dimensions N         leading components of a vector that count, as a model trained with loss.mrl_dims allows (all)
)";

namespace {

std::string task_name(const std::filesystem::path& data) {
  const std::filesystem::path name = data.filename().empty() ? data.parent_path().filename() : data.filename();
  return std::filesystem::is_directory(data) ? name.string() : name.stem().string();
}

/// The prompt given, else the first of these names that the folder has, else
/// its default prompt.
std::string choose_prompt(const Options& options, const char* option, const LoadedModel& model, std::span<const char* const> names) {
  if (options.has(option)) return options.text(option, "");
  for (const char* name : names)
    if (model.folder().prompts.contains(name)) return model.prompt(name);
  return model.prompt("");
}

void print(const TaskResult& result) {
  std::printf("%s (%s): %lld queries", result.task.c_str(), result.split.c_str(), static_cast<long long>(result.queries));
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

  void finish(TaskResult& result) const {
    result.task = task;
    result.split = split;
    if (world.rank() != 0) return;
    print(result);
    if (!folder.empty()) write_result(folder, result, model);
  }
};

void evaluate_lists(const Target& target, const std::filesystem::path& data, const ScoreLists& score) {
  const CandidateSet set = read_candidates(data);
  if (set.left_out > 0 && target.world.rank() == 0)
    std::printf("%lld rows without a negative are left out\n", static_cast<long long>(set.left_out));
  TaskResult result = evaluate_candidates(target.world.comm(), set, score);
  target.finish(result);
}

}  // namespace

int run_eval(World& world, std::span<const std::string> arguments) {
  std::vector<std::string> names = model_option_names();
  names.insert(names.end(),
               {"--beir", "--pairs", "--rerank", "--split", "--output", "--task", "--query-prompt", "--passage-prompt", "--top-k"});
  const Options options(arguments, "eval", names);
  if (options.positional().size() != 1) options.refuse("give one model folder");
  if (options.has("--beir") + options.has("--pairs") + options.has("--rerank") != 1)
    options.refuse("give one of --beir, --pairs and --rerank");
  const std::filesystem::path data = options.text("--beir", options.text("--pairs", options.text("--rerank", "")));
  const int64_t best = options.integer("--top-k", 100, 1);
  const Target target{world, options.text("--output", ""), options.positional()[0], options.text("--task", task_name(data)),
                      options.text("--split", "test")};
  if (world.rank() == 0 && !target.folder.empty()) check_writable(target.folder);

  const std::unique_ptr<Backend> backend = open_backend(options, world);
  if (is_reranker_folder(target.model)) {
    if (!options.has("--rerank")) options.refuse("this is a reranker, which gives no vectors: evaluate it with --rerank");
    if (options.has("--dimensions")) options.refuse("this is a reranker, which gives no vectors: leave --dimensions out");
    LoadedReranker model(target.model, model_options(options), *backend);
    const Prompts prompts{options.text("--query-prompt", ""), options.text("--passage-prompt", "")};
    model.scorer().require_room(prompts.query, prompts.passage);
    evaluate_lists(target, data, score_with(model.scorer(), model.exec(), prompts));
    return 0;
  }
  LoadedModel model(target.model, model_options(options), *backend);
  const char* const query_names[] = {"query"};
  const char* const passage_names[] = {"passage", "document", "corpus"};
  const Prompts prompts{choose_prompt(options, "--query-prompt", model, query_names),
                        choose_prompt(options, "--passage-prompt", model, passage_names)};
  model.embedder().require_room(prompts.query);
  if (!options.has("--pairs")) model.embedder().require_room(prompts.passage);
  if (options.has("--rerank")) {
    evaluate_lists(target, data, score_with(model.embedder(), model.exec(), prompts));
  } else if (options.has("--pairs")) {
    TaskResult result = evaluate_pairs(world.comm(), model, read_scored_pairs(data), prompts.query);
    target.finish(result);
  } else {
    const BeirSet set = read_beir(data, target.split, BeirDocuments::all);
    Retrieval retrieval = evaluate_retrieval(world.comm(), model, set, prompts, best);
    target.finish(retrieval.result);
    if (world.rank() == 0 && !target.folder.empty()) write_run(target.folder, retrieval, set);
  }
  return 0;
}

}  // namespace lodestone
