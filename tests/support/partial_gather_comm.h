// A wrong communicator on purpose: other ranks' part of a gather is zero. The negative control of losses that gather scores or hashes.
#pragma once

#include <algorithm>
#include <numeric>
#include <optional>

#include "tests/support/forwarding_comm.h"

namespace lodestone::test {

/// all_gather brings this rank's own elements only; where `only` is given, of that dtype.
class PartialGatherComm final : public ForwardingComm {
 public:
  explicit PartialGatherComm(Communicator& inner, std::optional<DType> only = {}) : ForwardingComm(inner), only_(only) {}
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    if (only_ && in.dtype() != *only_) return ForwardingComm::all_gather(in, out, counts);
    std::fill_n(out.bytes(), out.size_bytes(), std::byte{0});
    const int64_t begin = std::accumulate(counts.begin(), counts.begin() + rank(), int64_t{0});
    std::copy_n(in.bytes(), in.size_bytes(), out.bytes() + static_cast<size_t>(begin) * size_of(in.dtype()));
    return {};
  }

 private:
  std::optional<DType> only_;
};

}  // namespace lodestone::test
