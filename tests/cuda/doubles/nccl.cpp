// The double of NCCL: communicators over MPI, on memory of the runtime's double. A verb is enqueued in its stream and meets the other ranks
// there, by MPI's own verbs, so that sums have the bits of comm/mpi_comm.cpp; it takes the host's time only when something is asked. All is
// in progress for some looks: starts, splits, ends, and verbs, which are enqueued only then. What NCCL forbids ends the process.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/graphs.h"
#include "tests/cuda/doubles/nccl_work.h"
#include "tests/cuda/doubles/runtime.h"
#include "tests/cuda/doubles/streams.h"

using namespace lodestone::doubles;

namespace {

struct State {
  int depth = 0;  // of groups
  std::vector<Call> group{};
  int64_t verbs = 0;
};

State& state() {
  static State s;
  return s;
}

/// "RANK:VERB" of LODESTONE_DOUBLE_NCCL_FAILURE: the connection of this rank breaks at this verb.
struct Failure {
  int rank = -1;
  int64_t verb = -1;
  Failure() {
    const char* const text = std::getenv("LODESTONE_DOUBLE_NCCL_FAILURE");
    if (text != nullptr && std::sscanf(text, "%d:%ld", &rank, &verb) != 2) fail("LODESTONE_DOUBLE_NCCL_FAILURE is not RANK:VERB");
  }
};

/// One verb, or the calls of a group. From a verb that fails on, nothing is ever done in its stream.
ncclResult_t enqueue_calls(std::vector<Call> calls) {
  static const Failure failure;
  if (calls.empty()) return ncclSuccess;
  ncclComm& comm = *calls[0].comm;
  const cudaStream_t stream = calls[0].stream;
  if (captures(stream)) fail("a verb in a stream that captures, which is not used here");
  if (comm.looks > 0 || comm.failed != ncclSuccess) return ncclInvalidUsage;
  if (failure.rank >= 0 && state().verbs++ >= failure.verb) {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    comm.failed = rank == failure.rank ? ncclSystemError : ncclRemoteError;
    enqueue_shared(stream, [ranks = comm.ranks] { return ranks->gone; });
    return ncclSuccess;
  }
  for (const Call& c : calls) {
    if (c.stream != stream) fail("a group in two streams");
    if (c.comm != &comm) fail("a group of two communicators, which is not used here");
    check(c);
  }
  ++counts().verbs;
  for (const Call& c : calls) counts().verb_bytes += static_cast<int64_t>(bytes_put_in(c));
  hold(stream, true);
  comm.looks = 1;
  comm.begun = [stream, work = std::make_shared<Work>(std::move(calls), comm.ranks)] {
    hold(stream, false);
    enqueue_shared(stream, [work] { return work->step(); });
  };
  return ncclInProgress;
}

ncclResult_t add(Call call) {
  if (call.comm == nullptr) return ncclInvalidArgument;
  if (state().depth > 0) {
    state().group.push_back(call);
    return ncclSuccess;
  }
  return enqueue_calls({call});
}

/// Where there are no ranks of MPI the double cannot go.
void need_ranks() {
  int running = 0;
  MPI_Initialized(&running);
  if (running == 0) fail("NCCL's double goes over MPI: start by mpirun");
}

/// What an id holds: who made it, and its number there.
struct Id {
  int maker, number;
};
constexpr int first_tag = 20'000;

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  const char* const other = std::getenv("LODESTONE_DOUBLE_NCCL_VERSION");
  *version = other == nullptr ? NCCL_VERSION_CODE : std::atoi(other);
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSystemError:
      return "unhandled system error";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInvalidUsage:
      return "invalid usage";
    default:
      return "an error of the double";
  }
}
const char* ncclGetLastError(ncclComm_t) { return ""; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  need_ranks();
  static int number = 0;
  Id made{0, number++};
  need(MPI_Comm_rank(MPI_COMM_WORLD, &made.maker), "MPI_Comm_rank");
  std::memset(id, 0, sizeof *id);
  std::memcpy(id, &made, sizeof made);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId unique, int rank, ncclConfig_t* config) {
  if (config->magic != 0xcafebeef || config->blocking != 0) fail("a communicator that may block, or has no configuration");
  Id id{};
  std::memcpy(&id, &unique, sizeof id);
  int me = 0;
  need(MPI_Comm_rank(MPI_COMM_WORLD, &me), "MPI_Comm_rank");
  // The maker of the id learns who has which rank, and tells all.
  const int tag = first_tag + id.number;
  std::vector<int> members(static_cast<size_t>(size), me);
  const int own[2] = {rank, me};
  if (me == id.maker) {
    for (int i = 1; i < size; ++i) {
      int other[2] = {};
      need(MPI_Recv(other, 2, MPI_INT, MPI_ANY_SOURCE, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE), "MPI_Recv");
      members[static_cast<size_t>(other[0])] = other[1];
    }
    for (const int other : members)
      if (other != me) need(MPI_Send(members.data(), size, MPI_INT, other, tag, MPI_COMM_WORLD), "MPI_Send");
  } else {
    need(MPI_Send(own, 2, MPI_INT, id.maker, tag, MPI_COMM_WORLD), "MPI_Send");
    need(MPI_Recv(members.data(), size, MPI_INT, id.maker, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE), "MPI_Recv");
  }
  MPI_Group all = MPI_GROUP_NULL, part = MPI_GROUP_NULL;
  MPI_Comm_group(MPI_COMM_WORLD, &all);
  MPI_Group_incl(all, size, members.data(), &part);
  *comm = new ncclComm;
  Ranks& ranks = *(*comm)->ranks;
  ranks.rank = rank;
  ranks.size = size;
  need(MPI_Comm_create_group(MPI_COMM_WORLD, part, tag, &ranks.mpi), "MPI_Comm_create_group");
  MPI_Group_free(&part);
  MPI_Group_free(&all);
  return ncclInProgress;
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int colour, int key, ncclComm_t* part, ncclConfig_t* config) {
  if (config->magic != 0xcafebeef || config->blocking != 0) fail("a communicator that may block, or has no configuration");
  auto made = std::make_unique<ncclComm>();
  Ranks& ranks = *made->ranks;
  need(MPI_Comm_split(comm->ranks->mpi, colour, key, &ranks.mpi), "MPI_Comm_split");
  MPI_Comm_rank(ranks.mpi, &ranks.rank);
  MPI_Comm_size(ranks.mpi, &ranks.size);
  comm->looks = 1;
  comm->begun = [part, handle = made.release()] { *part = handle; };
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* result) {
  *result = comm->failed != ncclSuccess ? comm->failed : comm->looks > 0 ? ncclInProgress : ncclSuccess;
  if (*result == ncclSuccess && comm->begun) std::exchange(comm->begun, nullptr)();
  comm->looks = std::max(0, comm->looks - 1);
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  cudaDeviceSynchronize();
  comm->looks = 1;
  return ncclInProgress;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (comm->looks > 0) return ncclInvalidUsage;
  MPI_Comm_free(&comm->ranks->mpi);
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->ranks->gone = true;  // its MPI communicator stays: freeing it would be collective
  keep_memory();             // and MPI cannot take back what it has begun
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++state().depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (state().depth == 0) return ncclInvalidUsage;
  return --state().depth > 0 ? ncclSuccess : enqueue_calls(std::exchange(state().group, {}));
}

