// A wrong communicator on purpose: the gradient that other ranks send through a gather is lost. The negative control of
// invariance tests.
#pragma once

#include <algorithm>
#include <numeric>

#include "tests/support/forwarding_comm.h"

namespace lodestone::test {

/// reduce_scatter returns this rank's own contribution only: what a gather without a backward (a "detached" gather) amounts to.
class DetachedComm final : public ForwardingComm {
 public:
  using ForwardingComm::ForwardingComm;
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    const int64_t begin = std::accumulate(counts.begin(), counts.begin() + rank(), int64_t{0});
    const ConstTensor own = in.slice({begin, begin + counts[static_cast<size_t>(rank())]});
    std::copy_n(own.bytes(), own.size_bytes(), out.bytes());
    return {};
  }
};

}  // namespace lodestone::test
