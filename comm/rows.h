// Gathers every rank's rows into one matrix, and its exact transpose for gradients.
#pragma once

#include "comm/communicator.h"
#include "core/exec.h"

namespace lodestone {

/// all [N,E] = every rank's rows, ordered by rank (= by global index).   local [B,E]; rows [W] rows of every rank.
/// `all` is taken from ex.arena and lives as long as the caller's scope.
Tensor gather_rows(Exec& ex, Communicator& comm, ConstTensor local, std::span<const int64_t> rows);

/// d_local += this rank's rows of the sum over ranks of d_all: the transpose of gather_rows.   d_all [N,E], d_local [B,E].
/// work [B,E] is overwritten; it overlaps neither.
void scatter_rows(Exec& ex, Communicator& comm, ConstTensor d_all, std::span<const int64_t> rows, Tensor work, Tensor d_local);

}  // namespace lodestone
