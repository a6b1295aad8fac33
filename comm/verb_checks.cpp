#include "comm/verb_checks.h"

#include <numeric>

#include "core/error.h"

namespace lodestone::verbs {

namespace {

void check_reducible(const char* verb, DType t) {
  LODE_CHECK(t != DType::bf16, verb, ": bf16 would be rounded once for each rank; reduce in f32");
}

/// The sum of the counts, of which this rank has `mine`.
int64_t check_counts(const char* verb, std::span<const int64_t> counts, int64_t mine, int rank, int size) {
  LODE_CHECK(std::ssize(counts) == size, verb, ": ", counts.size(), " counts for ", size, " ranks");
  int64_t total = 0;
  for (const int64_t n : counts) {
    LODE_CHECK(n >= 0, verb, ": a negative count ", n);
    total += n;
  }
  const int64_t counted = counts[static_cast<size_t>(rank)];
  LODE_CHECK(counted == mine, verb, ": rank ", rank, " has ", mine, " elements, its count is ", counted);
  return total;
}

}  // namespace

void check_all_reduce(ConstTensor in, ConstTensor out) {
  LODE_CHECK(in.count() == out.count() && in.dtype() == out.dtype(), "all_reduce: input ", in.shape(), " ", name_of(in.dtype()),
             ", output ", out.shape(), " ", name_of(out.dtype()));
  check_reducible("all_reduce", in.dtype());
}

int64_t check_all_gather(ConstTensor in, ConstTensor out, std::span<const int64_t> counts, int rank, int size) {
  const int64_t total = check_counts("all_gather", counts, in.count(), rank, size);
  LODE_CHECK(out.count() == total && in.dtype() == out.dtype(), "all_gather: counts sum to ", total, " ", name_of(in.dtype()), ", output ",
             out.shape(), " ", name_of(out.dtype()));
  return total;
}

int64_t check_reduce_scatter(ConstTensor in, ConstTensor out, std::span<const int64_t> counts, int rank, int size, Scattered scattered) {
  const int64_t total = check_counts("reduce_scatter", counts, out.count(), rank, size);
  LODE_CHECK(in.count() == total && in.dtype() == out.dtype(), "reduce_scatter: counts sum to ", total, " ", name_of(out.dtype()),
             ", input ", in.shape(), " ", name_of(in.dtype()));
  const auto before = std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
  const bool in_place =
      scattered == Scattered::or_in_place && out.bytes() == in.bytes() + static_cast<size_t>(before) * size_of(in.dtype());
  LODE_CHECK(out.empty() || in_place || out.bytes() + out.size_bytes() <= in.bytes() || in.bytes() + in.size_bytes() <= out.bytes(),
             "reduce_scatter: input and output overlap");
  check_reducible("reduce_scatter", in.dtype());
  return total;
}

void check_broadcast(int root, int size) { LODE_CHECK(0 <= root && root < size, "broadcast: root ", root, " of ", size, " ranks"); }

void check_device(const char* verb, Device device, ConstTensor in, ConstTensor out) {
  for (const ConstTensor& x : {in, out})
    LODE_CHECK(x.empty() || x.device() == device, verb, ": ", name_of(x.dtype()), " ", x.shape(),
               device == Device::cpu ? " does not lie on the host" : " does not lie on the device");
}

}  // namespace lodestone::verbs
