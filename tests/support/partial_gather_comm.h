// A wrong communicator on purpose: other ranks' part of a gather is zero. The negative control of losses that gather scores.
#pragma once

#include <algorithm>
#include <numeric>

#include "comm/communicator.h"

namespace lodestone::test {

/// Everything as `inner` does it, except that all_gather brings this rank's own elements only.
class PartialGatherComm final : public Communicator {
 public:
  explicit PartialGatherComm(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::unique_ptr<Communicator> split(int colour) override { return inner_.split(colour); }
  Pending all_reduce(ConstTensor in, Tensor out, Reduce op) override { return inner_.all_reduce(in, out, op); }
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    std::fill_n(out.bytes(), out.size_bytes(), std::byte{0});
    const int64_t begin = std::accumulate(counts.begin(), counts.begin() + rank(), int64_t{0});
    std::copy_n(in.bytes(), in.size_bytes(), out.bytes() + static_cast<size_t>(begin) * size_of(in.dtype()));
    return {};
  }
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    return inner_.reduce_scatter(in, out, counts);
  }
  Pending broadcast(Tensor data, int root) override { return inner_.broadcast(data, root); }
  void barrier() override { inner_.barrier(); }

 protected:
  void wait(std::span<std::byte, 16>) override {}
  bool test(std::span<std::byte, 16>) override { return true; }

 private:
  Communicator& inner_;
};

}  // namespace lodestone::test
