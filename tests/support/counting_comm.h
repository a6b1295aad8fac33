// A communicator that counts the bytes it is given to send.
#pragma once

#include "tests/support/forwarding_comm.h"

namespace lodestone::test {

class CountingComm final : public ForwardingComm {
 public:
  using ForwardingComm::ForwardingComm;
  Pending all_reduce(ConstTensor in, Tensor out, Reduce op) override {
    reduced_bytes += in.size_bytes();
    return ForwardingComm::all_reduce(in, out, op);
  }
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    gathered_bytes += out.size_bytes();
    return ForwardingComm::all_gather(in, out, counts);
  }
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    scattered_bytes += in.size_bytes();
    return ForwardingComm::reduce_scatter(in, out, counts);
  }
  Pending broadcast(Tensor data, int root) override {
    reduced_bytes += data.size_bytes();
    return ForwardingComm::broadcast(data, root);
  }

  size_t reduced_bytes = 0, gathered_bytes = 0, scattered_bytes = 0;  // of the whole vectors
};

}  // namespace lodestone::test
