// How good a model is on a retrieval set or on scored pairs: embeds and
// searches on all ranks, and writes the result.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "data/records/beir.h"
#include "data/records/inputs.h"
#include "launch/inference/embedder.h"
#include "launch/inference/search.h"

namespace lodestone {

/// Named scores of one task, in the order of printing.
struct TaskResult {
  std::string task, split;
  std::string language = "und-Zyyy";                   // of the texts, as MTEB codes it; this one: undetermined
  std::string main_score;                              // the name of one of `scores`
  std::vector<std::pair<std::string, double>> scores;  // "ndcg_at_10" -> 0.76
  std::string unit = "queries";                        // what was evaluated: "queries", "pairs", "lists", "texts", "sets"
  int64_t count = 0, documents = 0;                    // how many of them, and of documents
  double seconds = 0;
  // For the file alone: further scores, lists by name, and the scores of each experiment whose means `scores` are.
  std::vector<std::pair<std::string, double>> details = {};
  std::vector<std::pair<std::string, std::vector<double>>> lists = {};
  std::vector<std::vector<std::pair<std::string, double>>> experiments = {};
  double score(const std::string& name) const;
};

/// Hits of every query, for the run file.
struct Retrieval {
  TaskResult result;
  std::vector<std::vector<Found>> hits;  // as search()
};

/// nDCG, MAP, recall and MRR as trec_eval computes them, averaged over all queries that have judgements. Every rank calls it; scores and
/// hits are on rank 0. `best` documents per query are kept, never the one that left_out [queries] names for it (-1, or empty: none).
Retrieval evaluate_retrieval(Communicator& comm, LoadedModel& model, const BeirSet& set, const Prompts& prompts, int64_t best,
                             std::span<const int64_t> left_out);

struct ScoredPairs {
  std::vector<std::string> first, second;
  std::vector<double> scores;
  std::vector<std::string> ignored = {};  // fields that mean nothing here, sorted
};

/// Reads pairs with sentence1, sentence2 and score from a JSONL, CSV or TSV file. Throws Error (data) with file and line.
ScoredPairs read_scored_pairs(const std::filesystem::path& file, const InputOptions& options);

/// Spearman's and Pearson's correlation of the pairs' cosines with their
/// scores. Every rank calls it; scores are on rank 0.
TaskResult evaluate_pairs(Communicator& comm, LoadedModel& model, const ScoredPairs& pairs, const std::string& prompt);

/// Vectors [n,E] of this rank's share of the texts (rank_rows of n), with
/// progress on rank 0's terminal.
std::vector<float> embed_share(Communicator& comm, LoadedModel& model, std::span<const std::string> texts, const std::string& prompt,
                               const std::string& what);

/// Throws Error (usage, "exists") when the folder has a result of this task already: one never overwrites another.
void require_new_result(const std::filesystem::path& folder, const std::string& task);
/// Throws Error (data, F30) when an id is empty or holds white space: it would not stay one column of a run.
void require_run_ids(const BeirSet& set);
/// FOLDER/TASK.json in the form that MTEB writes and reads; a score that is not finite is null. Refuses as require_new_result does.
void write_result(const std::filesystem::path& folder, const TaskResult& result, const std::string& model_name);
/// FOLDER/TASK.trec: "query Q0 document rank score lodestone" per hit.
void write_run(const std::filesystem::path& folder, const Retrieval& retrieval, const BeirSet& set);

}  // namespace lodestone
