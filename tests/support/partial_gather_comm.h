// A wrong communicator on purpose: other ranks' part of a gather is zero. The negative control of losses that gather scores.
#pragma once

#include <algorithm>
#include <numeric>

#include "tests/support/forwarding_comm.h"

namespace lodestone::test {

/// all_gather brings this rank's own elements only.
class PartialGatherComm final : public ForwardingComm {
 public:
  using ForwardingComm::ForwardingComm;
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    std::fill_n(out.bytes(), out.size_bytes(), std::byte{0});
    const int64_t begin = std::accumulate(counts.begin(), counts.begin() + rank(), int64_t{0});
    std::copy_n(in.bytes(), in.size_bytes(), out.bytes() + static_cast<size_t>(begin) * size_of(in.dtype()));
    return {};
  }
};

}  // namespace lodestone::test
