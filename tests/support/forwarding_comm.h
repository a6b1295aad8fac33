// A communicator that does everything as another one: what tests change one verb of.
#pragma once

#include "comm/communicator.h"

namespace lodestone::test {

class ForwardingComm : public Communicator {
 public:
  explicit ForwardingComm(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  bool in_stream() const override { return inner_.in_stream(); }
  std::unique_ptr<Communicator> split(int colour) override { return inner_.split(colour); }
  Pending all_reduce(ConstTensor in, Tensor out, Reduce op) override { return inner_.all_reduce(in, out, op); }
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override { return inner_.all_gather(in, out, counts); }
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    return inner_.reduce_scatter(in, out, counts);
  }
  Pending broadcast(Tensor data, int root) override { return inner_.broadcast(data, root); }
  void barrier() override { inner_.barrier(); }

 protected:
  // The Pending of a verb belongs to the communicator inside.
  void wait(std::span<std::byte, 16>) override {}
  bool test(std::span<std::byte, 16>) override { return true; }

 private:
  Communicator& inner_;
};

}  // namespace lodestone::test