ncclResult_t ncclAllReduce(const void* in, void* out, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm, cudaStream_t s) {
  return add({.verb = Call::Verb::all_reduce, .in = in, .out = out, .count = count, .type = type, .op = op, .comm = comm, .stream = s});
}
ncclResult_t ncclAllGather(const void* in, void* out, size_t count, ncclDataType_t type, ncclComm_t comm, cudaStream_t s) {
  return add({.verb = Call::Verb::all_gather, .in = in, .out = out, .count = count, .type = type, .comm = comm, .stream = s});
}
ncclResult_t ncclReduceScatter(const void* in, void* out, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm,
                               cudaStream_t s) {
  return add({.verb = Call::Verb::reduce_scatter, .in = in, .out = out, .count = count, .type = type, .op = op, .comm = comm, .stream = s});
}
ncclResult_t ncclBroadcast(const void* in, void* out, size_t count, ncclDataType_t type, int root, ncclComm_t comm, cudaStream_t s) {
  return add({.verb = Call::Verb::broadcast, .in = in, .out = out, .count = count, .type = type, .root = root, .comm = comm, .stream = s});
}
ncclResult_t ncclReduce(const void* in, void* out, size_t count, ncclDataType_t type, ncclRedOp_t op, int root, ncclComm_t comm,
                        cudaStream_t s) {
  return add(
      {.verb = Call::Verb::reduce, .in = in, .out = out, .count = count, .type = type, .op = op, .root = root, .comm = comm, .stream = s});
}

}  // extern "C"
