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
    verbs::check_all_reduce(in, out);
    place_.copy("all_reduce", in, out);
    return {};
  }
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    verbs::check_all_gather(in, out, counts, 0, 1);
    place_.copy("all_gather", in, out);
    return {};
  }
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    verbs::check_reduce_scatter(in, out, counts, 0, 1);
    place_.copy("reduce_scatter", in, out);
    return {};
  }
  Pending broadcast(Tensor, int root) override {
    verbs::check_broadcast(root, 1);
    return {};
  }
  void barrier() override { place_.drain(); }

 protected:
  void wait(std::span<std::byte, 16>) override {}
  bool test(std::span<std::byte, 16>) override { return true; }

 private:
  Place place_;
};

}  // namespace

std::unique_ptr<Communicator> make_self_comm() { return std::make_unique<SelfComm<HostPlace>>(HostPlace{}); }

std::unique_ptr<Communicator> make_self_comm(Backend& backend) { return std::make_unique<SelfComm<BackendPlace>>(BackendPlace(backend)); }

}  // namespace lodestone
