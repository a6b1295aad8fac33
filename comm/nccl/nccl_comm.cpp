#include "comm/nccl/nccl_comm.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include "comm/nccl/nccl_call.h"
#include "comm/verb_checks.h"
#include "comm/wait.h"

namespace lodestone {

namespace {

ncclConfig_t not_blocking() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

bool equal(std::span<const int64_t> counts) {
  return std::all_of(counts.begin(), counts.end(), [&](int64_t n) { return n == counts[0]; });
}

/// call(rank, its part) for every part that is not empty, in one group.
template <class Call>
ncclResult_t each_part(std::span<const int64_t> counts, const Call& call) {
  ncclResult_t result = ncclGroupStart();
  int64_t begin = 0;
  const auto good = [&] { return result == ncclSuccess || result == ncclInProgress; };
  for (size_t r = 0; r < counts.size() && good(); begin += counts[r++])
    if (counts[r] > 0) result = call(static_cast<int>(r), Slice{begin, begin + counts[r]});
  const ncclResult_t ended = ncclGroupEnd();
  return good() ? ended : result;
}

std::string words_of(Watchdog::Operation what) {
  return what.number < 0 ? std::string(what.operation) : cat(what.operation, " number ", what.number);
}

size_t count_of(ConstTensor x) { return static_cast<size_t>(x.count()); }

/// The verb's number.
int64_t load(std::span<const std::byte, 16> request) {
  int64_t verb = 0;
  std::memcpy(&verb, request.data(), sizeof verb);
  return verb;
}

}  // namespace

NcclComm::NcclComm(std::unique_ptr<Communicator> host, std::shared_ptr<NcclVerbs> verbs)
    : host_(std::move(host)), verbs_(std::move(verbs)) {
  ncclUniqueId id{};
  const ncclResult_t made = host_->rank() == 0 ? ncclGetUniqueId(&id) : ncclSuccess;
  if (made != ncclSuccess) throw nccl::error_of(made, "NCCL's start", nullptr);
  host_->broadcast(Tensor(reinterpret_cast<std::byte*>(&id), DType::u8, {int64_t{sizeof id}}), 0).wait();
  ncclConfig_t config = not_blocking();
  become_ready(ncclCommInitRankConfig(&comm_, size(), id, rank(), &config), "NCCL's start");
}

NcclComm::NcclComm(std::unique_ptr<Communicator> host, std::shared_ptr<NcclVerbs> verbs, ncclComm_t comm)
    : host_(std::move(host)), verbs_(std::move(verbs)), comm_(comm) {
  become_ready(ncclSuccess, "NCCL's split");
}

NcclComm::~NcclComm() {
  try {
    if (comm_ != nullptr && std::uncaught_exceptions() == 0) {
      settle(ncclCommFinalize(comm_), {"NCCL's end"});
      ncclCommDestroy(std::exchange(comm_, nullptr));
    }
  } catch (const Error&) {
    // It is broken off, and the reason kept: whoever asks another communicator hears it.
  }
  break_off();
  verbs_->leave(*this);
}

void NcclComm::break_off() noexcept {
  if (comm_ != nullptr) ncclCommAbort(std::exchange(comm_, nullptr));
}

void NcclComm::fail(ncclResult_t result, const std::string& what) {
  const Error error = nccl::error_of(result, what, comm_);
  break_off();
  verbs_->break_off(error);
  verbs_->backend().require_working();  // where this rank's own GPU has failed, that is why
  throw Error(error);
}

std::unique_ptr<Communicator> NcclComm::split(int colour) {
  require_healthy();
  std::unique_ptr<Communicator> host = host_->split(colour);
  ncclConfig_t config = not_blocking();
  ncclComm_t part = nullptr;
  settle(ncclCommSplit(comm_, colour, rank(), &part, &config), {"NCCL's split"});
  return std::unique_ptr<Communicator>(new NcclComm(std::move(host), verbs_, part));
}

void NcclComm::become_ready(ncclResult_t result, const char* what) {
  settle(result, {what});
  verbs_->join(*this);
}

void NcclComm::settle(ncclResult_t result, Watchdog::Operation what) {
  const auto phase = Watchdog::Phase(verbs_->watchdog(), what);
  Patience patience;
  while (result == ncclInProgress || result == ncclSuccess) {
    const bool asked = ncclCommGetAsyncError(comm_, &result) == ncclSuccess;
    if (!asked) result = ncclInternalError;
    if (result == ncclSuccess) return;
    if (result == ncclInProgress) patience.pause();
  }
  fail(result, words_of(what));
}

void NcclComm::require_healthy() {
  verbs_->require_unbroken();
  ncclResult_t result = ncclSuccess;
  if (ncclCommGetAsyncError(comm_, &result) != ncclSuccess) result = ncclInternalError;
  if (result == ncclSuccess || result == ncclInProgress) return;
  fail(result, last_.operation == nullptr ? std::string("NCCL") : words_of(last_) + ", or one before it");
}

template <class Call>
Pending NcclComm::enqueue(const char* verb, ConstTensor operand, const Call& call) {
  require_healthy();
  verbs_->begin(verb, operand);
  last_ = {verb, static_cast<int64_t>(operand.size_bytes()), last_.number + 1};
  settle(call(verbs_->stream()), last_);
  const int64_t number = verbs_->end(last_);
  std::array<std::byte, 16> request{};
  std::memcpy(request.data(), &number, sizeof number);
  return {this, request};
}

Pending NcclComm::all_reduce(ConstTensor in, Tensor out, Reduce op) {
  verbs::check_all_reduce(in, out);
  verbs::check_device("all_reduce", Device::cuda, in, out);
  if (in.empty()) return {};
  return enqueue("all_reduce", in, [&](cudaStream_t stream) {
    return ncclAllReduce(in.bytes(), out.bytes(), count_of(in), nccl::type_of(in.dtype()), nccl::op_of(op), comm_, stream);
  });
}

Pending NcclComm::all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) {
  const int64_t total = verbs::check_all_gather(in, out, counts, rank(), size());
  verbs::check_device("all_gather", Device::cuda, in, out);
  if (total == 0) return {};
  const ncclDataType_t type = nccl::type_of(in.dtype());
  return enqueue("all_gather", out, [&](cudaStream_t stream) {
    if (equal(counts)) return ncclAllGather(in.bytes(), out.bytes(), count_of(in), type, comm_, stream);
    return each_part(counts, [&](int root, Slice slice) {
      const Tensor part = out.slice(slice);
      return ncclBroadcast(root == rank() ? in.bytes() : part.bytes(), part.bytes(), count_of(part), type, root, comm_, stream);
    });
  });
}

