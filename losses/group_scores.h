// Scores of each query with its own passages, and the way back from their gradient to the vectors'.
#pragma once

#include "core/batch.h"
#include "core/exec.h"
#include "core/similarity.h"

namespace lodestone {

/// score[i,g] = cosine or dot product of query i and its passage g, added up in double. Lives in the arena scope in which it was made.
class GroupScores {
 public:
  /// emb [B+B*G,E] un-normalised, f32 or f64, ordered as Pairs says.
  GroupScores(Exec& ex, ConstTensor emb, const Pairs& pairs, Similarity similarity);
  ConstTensor scores() const { return scores_; }  // [B,G] f64
  /// d_emb [B+B*G,E] = gradient (set), from d_scores [B,G] f64.
  void backward(Exec& ex, ConstTensor d_scores, Tensor d_emb) const;

 private:
  ConstTensor vectors_;  // unit vectors for the cosine, emb itself for the dot product
  ConstTensor norms_;
  Tensor scores_;
  Similarity similarity_;
};

}  // namespace lodestone
