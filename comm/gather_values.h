// Every rank's values on every rank.
#pragma once

#include <numeric>
#include <span>
#include <type_traits>
#include <vector>

#include "comm/communicator.h"

namespace lodestone {

/// Values of counts[r] from each rank r, one behind the other. counts [W] are the same on all ranks; counts[rank()] == own.size(). T
/// travels as the bytes that it is: at most 2^31 - 1 of them in all, or of words of 8 or 4 bytes where T consists of whole ones.
/// Collective.
template <class T>
std::vector<T> gather_values(Communicator& comm, std::span<const T> own, std::vector<int64_t> counts) {
  static_assert(std::is_trivially_copyable_v<T>);
  constexpr DType unit = sizeof(T) % 8 == 0 ? DType::i64 : sizeof(T) % 4 == 0 ? DType::i32 : DType::u8;
  constexpr auto units = static_cast<int64_t>(sizeof(T) / size_of(unit));  // of one value
  std::vector<T> all(static_cast<size_t>(std::accumulate(counts.begin(), counts.end(), int64_t{0})));
  for (int64_t& count : counts) count *= units;
  const ConstTensor in(reinterpret_cast<const std::byte*>(own.data()), unit, Shape{std::ssize(own) * units});
  comm.all_gather(in, Tensor(reinterpret_cast<std::byte*>(all.data()), unit, Shape{std::ssize(all) * units}), counts).wait();
  return all;
}

/// One value of each rank: [W].
template <class T>
std::vector<T> gather_value(Communicator& comm, const T& own) {
  return gather_values(comm, std::span<const T>(&own, 1), std::vector<int64_t>(static_cast<size_t>(comm.size()), 1));
}

/// The same where only each rank knows how many it has.
template <class T>
std::vector<T> gather_values(Communicator& comm, std::span<const T> own) {
  return gather_values(comm, own, gather_value<int64_t>(comm, std::ssize(own)));
}

}  // namespace lodestone
