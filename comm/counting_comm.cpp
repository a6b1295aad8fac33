#include "comm/counting_comm.h"

#include "comm/null_comm.h"
#include "comm/self_comm.h"
#include "comm/verb_checks.h"

namespace lodestone {

namespace {

class CountingComm final : public Communicator {
 public:
  CountingComm(CountingBackend& backend, std::unique_ptr<Communicator> ranks, WorkKind exchanges)
      : backend_(backend), ranks_(std::move(ranks)), exchanges_(exchanges) {}

  int rank() const override { return ranks_->rank(); }
  int size() const override { return ranks_->size(); }
  bool in_stream() const override { return true; }
  std::unique_ptr<Communicator> split(int colour) override {
    return std::make_unique<CountingComm>(backend_, ranks_->split(colour), exchanges_);
  }

  Pending all_reduce(ConstTensor in, Tensor out, Reduce op) override {
    ranks_->all_reduce(in, out, op).wait();
    return note(2 * share_of_others() * static_cast<double>(in.size_bytes()));
  }
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    ranks_->all_gather(in, out, counts).wait();
    return note(static_cast<double>(out.size_bytes() - in.size_bytes()));
  }
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    verbs::check_reduce_scatter(in, out, counts, rank(), size(), verbs::Scattered::or_in_place);  // and nothing moves on a null device
    return note(static_cast<double>(in.size_bytes() - out.size_bytes()));
  }
  Pending broadcast(Tensor data, int root) override {
    ranks_->broadcast(data, root).wait();
    return note(share_of_others() * static_cast<double>(data.size_bytes()));
  }
  void barrier() override { backend_.synchronize(); }

 protected:
  void wait(std::span<std::byte, 16>) override { backend_.note({.kind = WorkKind::joins, .awaited = exchanges_}); }
  bool test(std::span<std::byte, 16>) override { return true; }  // nobody waits for what is only asked after

 private:
  double share_of_others() const { return static_cast<double>(size() - 1) / static_cast<double>(size()); }

  Pending note(double bytes) {
    backend_.note({.kind = exchanges_, .bytes = bytes, .launches = 1});
    return {this, {}};
  }

  CountingBackend& backend_;
  const std::unique_ptr<Communicator> ranks_;
  const WorkKind exchanges_;
};

}  // namespace

CountingGroup::CountingGroup(CountingBackend& backend, int ranks, WorkKind exchanges)
    : ranks_(make_null_comm(0, ranks)),
      host_(*ranks_, backend),
      device_(ranks == 1 ? make_self_comm(backend) : std::make_unique<CountingComm>(backend, make_null_comm(0, ranks), exchanges)),
      group_(host_, *device_) {}

}  // namespace lodestone
