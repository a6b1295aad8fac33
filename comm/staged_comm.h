// A communicator of the host as the two planes of a group: for tensors of a device, and for host values beside a device at work.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "core/backend.h"

namespace lodestone {

/// The device plane: tensors of `backend` travel through staging memory of the host. A verb waits for all that was enqueued before it and
/// starts the host's verb; waiting for it waits for that and enqueues the upload of what came, so that operations enqueued later find it.
/// Any number of verbs may be under way, as far as the host's communicator has room. Tensors of another memory are refused, unless they are
/// empty: Error (internal). Staging grows to the largest verb and is kept.
class StagedComm final : public Communicator {
 public:
  /// `backend` must outlive this.
  StagedComm(std::unique_ptr<Communicator> host, Backend& backend);
  ~StagedComm() override;
  StagedComm(const StagedComm&) = delete;
  StagedComm& operator=(const StagedComm&) = delete;

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  std::unique_ptr<Communicator> split(int colour) override;
  Pending all_reduce(ConstTensor in, Tensor out, Reduce op) override;
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override;
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override;
  Pending broadcast(Tensor data, int root) override;
  /// What was enqueued before is done on every rank.
  void barrier() override;

  /// How often this and all that was split from it have waited for the backend: once a verb or barrier, and once at the end of one that had
  /// any verb.
  int64_t waits() const { return asked_->waits; }
  /// How often they have downloaded: once a verb, but not where it sends nothing, which are empty tensors and who receives a broadcast.
  int64_t downloads() const { return asked_->downloads; }

 protected:
  void wait(std::span<std::byte, 16> request) override;
  bool test(std::span<std::byte, 16> request) override;

 private:
  /// Memory of one verb, and the verb while it is under way.
  struct Slot {
    std::vector<std::byte> in, out;
    Tensor to;          // on the device, where `out` belongs; empty: nothing comes back
    bool busy = false;  // from the verb to its wait
    Pending verb;       // of the host; the last member, so that its memory outlives it
  };

  /// What communicators split from one another have asked of the backend together.
  struct Asked {
    int64_t waits = 0, downloads = 0;
  };

  StagedComm(std::unique_ptr<Communicator> host, Backend& backend, std::shared_ptr<Asked> asked);
  /// A slot that is not busy, whose `in` will hold the tensor and whose `out` has room for what comes back, once this returns.
  Slot& stage(const char* verb, ConstTensor in, Tensor to);
  Pending pending(Slot& slot, Pending verb);
  /// The verb of the host is complete: its result goes to the device.
  void finish(Slot& slot);
  Slot& slot_of(std::span<const std::byte, 16> request);
  void wait_for_backend();

  const std::unique_ptr<Communicator> host_;
  Backend& backend_;
  const std::shared_ptr<Asked> asked_;
  std::deque<Slot> slots_;  // their addresses stay
};

/// The host plane: every verb of `host` begins when all that was enqueued in `backend` is done, so that no other rank waits for this one
/// while its device has yet to start.
class DrainingComm final : public Communicator {
 public:
  /// Both must outlive this.
  DrainingComm(Communicator& host, Backend& backend);

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  std::unique_ptr<Communicator> split(int colour) override;
  Pending all_reduce(ConstTensor in, Tensor out, Reduce op) override;
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override;
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override;
  Pending broadcast(Tensor data, int root) override;
  void barrier() override;

  /// How often this and all that was split from it have waited for the backend: once a verb, a split or a barrier.
  int64_t waits() const { return *waits_; }

 protected:
  // The Pending of a verb belongs to the communicator inside.
  void wait(std::span<std::byte, 16>) override {}
  bool test(std::span<std::byte, 16>) override { return true; }

 private:
  DrainingComm(std::unique_ptr<Communicator> owned, Backend& backend, std::shared_ptr<int64_t> waits);
  /// The communicator inside, when the backend has nothing left to do.
  Communicator& drained();

  const std::unique_ptr<Communicator> owned_;  // null where it belongs to somebody else
  Communicator& host_;
  Backend& backend_;
  const std::shared_ptr<int64_t> waits_;
};

}  // namespace lodestone
