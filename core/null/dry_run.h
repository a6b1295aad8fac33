// DryRun: step memory that work would take, found by running it on a backend that computes nothing.
#pragma once

#include "core/exec.h"
#include "core/null/null_backend.h"

namespace lodestone {

/// Stands for `modelled`, which need not live on.
class DryRun {
 public:
  explicit DryRun(const Backend& modelled, ScratchCount scratch = ScratchCount::wanted)
      : backend_(modelled, scratch), arena_(backend_.memory(), most_bytes) {}

  /// What an operation on the modelled backend is given, here.
  Exec exec(const Exec& like) { return {backend_, arena_, like.key, like.compute, like.step}; }
  const Arena& arena() const { return arena_; }
  Arena& arena() { return arena_; }
  const NullBackend& backend() const { return backend_; }
  NullBackend& backend() { return backend_; }

 private:
  static constexpr size_t most_bytes = size_t{1} << 39;  // more than any device has: only addresses are taken

  NullBackend backend_;
  Arena arena_;
};

}  // namespace lodestone
