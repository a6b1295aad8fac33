// From pairs of texts to scores with a reranker's folder: tokenizer, pair truncation and cross-encoder as inference uses them.
#pragma once

#include <filesystem>
#include <string_view>

#include "core/length_chunks.h"
#include "data/batches/pair_collate.h"
#include "data/models/reranker_folder.h"
#include "data/text/tokenizer.h"
#include "launch/inference/embedder.h"

namespace lodestone {

struct TextPair {
  std::string_view query, passage;  // with their prompts
};

/// How inference cuts pairs of at most `longest` tokens, the one number that a folder keeps: a query to three quarters of it, then the
/// passage alone until the pair fits. So a pair that fits stays whole, and a longer one is cut as training with any lengths of that sum
/// cuts it, where neither text meets its own limit there.
PairLengths inference_lengths(int64_t longest);

/// Scores pairs with a live model. A view: reranker and tokenizer must outlive it.
class PairScorer {
 public:
  /// Throws Error (usage) when the lengths leave no room for a passage.
  PairScorer(const Reranker& reranker, const Tokenizer& tokenizer, const PairLengths& lengths, int64_t chunk_tokens);

  /// out [n] = the unbounded score of each of n pairs. Pairs are sorted by length and pass the model in chunks; scores do not
  /// depend on their company beyond rounding.
  void score(Exec ex, std::span<const TextPair> pairs, std::span<float> out);
  /// Throws Error (usage, "length") when the prompts of query and passage leave no room for a token of either.
  void require_room(std::string_view query_prompt, std::string_view passage_prompt) const;

 private:
  /// Fills ids_, offsets_ and second_.
  void tokenize(int threads, std::span<const TextPair> pairs);

  const Reranker& reranker_;
  const Tokenizer& tokenizer_;
  PairLengths lengths_;
  int64_t chunk_tokens_;
  struct PerThread {
    Tokenizer::Scratch scratch;
    std::vector<int32_t> query, passage;
  };
  std::vector<PerThread> per_thread_;
  struct PairIds {
    std::vector<int32_t> ids;
    int64_t second = 0;
  };
  std::vector<PairIds> pair_ids_;
  std::vector<int32_t> ids_;
  std::vector<int64_t> offsets_, second_;
  LengthChunks chunks_;
};

/// A reranker's folder in memory, ready to score on a backend: owns everything else that needs.
class LoadedReranker {
 public:
  /// options.max_length is that of a pair. `backend` must outlive it. Throws Error (checkpoint, usage) naming the file that is missing or
  /// does not fit.
  LoadedReranker(const std::filesystem::path& folder, const LoadedModel::Options& options, Backend& backend);

  /// What `folder` says, with other weights than those that may lie in it; an empty `fill` takes these. Throws likewise.
  LoadedReranker(RerankerFolder folder, const FillParams& fill, const LoadedModel::Options& options, Backend& backend);

  /// Other weights from now on.
  void set_weights(const FillParams& fill);
  const RerankerFolder& folder() const { return folder_; }
  /// Throws Error (usage, F12) where other ranks have loaded another one. Collective.
  void require_same_on(Communicator& comm);
  PairScorer& scorer() { return scorer_; }
  Exec exec() { return {backend_, arena_, Key{}, params_.compute_dtype()}; }
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  RerankerFolder folder_;
  Tokenizer tokenizer_;
  Backend& backend_;
  ParamStore params_;
  Arena arena_;  // behind the weights: on a GPU it takes of what is left
  Reranker reranker_;
  PairScorer scorer_;
  std::vector<std::string> warnings_;
};

}  // namespace lodestone
