// What NCCL's double does over MPI: calls, alone or in groups, as work that goes on whenever it is asked.
#pragma once

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>
#include <nccl.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace lodestone::doubles {

/// The ranks of a communicator, which verbs under way may outlive.
struct Ranks {
  MPI_Comm mpi = MPI_COMM_NULL;
  int rank = 0, size = 0;
  bool gone = false;  // broken off: nobody waits for the others any more
};

}  // namespace lodestone::doubles

struct ncclComm {
  std::shared_ptr<lodestone::doubles::Ranks> ranks = std::make_shared<lodestone::doubles::Ranks>();
  int looks = 2;                  // until what was begun is there
  std::function<void()> begun{};  // what then happens
  ncclResult_t failed = ncclSuccess;
};

namespace lodestone::doubles {

/// A call inside a group, or alone.
struct Call {
  enum class Verb { all_reduce, all_gather, reduce_scatter, broadcast, reduce } verb{};
  const void* in = nullptr;
  void* out = nullptr;
  size_t count = 0;
  ncclDataType_t type{};
  ncclRedOp_t op = ncclSum;
  int root = 0;
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
};

/// Ends the process where MPI failed.
void need(int rc, const char* what);
/// Ends the process where NCCL would not take the call, or where it is used otherwise than here.
void check(const Call& call);
/// What this rank puts in.
size_t bytes_put_in(const Call& call);

/// A verb under way; `counts` are MPI's until it is over, and so is `input`, where MPI may not write into what it reads.
struct UnderWay {
  MPI_Request request = MPI_REQUEST_NULL;
  std::vector<int> counts{};
  std::vector<std::byte> input{};

  const void* keep(const void* in, size_t bytes) {
    input.assign(static_cast<const std::byte*>(in), static_cast<const std::byte*>(in) + bytes);
    return input.data();
  }
};

/// The calls of one piece of work, one after another; done when the last one is, or when nobody waits for the others any more.
class Work {
 public:
  Work(std::vector<Call> calls, std::shared_ptr<Ranks> ranks) : calls_(std::move(calls)), ranks_(std::move(ranks)) {}
  /// Whether it is done.
  bool step();

 private:
  const std::vector<Call> calls_;
  const std::shared_ptr<Ranks> ranks_;
  UnderWay under_way_;
  size_t next_ = 0;
  bool begun_ = false;
};

}  // namespace lodestone::doubles
