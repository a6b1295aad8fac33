// World of one: every verb copies its input to its output, so callers need no case for a single rank.
#include <cstring>

#include "comm/communicator.h"

namespace lodestone {

namespace {

void copy(const char* verb, ConstTensor in, Tensor out) {
  LODE_CHECK(in.dtype() == out.dtype() && in.count() == out.count(), verb, ": input ", in.shape(), " ", name_of(in.dtype()), ", output ",
             out.shape(), " ", name_of(out.dtype()));
  LODE_CHECK(in.device() == Device::cpu && out.device() == Device::cpu, verb, ": needs host tensors");
  if (!in.empty() && in.bytes() != out.bytes()) std::memcpy(out.bytes(), in.bytes(), in.size_bytes());
}

class SelfComm final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::unique_ptr<Communicator> split(int) override { return make_self_comm(); }
  Pending all_reduce(ConstTensor in, Tensor out, Reduce) override {
    copy("all_reduce", in, out);
    return {};
  }
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    LODE_CHECK(counts.size() == 1 && counts[0] == in.count(), "all_gather: counts of ", counts.size(), " ranks in a world of one");
    copy("all_gather", in, out);
    return {};
  }
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    LODE_CHECK(counts.size() == 1 && counts[0] == out.count(), "reduce_scatter: counts of ", counts.size(), " ranks in a world of one");
    copy("reduce_scatter", in, out);
    return {};
  }
  Pending broadcast(Tensor, int root) override {
    LODE_CHECK(root == 0, "broadcast: root ", root, " in a world of one");
    return {};
  }
  void barrier() override {}

 protected:
  void wait(std::span<std::byte, 16>) override {}
  bool test(std::span<std::byte, 16>) override { return true; }
};

}  // namespace

std::unique_ptr<Communicator> make_self_comm() { return std::make_unique<SelfComm>(); }

}  // namespace lodestone
