// How well a model puts each query's own candidates in order: reranking, scored on all ranks.
#pragma once

#include <functional>

#include "launch/inference/evaluate.h"
#include "launch/inference/scorer.h"

namespace lodestone {

/// Queries with their candidates: all positives and negatives of a row.
struct CandidateSet {
  struct List {
    std::string query;
    std::vector<std::string> passages;  // the positives, then the negatives
    int64_t positives = 0;
  };
  std::vector<List> lists;
  int64_t left_out = 0;                   // rows without a negative: every order of theirs is right
  std::vector<std::string> ignored = {};  // fields that mean nothing here, sorted
};

/// Reads rows with query, pos and neg from a JSONL, CSV or TSV file. Throws Error (data) with file and line.
CandidateSet read_candidates(const std::filesystem::path& file, const InputOptions& options);

/// Scores of all candidates of some lists, one after the other.
using ScoreLists = std::function<std::vector<float>(std::span<const CandidateSet::List>)>;
/// A cross-encoder's scores; prompts stand in front of the texts. The scorer must outlive the result.
ScoreLists score_with(PairScorer& scorer, Exec ex, const Prompts& prompts);
/// Similarities of an embedder's vectors, as its folder means them, likewise.
ScoreLists score_with(LoadedModel& model, const Prompts& prompts);

/// MAP over each whole list, MRR@10 and nDCG@10, averaged over the lists. Candidates are ordered by score; of equal ones the later
/// comes first, so a model that gives all the same score is not rewarded for the order of the file. Every rank calls it and
/// scores its share of the lists; scores are on all ranks.
TaskResult evaluate_candidates(Communicator& comm, const CandidateSet& set, const ScoreLists& score);

}  // namespace lodestone
