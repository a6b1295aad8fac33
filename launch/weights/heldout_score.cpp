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

/// The main score, which rank 0 alone knows.
HeldOutData::Score main_score(Communicator& comm, const TaskResult& result) {
  HeldOutData::Score score{result.main_score, comm.rank() == 0 ? result.score(result.main_score) : 0};
  all_reduce(comm, std::span(&score.value, 1), Reduce::sum);
  return score;
}

}  // namespace

std::vector<std::string> HeldOutData::option_names() { return {"--beir", "--pairs", "--rerank", "--split"}; }

HeldOutData::HeldOutData(const Options& options, const InputOptions& input) : data_(read_data(options, input)) {}

HeldOutData::Score HeldOutData::of(Communicator& comm, LoadedModel& model, const Prompts& prompts) const {
  return main_score(comm, std::visit([&](const auto& data) { return evaluate(comm, model, prompts, data); }, data_));
}

HeldOutData::Score HeldOutData::of(Communicator& comm, LoadedReranker& model, const Prompts& prompts) const {
  const auto* const lists = std::get_if<CandidateSet>(&data_);
  if (lists == nullptr) throw Error(ExitCode::usage, "usage", "these are rerankers, which give no vectors", "score them by --rerank");
  return main_score(comm, evaluate_candidates(comm, *lists, score_with(model.scorer(), model.exec(), prompts)));
}

}  // namespace lodestone
