// A wrong loss on purpose: divided by this rank's number of queries instead of the global one. The negative control of losses that
// exchange nothing.
#pragma once

#include "losses/loss.h"

namespace lodestone::test {

class DividedByOwnCount final : public Loss {
 public:
  explicit DividedByOwnCount(std::unique_ptr<Loss> inner) : inner_(std::move(inner)) {}
  LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                      Tensor share) override {
    Pairs own = pairs;
    own.global_queries = pairs.queries;
    return inner_->evaluate(ex, group, emb, own, weight, d_emb, share);
  }

 private:
  const std::unique_ptr<Loss> inner_;
};

}  // namespace lodestone::test
