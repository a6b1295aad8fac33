#include "launch/inference/scorer.h"

#include <omp.h>

#include "data/models/model_facts.h"
#include "data/models/vocabulary_fit.h"
#include "launch/inference/same_work.h"

namespace lodestone {

namespace {

RerankerFolder read_folder(const std::filesystem::path& path) {
  RerankerFolder folder = read_reranker_folder(path);
  if (!folder.has_classifier)
    throw Error(ExitCode::checkpoint, "model", "this model has no classifier that gives one score",
                "give the folder of a cross-encoder (BertForSequenceClassification with one label)")
        .at("file", (path / "config.json").string());
  return folder;
}

ParamStore filled_params(const RerankerFolder& folder, const FillParams& fill, DType compute, Backend& backend) {
  ParamStore params(backend.memory(), reranker_layout(folder.config), compute);
  edit_on_host(params, backend, [&](ParamStore& host) { fill ? fill(host) : static_cast<void>(load_weights(folder, host)); });
  return params;
}

int64_t longest_pair(const RerankerFolder& folder, int64_t wanted) {
  const int64_t positions = folder.config.encoder.longest_text();
  if (wanted > positions)
    throw Error(ExitCode::usage, "usage", cat("pairs of ", wanted, " tokens for a model with ", positions, " positions"),
                cat("give --max-len ", positions, " or less"));
  return wanted > 0 ? wanted : folder.max_seq_length;
}

}  // namespace

PairLengths inference_lengths(int64_t longest) { return {.query = longest / 2, .passage = longest, .pair = longest}; }

PairScorer::PairScorer(const Reranker& reranker, const Tokenizer& tokenizer, const PairLengths& lengths, int64_t chunk_tokens)
    : reranker_(reranker), tokenizer_(tokenizer), lengths_(lengths), chunk_tokens_(chunk_tokens) {
  lodestone::require_room(lengths, 0, 0);
}

void PairScorer::require_room(std::string_view query_prompt, std::string_view passage_prompt) const {
  std::vector<int32_t> query, passage;
  tokenizer_.encode(query_prompt, query);
  tokenizer_.encode(passage_prompt, passage);
  try {
    lodestone::require_room(lengths_, std::ssize(query), std::ssize(passage));
  } catch (Error& error) {
    error.remedy("give a larger --max-len, or shorter prompts");
    throw;
  }
}

void PairScorer::tokenize(int threads, std::span<const TextPair> pairs) {
  const auto n = static_cast<int64_t>(pairs.size());
  pair_ids_.resize(std::max(pair_ids_.size(), pairs.size()));
  per_thread_.resize(std::max(per_thread_.size(), static_cast<size_t>(threads)));
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
  for (int64_t i = 0; i < n; ++i) {
    const TextPair& pair = pairs[static_cast<size_t>(i)];
    PairIds& out = pair_ids_[static_cast<size_t>(i)];
    PerThread& own = per_thread_[static_cast<size_t>(omp_get_thread_num())];
    own.query.clear();
    own.passage.clear();
    tokenizer_.encode(pair.query, own.scratch, own.query);
    tokenizer_.encode(pair.passage, own.scratch, own.passage);
    out.ids.clear();
    out.second = append_pair(tokenizer_.cls_id(), tokenizer_.sep_id(), own.query, own.passage, lengths_, out.ids);
  }
  ids_.clear();
  offsets_.assign(1, 0);
  second_.clear();
  for (size_t i = 0; i < pairs.size(); ++i) {
    ids_.insert(ids_.end(), pair_ids_[i].ids.begin(), pair_ids_[i].ids.end());
    offsets_.push_back(static_cast<int64_t>(ids_.size()));
    second_.push_back(pair_ids_[i].second);
  }
}

void PairScorer::score(Exec ex, std::span<const TextPair> pairs, std::span<float> out) {
  LODE_CHECK(out.size() == pairs.size(), "score: ", out.size(), " elements for ", pairs.size(), " pairs");
  tokenize(ex.backend.threads(), pairs);
  chunks_.assign({ids_, offsets_, {}, second_}, chunk_tokens_);
  for (int64_t c = 0; c < chunks_.count(); ++c) {
    const auto scope = ex.arena.scope();
    const Slice places = chunks_.places(c);
    const int64_t n = places.count();
    const Tensor scores = ex.arena.tensor(ex.wide(), {n}), rounded = ex.arena.tensor(DType::f32, {n});
    reranker_.forward(ex, upload_texts(ex.backend, ex.arena, chunks_.tokens(c)), scores);
    ex.backend.cast(scores, rounded);
    const std::span<const float> found = fetch<float>(ex.backend, ex.arena, rounded);
    for (size_t i = 0; i < found.size(); ++i) out[static_cast<size_t>(chunks_.order()[static_cast<size_t>(places.begin) + i])] = found[i];
  }
}

LoadedReranker::LoadedReranker(const std::filesystem::path& folder, const LoadedModel::Options& options, Backend& backend)
    : LoadedReranker(read_folder(folder), {}, options, backend) {}

LoadedReranker::LoadedReranker(RerankerFolder folder, const FillParams& fill, const LoadedModel::Options& options, Backend& backend)
    : folder_(std::move(folder)),
      tokenizer_(Tokenizer::from_folder(folder_.path)),
      backend_(backend),
      params_(filled_params(folder_, fill, options.compute, backend)),
      arena_(backend.memory()),
      reranker_(folder_.config, params_),
      scorer_(reranker_, tokenizer_, inference_lengths(longest_pair(folder_, options.max_length)), options.chunk_tokens) {
  warnings_ = check_vocabulary(tokenizer_, folder_.config.encoder, folder_.path);
}

void LoadedReranker::set_weights(const FillParams& fill) { edit_on_host(params_, backend_, fill); }

void LoadedReranker::require_same_on(Communicator& comm) {
  require_same_loaded_model(comm, cat(model_facts(folder_.config), "max_seq_length: ", folder_.max_seq_length, "\n"), tokenizer_, params_,
                            exec());
}

}  // namespace lodestone
