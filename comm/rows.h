// Gathers every rank's rows into one matrix, and its exact transpose for gradients.
#pragma once

#include <numeric>
#include <type_traits>

#include "comm/communicator.h"
#include "core/exec.h"

namespace lodestone {

/// all [N,E] = every rank's rows, ordered by rank (= by global index).   local [B,E]; rows [W] rows of every rank.
/// `all` is taken from ex.arena and lives as long as the caller's scope.
Tensor gather_rows(Exec& ex, Communicator& comm, ConstTensor local, std::span<const int64_t> rows);

/// d_local += this rank's rows of the sum over ranks of d_all: the transpose of gather_rows.   d_all [N,E], d_local [B,E].
/// work [B,E] is overwritten; it overlaps neither.
void scatter_rows(Exec& ex, Communicator& comm, ConstTensor d_all, std::span<const int64_t> rows, Tensor work, Tensor d_local);

/// Every rank's values, ordered by rank, in the host part of the arena: [sum of counts], until the caller's scope ends. counts [W] of every
/// rank; T is one of a tensor's types, or uint64_t. Over a host plane.
template <class T>
std::span<const T> gather_in_arena(Arena& arena, Communicator& comm, std::span<const T> own, std::span<const int64_t> counts) {
  using Element = std::conditional_t<std::is_same_v<T, uint64_t>, int64_t, T>;
  const std::span<T> all = arena.array<T>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  const ConstTensor in(reinterpret_cast<const std::byte*>(own.data()), dtype_of<Element>, Shape{std::ssize(own)});
  comm.all_gather(in, Tensor(reinterpret_cast<std::byte*>(all.data()), dtype_of<Element>, Shape{std::ssize(all)}), counts).wait();
  return all;
}

}  // namespace lodestone
