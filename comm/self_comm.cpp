// World of one: every verb copies its input to its output, so callers need no case for a single rank.
#include "comm/self_comm.h"

#include <cstring>

#include "comm/verb_checks.h"

namespace lodestone {

namespace {

/// Where tensors lie, and how they are copied there.
class HostPlace {
 public:
  void copy(const char* verb, ConstTensor in, Tensor out) const {
    verbs::check_device(verb, Device::cpu, in, out);
    if (!in.empty() && in.bytes() != out.bytes()) std::memcpy(out.bytes(), in.bytes(), in.size_bytes());
  }
  void drain() const {}
};

class BackendPlace {
 public:
  explicit BackendPlace(Backend& backend) : backend_(backend) {}
  void copy(const char* verb, ConstTensor in, Tensor out) const {
    verbs::check_device(verb, backend_.device(), in, out);
    if (!in.empty() && in.bytes() != out.bytes()) backend_.copy(in, out);
  }
  void drain() const { backend_.synchronize(); }

 private:
  Backend& backend_;
};

template <class Place>
class SelfComm final : public Communicator {
 public:
  explicit SelfComm(Place place) : place_(place) {}
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::unique_ptr<Communicator> split(int) override { return std::make_unique<SelfComm>(place_); }
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
  void barrier() override { place_.drain(); }

 protected:
  void wait(std::span<std::byte, 16>) override {}
  bool test(std::span<std::byte, 16>) override { return true; }

 private:
  void copy(const char* verb, ConstTensor in, Tensor out) const {
    LODE_CHECK(in.dtype() == out.dtype() && in.count() == out.count(), verb, ": input ", in.shape(), " ", name_of(in.dtype()), ", output ",
               out.shape(), " ", name_of(out.dtype()));
    place_.copy(verb, in, out);
  }

  Place place_;
};

}  // namespace

std::unique_ptr<Communicator> make_self_comm() { return std::make_unique<SelfComm<HostPlace>>(HostPlace{}); }

std::unique_ptr<Communicator> make_self_comm(Backend& backend) { return std::make_unique<SelfComm<BackendPlace>>(BackendPlace(backend)); }

}  // namespace lodestone
