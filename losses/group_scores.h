// Scores of each query with its own passages, and the way back from their gradient to the vectors'.
#pragma once

#include <string_view>

#include "core/exec.h"
#include "losses/loss_memory.h"

namespace lodestone {

enum class Similarity : uint8_t { cosine, dot };

/// As configurations name it.
constexpr std::string_view name_of(Similarity value) {
  switch (value) {
    case Similarity::cosine:
      return "cosine";
    case Similarity::dot:
      return "dot";
  }
  return {};
}

/// score[i,g] = cosine or dot product of query i and its passage g, added up in double. Memory is taken from ex.arena and lives
/// as long as the scope in which the object was made.
class GroupScores {
 public:
  /// emb [B+B*G,E] un-normalised, f32 or f64, ordered as Pairs says.
  GroupScores(Exec& ex, ConstTensor emb, const Pairs& pairs, Similarity similarity);
  std::span<const double> scores() const { return scores_; }  // [B*G]
  /// d_emb [B+B*G,E] = gradient (set), from d_scores [B*G].
  void backward(Exec& ex, std::span<const double> d_scores, Tensor d_emb) const;
  /// Of both.
  static LossMemory memory(const VectorBatch& batch, Similarity similarity);

 private:
  ConstTensor vectors_;  // unit vectors for the cosine, emb itself for the dot product
  ConstTensor norms_;
  std::span<double> scores_;
  int64_t queries_, group_;
  Similarity similarity_;
};

}  // namespace lodestone
