// EmbeddingObjective: encoder and loss, with any batch size in bounded memory (GradCache).
#pragma once

#include "core/length_chunks.h"
#include "core/nn/chunk_meter.h"
#include "losses/loss.h"
#include "losses/objective.h"

namespace lodestone {

struct EmbeddingObjectiveOptions {
  int64_t chunk_tokens = 1024;                        // budget of one encoder call; a longer text is a chunk of its own
  size_t keep_activations_bytes = size_t{512} << 20;  // chunks whose activations fit are not computed twice
};

/// Sentence vectors [B,E] of texts in their order, un-normalised, in chunks of a token budget; dropout is off when tokens.keys is empty.
/// Lives in ex.arena until the caller's scope ends. `chunks` is memory to reuse.
Tensor embed_texts(Exec& ex, const Encoder& encoder, const TokenBatch& tokens, int64_t chunk_tokens, LengthChunks& chunks);

/// A batch is cut into chunks by length. A first pass embeds every chunk and keeps the activations of the last ones; the loss
/// turns embeddings into their gradient; a second pass computes the other chunks again, with the same dropout masks, and runs
/// every chunk backward (Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"). The result
/// does not depend on chunk_tokens beyond rounding, and on keep_activations_bytes not at all: a chunk that is computed again gives the
/// same bits, and chunks run backward in the same order whichever are kept.
class EmbeddingObjective final : public Objective {
 public:
  /// All three must outlive the objective. `group` holds the ranks that share a global batch.
  EmbeddingObjective(const Encoder& encoder, Loss& loss, const Group& group, const EmbeddingObjectiveOptions& options);
  LossResult accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, Tensor share, const GradHook& ready) override;
  void evaluate(Exec ex, const Batch& batch, Tensor share) override;
  ChunkCounts chunks() const override { return counts_; }

  /// See embed_texts(). Without dropout.
  Tensor embed(Exec& ex, const TokenBatch& tokens) {
    return embed_texts(ex, encoder_, {tokens.ids, tokens.offsets, {}, tokens.second}, options_.chunk_tokens, chunks_);
  }
  int64_t embedding() const { return encoder_.config().embedding(); }

 private:
  /// First of the chunks at the end of the order whose activations together fit in keep_activations_bytes; the last always.
  int64_t first_kept(const Exec& ex);
  void upload_chunks(Exec& ex);
  /// The texts of a chunk that is computed twice, at a place that all such chunks share where a backend replays.
  DeviceTexts texts_to_recompute(const Exec& ex, int64_t c) const;

  const Encoder& encoder_;
  Loss& loss_;
  Group group_;
  EmbeddingObjectiveOptions options_;
  ChunkMeter meter_;
  LengthChunks chunks_;
  ChunkCounts counts_;
  std::vector<DeviceTexts> texts_;    // of the chunks, while accumulate() runs
  std::vector<EncoderSaved*> saved_;  // of the kept chunks, while accumulate() runs
  // Where a backend replays, chunks lie at the same addresses in every step: each takes as much as the largest so far.
  size_t texts_slot_ = 0, activations_slot_ = 0;
};

}  // namespace lodestone
