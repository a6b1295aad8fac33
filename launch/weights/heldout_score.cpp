#include "launch/weights/heldout_score.h"

namespace lodestone {

namespace {

constexpr int64_t kept_documents = 100;  // of a query, as eval keeps

std::variant<BeirSet, ScoredPairs, CandidateSet> read_data(const Options& options, const InputOptions& input) {
  if (options.has("--beir") + options.has("--pairs") + options.has("--rerank") != 1)
    options.refuse("give one of --beir, --pairs and --rerank to score models by");
  if (options.has("--beir")) return read_beir(options.text("--beir", ""), options.text("--split", "test"), BeirDocuments::all);
  if (options.has("--split")) options.refuse("--split is for --beir");
  if (options.has("--pairs")) return read_scored_pairs(options.text("--pairs", ""), input);
  return read_candidates(options.text("--rerank", ""), input);
}

TaskResult evaluate(Communicator& comm, LoadedModel& model, const Prompts& prompts, const BeirSet& set) {
  return evaluate_retrieval(comm, model, set, prompts, kept_documents, own_documents(set)).result;
}
TaskResult evaluate(Communicator& comm, LoadedModel& model, const Prompts& prompts, const ScoredPairs& pairs) {
  return evaluate_pairs(comm, model, pairs, prompts.query);
}
TaskResult evaluate(Communicator& comm, LoadedModel& model, const Prompts& prompts, const CandidateSet& set) {
  return evaluate_candidates(comm, set, score_with(model, prompts));
}

}  // namespace

std::vector<std::string> HeldOutData::option_names() { return {"--beir", "--pairs", "--rerank", "--split"}; }

HeldOutData::HeldOutData(const Options& options, const InputOptions& input) : data_(read_data(options, input)) {}

HeldOutData::Score HeldOutData::of(Communicator& comm, LoadedModel& model, const Prompts& prompts) const {
  const TaskResult result = std::visit([&](const auto& data) { return evaluate(comm, model, prompts, data); }, data_);
  Score score{result.main_score, comm.rank() == 0 ? result.score(result.main_score) : 0};
  all_reduce(comm, std::span(&score.value, 1), Reduce::sum);  // of rank 0 alone: the others do not know it
  return score;
}

}  // namespace lodestone
