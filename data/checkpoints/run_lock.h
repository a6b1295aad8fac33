// One job at a time in a run folder: a lock that names its holder and does not outlive it.
#pragma once

#include <filesystem>
#include <string>

#include "data/files/durable.h"

namespace lodestone {

/// Held by rank 0 while a job writes into a run folder. The file RUN/lock says who holds it (host, pid, job).
/// The system's file lock decides, and is released by the system when the process dies, however it dies: so a lock that a
/// dead job left is taken over. Where the file system has no locks, the file alone decides: it is taken over when its process
/// is dead and was of this host, and otherwise the job is refused with the advice to remove it.
class RunLock {
 public:
  /// Makes `run` when it is missing. job: the scheduler's job id, or empty. Throws Error (storage, "F27") naming the holder's host, pid
  /// and job.
  RunLock(const std::filesystem::path& run, const std::string& job);
  /// Clears the file and releases the lock.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  /// One line about a stale lock that was taken over, or empty.
  const std::string& takeover() const { return takeover_; }

 private:
  struct Attempt;
  Attempt attempt() const;

  std::filesystem::path path_;
  Descriptor descriptor_;
  std::string takeover_;
};

}  // namespace lodestone
