#include "tests/cuda/doubles/nccl_work.h"

#include <cuda_runtime_api.h>

#include <cstring>

#include "tests/cuda/doubles/runtime.h"
#include "tests/cuda/doubles/streams.h"

namespace lodestone::doubles {

namespace {

size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return 1;
    case ncclBfloat16:
      return 2;
    case ncclFloat32:
    case ncclInt32:
      return 4;
    case ncclFloat64:
    case ncclInt64:
      return 8;
    default:
      fail("a number format that is not used here");
  }
}

MPI_Datatype mpi_type(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return MPI_UINT8_T;
    case ncclBfloat16:
      return MPI_UINT16_T;
    case ncclFloat32:
      return MPI_FLOAT;
    case ncclInt32:
      return MPI_INT32_T;
    case ncclFloat64:
      return MPI_DOUBLE;
    default:
      return MPI_INT64_T;
  }
}

MPI_Op mpi_op(ncclRedOp_t op) { return op == ncclSum ? MPI_SUM : op == ncclMax ? MPI_MAX : MPI_MIN; }

void need_memory(const void* p, size_t bytes) {
  if (bytes > 0 && !is_device_memory(p, bytes)) fail("a verb on memory that is no device's, or too short");
}

bool overlaps(const void* a, size_t a_bytes, const void* b, size_t b_bytes) {
  const auto *const p = static_cast<const std::byte*>(a), *const q = static_cast<const std::byte*>(b);
  return p < q + b_bytes && q < p + a_bytes;
}

/// Of the input of a scatter, what this rank gets the sum of.
const void* own_part(const Call& c) {
  return static_cast<const std::byte*>(c.in) + static_cast<size_t>(c.comm->ranks->rank) * c.count * size_of(c.type);
}

void begin(const Call& c, const Ranks& ranks, UnderWay& w) {
  const auto n = static_cast<int>(c.count);
  const MPI_Datatype type = mpi_type(c.type);
  switch (c.verb) {
    case Call::Verb::all_reduce:
      return need(MPI_Iallreduce(c.in == c.out ? MPI_IN_PLACE : c.in, c.out, n, type, mpi_op(c.op), ranks.mpi, &w.request), "all_reduce");
    case Call::Verb::all_gather: {
      const bool in_place = c.in == static_cast<std::byte*>(c.out) + static_cast<size_t>(ranks.rank) * c.count * size_of(c.type);
      return need(MPI_Iallgather(in_place ? MPI_IN_PLACE : c.in, n, type, c.out, n, type, ranks.mpi, &w.request), "all_gather");
    }
    case Call::Verb::reduce_scatter:
      w.counts.assign(static_cast<size_t>(ranks.size), n);
      return need(MPI_Ireduce_scatter(w.keep(c.in, c.count * size_of(c.type) * static_cast<size_t>(ranks.size)), c.out, w.counts.data(),
                                      type, MPI_SUM, ranks.mpi, &w.request),
                  "reduce_scatter");
    case Call::Verb::broadcast:
      if (ranks.rank == c.root && c.in != c.out) std::memcpy(c.out, c.in, c.count * size_of(c.type));
      return need(MPI_Ibcast(c.out, n, type, c.root, ranks.mpi, &w.request), "broadcast");
    case Call::Verb::reduce:
      return need(MPI_Ireduce(c.in == c.out ? MPI_IN_PLACE : c.in, c.out, n, type, mpi_op(c.op), c.root, ranks.mpi, &w.request), "reduce");
  }
}

/// Reductions to some ranks, or to one, of parts side by side, are a scatter of uneven parts: done by the MPI verb that has the same sums.
bool is_scatter(const std::vector<Call>& calls) {
  for (size_t i = 0; i < calls.size(); ++i) {
    const Call& c = calls[i];
    if (c.verb != Call::Verb::reduce || c.comm != calls[0].comm || (i > 0 && c.root <= calls[i - 1].root)) return false;
    if (i > 0 && c.in != static_cast<const std::byte*>(calls[i - 1].in) + calls[i - 1].count * size_of(c.type)) return false;
  }
  return true;
}

void begin_scatter(const std::vector<Call>& calls, const Ranks& ranks, UnderWay& w) {
  static std::byte none{};
  w.counts.assign(static_cast<size_t>(ranks.size), 0);
  void* own = &none;
  size_t all = 0;
  for (const Call& c : calls) {
    w.counts[static_cast<size_t>(c.root)] = static_cast<int>(c.count);
    all += c.count * size_of(c.type);
    if (c.root == ranks.rank) own = c.out;
  }
  need(MPI_Ireduce_scatter(w.keep(calls[0].in, all), own, w.counts.data(), mpi_type(calls[0].type), MPI_SUM, ranks.mpi, &w.request),
       "reduce_scatter");
}

}  // namespace

void need(int rc, const char* what) {
  if (rc != MPI_SUCCESS) fail(what);
}

void check(const Call& c) {
  const size_t part = c.count * size_of(c.type), all = part * static_cast<size_t>(c.comm->ranks->size);
  const bool reduces = c.verb == Call::Verb::all_reduce || c.verb == Call::Verb::reduce_scatter || c.verb == Call::Verb::reduce;
  if (reduces && c.type == ncclBfloat16) fail("bf16 is not reduced here");
  need_memory(c.in, c.verb == Call::Verb::reduce_scatter ? all : part);
  if (c.verb != Call::Verb::reduce || c.root == c.comm->ranks->rank) need_memory(c.out, c.verb == Call::Verb::all_gather ? all : part);
  if (c.verb == Call::Verb::reduce_scatter && overlaps(c.in, all, c.out, part) && c.out != own_part(c))
    fail("a scatter into its input, elsewhere than at this rank's part");
}

size_t bytes_put_in(const Call& c) {
  const bool whole = c.verb == Call::Verb::reduce_scatter;
  const bool other_sends = c.verb == Call::Verb::broadcast && c.root != c.comm->ranks->rank;
  return other_sends ? 0 : c.count * size_of(c.type) * (whole ? static_cast<size_t>(c.comm->ranks->size) : 1);
}

bool Work::step() {
  if (ranks_->gone) return true;
  for (; next_ < calls_.size(); ++next_, begun_ = false) {
    const bool whole = is_scatter(calls_);
    if (!begun_) whole ? begin_scatter(calls_, *ranks_, under_way_) : begin(calls_[next_], *ranks_, under_way_);
    begun_ = true;
    int over = 0;
    need(MPI_Test(&under_way_.request, &over, MPI_STATUS_IGNORE), "MPI_Test");
    if (over == 0) return false;
    if (whole) return true;
  }
  return true;
}

}  // namespace lodestone::doubles