Pending NcclComm::reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) {
  const int64_t total = verbs::check_reduce_scatter(in, out, counts, rank(), size(), verbs::Scattered::or_in_place);
  verbs::check_device("reduce_scatter", Device::cuda, in, out);
  if (total == 0) return {};
  const ncclDataType_t type = nccl::type_of(in.dtype());
  return enqueue("reduce_scatter", in, [&](cudaStream_t stream) {
    if (equal(counts)) return ncclReduceScatter(in.bytes(), out.bytes(), count_of(out), type, ncclSum, comm_, stream);
    return each_part(counts, [&](int root, Slice slice) {
      const ConstTensor part = in.slice(slice);
      return ncclReduce(part.bytes(), root == rank() ? out.bytes() : nullptr, count_of(part), type, ncclSum, root, comm_, stream);
    });
  });
}

Pending NcclComm::broadcast(Tensor data, int root) {
  verbs::check_broadcast(root, size());
  verbs::check_device("broadcast", Device::cuda, data, data);
  if (data.empty()) return {};
  return enqueue("broadcast", data, [&](cudaStream_t stream) {
    return ncclBroadcast(data.bytes(), data.bytes(), count_of(data), nccl::type_of(data.dtype()), root, comm_, stream);
  });
}

void NcclComm::barrier() {
  verbs_->drain();
  host_->barrier();
}

void NcclComm::wait(std::span<std::byte, 16> request) { verbs_->order(load(request)); }

bool NcclComm::test(std::span<std::byte, 16> request) {
  if (verbs_->is_over(load(request))) return true;
  require_healthy();
  return false;
}

}  // namespace lodestone
