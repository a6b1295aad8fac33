// A wrong communicator on purpose: the gradient that other ranks send through a gather is lost. The negative control of
// invariance tests.
#pragma once

#include <algorithm>
#include <numeric>

#include "comm/communicator.h"

namespace lodestone::test {

/// Everything as `inner` does it, except that reduce_scatter returns this rank's own contribution only: what a gather without a
/// backward (a "detached" gather) amounts to.
class DetachedComm final : public Communicator {
 public:
  explicit DetachedComm(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::unique_ptr<Communicator> split(int colour) override { return inner_.split(colour); }
  Pending all_reduce(ConstTensor in, Tensor out, Reduce op) override { return inner_.all_reduce(in, out, op); }
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    return inner_.all_gather(in, out, counts);
  }
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    const int64_t begin = std::accumulate(counts.begin(), counts.begin() + rank(), int64_t{0});
    const ConstTensor own = in.slice({begin, begin + counts[static_cast<size_t>(rank())]});
    std::copy_n(own.bytes(), own.size_bytes(), out.bytes());
    return {};
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
