// One number that says how good a model is on held-out data: what several models are compared by.
#pragma once

#include <string>
#include <variant>

#include "launch/config/options.h"
#include "launch/inference/reranking.h"

namespace lodestone {

/// What `lodestone eval` evaluates on, read once: a BEIR folder, scored pairs or lists of candidates.
class HeldOutData {
 public:
  /// --beir, --pairs, --rerank and --split, for the list of a command's options.
  static std::vector<std::string> option_names();
  /// Reads what the one of the first three that is given names. Throws Error (usage) unless it is one, Error (data) as eval does.
  HeldOutData(const Options& options, const InputOptions& input);

  /// The main score of `lodestone eval` with its defaults, on all ranks: "ndcg_at_10", "cosine_spearman" or "map". Collective.
  struct Score {
    std::string name;
    double value = 0;
  };
  Score of(Communicator& comm, LoadedModel& model, const Prompts& prompts) const;
  /// The same of a reranker, which orders lists of candidates and nothing else: Error (usage) on other data.
  Score of(Communicator& comm, LoadedReranker& model, const Prompts& prompts) const;

 private:
  std::variant<BeirSet, ScoredPairs, CandidateSet> data_;
};

}  // namespace lodestone
