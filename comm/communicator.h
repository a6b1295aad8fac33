// Communicator: four verbs on tensors between ranks, one asynchronous form, small control values on the side.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/tensor.h"

namespace lodestone {

enum class Reduce : uint8_t { sum, max, min };

class Communicator;

/// A verb under way. Until wait() the written tensor may not be touched and the read tensor may not be changed: by the host, and on a
/// device plane (comm/group.h) by operations that are enqueued. Must be waited for; holds its request inline.
class [[nodiscard]] Pending {
 public:
  Pending() = default;
  Pending(Communicator* owner, std::array<std::byte, 16> request) : owner_(owner), request_(request) {}
  Pending(Pending&& other) noexcept : owner_(other.owner_), request_(other.request_) { other.owner_ = nullptr; }
  Pending& operator=(Pending&& other) noexcept;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  ~Pending();
  /// Returns when the verb is complete; on a device plane it may return before, if what is enqueued from here on stands behind the verb.
  /// Nothing to do a second time.
  void wait();
  /// Gives the library a chance to move data; true when wait() would return at once.
  bool test();

 private:
  Communicator* owner_ = nullptr;
  std::array<std::byte, 16> request_{};
};

/// Ranks 0 .. size-1. Every rank calls the same verbs in the same order. Tensors are f64, f32, bf16, i64, i32 or u8;
/// in place means passing the same tensor twice.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Whether verbs are work of a device, in one stream of all communicators of this process in the order of their calls. Waiting for one is
  /// then no stay of the host: it orders what is enqueued later behind the verb and all before it, which need not be waited for any more.
  /// And reduce_scatter() may write its part where it lies in the input.
  virtual bool in_stream() const { return false; }
  /// Ranks with equal colour form a new communicator, ordered by rank here.
  virtual std::unique_ptr<Communicator> split(int colour) = 0;

  /// out = element-wise reduction of every rank's `in`. Equal counts.
  virtual Pending all_reduce(ConstTensor in, Tensor out, Reduce op) = 0;
  /// out = every rank's `in`, one behind the other. counts [W] elements per rank; counts[rank()] == in.count().
  virtual Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) = 0;
  /// out = this rank's part of the sum over ranks of `in`, with which it may not overlap but as in_stream() says. counts [W] elements per
  /// rank. f64, f32, i64, i32.
  virtual Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) = 0;
  virtual Pending broadcast(Tensor data, int root) = 0;
  virtual void barrier() = 0;

 protected:
  friend class Pending;
  virtual void wait(std::span<std::byte, 16> request) = 0;
  virtual bool test(std::span<std::byte, 16> request) = 0;
};

/// World of one: verbs copy.
std::unique_ptr<Communicator> make_self_comm();

/// Waiting forms for host scalars and short vectors (stop flags, counts, losses).
void all_reduce(Communicator& comm, std::span<double> values, Reduce op);
void all_reduce(Communicator& comm, std::span<int64_t> values, Reduce op);
void broadcast(Communicator& comm, std::string& text, int root);

}  // namespace lodestone
