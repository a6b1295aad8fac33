// StatusBoard: what each rank of this host is doing, for the message of a watchdog whose patience has ended.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "comm/shared_memory.h"

namespace lodestone {

/// Lives in shared memory; each rank writes its own entry and may read all. Writing costs a few stores and never waits.
class StatusBoard {
 public:
  /// Collective over the ranks of one host. Null, on every rank, where SharedMemory is. world_rank: the number for messages.
  static std::unique_ptr<StatusBoard> make(Communicator& host, int world_rank);

  /// This rank's watchdog thread is alive. now_s: monotonic clock, which all processes of a host share.
  void beat(double now_s);
  /// What this rank waits for; nullptr: for nothing. number < 0: none.
  void show(const char* operation, int64_t number);
  /// This rank ends, and says itself why: its end is no loss.
  void leave();
  /// The number of a rank whose process has ended without leave(), if it is the next of this host behind this one, leaving out those that
  /// have left: each rank looks after one other, so that asking costs the same for any number of ranks.
  std::optional<int> lost() const;
  /// Whether another rank of this host has left.
  bool somebody_left() const;
  /// True for one rank of this host, the first that asks: it reports, the others need not.
  bool first_to_report();
  /// The other ranks that are not waiting for the same operation, in words: "rank 2 shows no sign of life for 31 s,
  /// rank 3 is not waiting for others". Empty when all wait for it. A rank is lifeless after silent_s without a beat.
  std::string others(const char* operation, int64_t number, double now_s, double silent_s) const;

 private:
  struct Entry;
  StatusBoard(std::unique_ptr<SharedMemory> memory, int rank, int size) : memory_(std::move(memory)), rank_(rank), size_(size) {}
  Entry& entry(int rank) const;

  std::unique_ptr<SharedMemory> memory_;
  int rank_, size_;
};

}  // namespace lodestone
