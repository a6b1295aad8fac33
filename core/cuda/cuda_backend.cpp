#include "core/cuda/cuda_backend.h"

#include <algorithm>

#include "core/checks.h"
#include "core/cuda/attention_plans.h"
#include "core/cuda/cuda_call.h"
#include "core/cuda/device/sum_parts.h"
#include "core/cuda/facts.h"
#include "core/cuda/graphs.h"
#include "core/cuda/products.h"

namespace lodestone {

using cuda::check;

namespace {

/// Makes `device` the one of this thread. Returns it.
int chosen(int device) {
  check(cudaSetDevice(device), "cudaSetDevice");
  return device;
}

void need_host(const char* verb, ConstTensor x) {
  LODE_CHECK(x.empty() || x.device() == Device::cpu, verb, ": ", name_of(x.dtype()), " ", x.shape(), " does not lie on the host");
}

void need_device(const char* verb, ConstTensor x) {
  LODE_CHECK(x.empty() || x.device() == Device::cuda, verb, ": ", name_of(x.dtype()), " ", x.shape(), " does not lie on the GPU");
}

}  // namespace

CudaBackend::CudaBackend(int device, AttentionChoice attention, Launches launches)
    : device_(chosen(device)),
      uploads_(stream_.handle, wait_),
      memory_(uploads_),
      staging_(stream_.handle, wait_),
      products_(std::make_unique<cuda::Products>(stream_.handle, memory_)),
      plans_(std::make_unique<cuda::AttentionPlans>(attention)),
      graphs_(launches == Launches::graphs ? std::make_unique<cuda::Graphs>(stream_.handle, wait_) : nullptr) {}

CudaBackend::~CudaBackend() {
  cudaStreamSynchronize(stream_.handle);
  if (scratch_ != nullptr) memory_.release(scratch_, scratch_bytes_);
}

std::string CudaBackend::description() const {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device_), "cudaGetDeviceProperties");
  return cat(properties.name, ", GPU ", device_, " of ", cuda::count_gpus(), " at ", cuda::bus_of(device_), ", ",
             properties.totalGlobalMem / 1'000'000'000, " GB, driver ", cuda::driver_version(), ", CUDA ", cuda::runtime_version(),
             ", cuBLASLt ", cuda::cublaslt_version(), ", ", plans_->description(), graphs_ ? cat(", ", graphs_->description()) : "");
}

std::byte* CudaBackend::scratch(size_t size_bytes) {
  if (size_bytes <= scratch_bytes_) return scratch_;
  if (graphs_) graphs_->forget();
  if (scratch_ != nullptr) memory_.release(scratch_, scratch_bytes_);  // waits for what still uses it
  scratch_ = nullptr;
  scratch_bytes_ = 0;
  try {
    scratch_ = memory_.reserve(size_bytes);
  } catch (const Error&) {
    if (graphs_) graphs_->begin_anew();
    throw;
  }
  scratch_bytes_ = size_bytes;
  return scratch_;
}

std::byte* CudaBackend::scratch_or_null(size_t size_bytes) {
  try {
    return scratch(size_bytes);
  } catch (const Error& error) {
    if (error.code() != "F14") throw;
    return nullptr;
  }
}

double* CudaBackend::parts() { return reinterpret_cast<double*>(scratch(cuda::most_parts * sizeof(double))); }

ConstTensor CudaBackend::upload(ConstTensor host, Arena& arena) {
  const Tensor to = arena.tensor(host.dtype(), host.shape());
  if (count_upload(host, to)) {
    note("upload", host);
    uploads_.upload(host.bytes(), to.bytes(), host.size_bytes());
  }
  return to;
}

void CudaBackend::upload(ConstTensor host, Tensor to) {
  checks::shape("upload", "the target", to, host.shape());
  checks::dtype("upload", "the target", to, host.dtype());
  if (!count_upload(host, to)) return;
  enqueue("upload", host);
  staging_.upload(host.bytes(), to.bytes(), host.size_bytes());
}

ConstTensor CudaBackend::download(ConstTensor x, Arena& arena) {
  const Tensor host(arena.array<std::byte>(static_cast<int64_t>(x.size_bytes())).data(), x.dtype(), x.shape());
  enqueue_download(x, host);
  return host;
}

void CudaBackend::download(ConstTensor x, Tensor host) {
  checks::shape("download", "the target", host, x.shape());
  checks::dtype("download", "the target", host, x.dtype());
  enqueue_download(x, host);
}

bool CudaBackend::count_upload(ConstTensor host, Tensor to) {
  need_host("upload: the source", host);
  need_device("upload: the target", to);
  ++transfers_.uploads;
  transfers_.copied_bytes += static_cast<int64_t>(host.size_bytes());
  return !host.empty();
}

void CudaBackend::enqueue_download(ConstTensor x, Tensor host) {
  need_device("download: the source", x);
  need_host("download: the target", host);
  ++transfers_.downloads;
  if (x.empty()) return;
  transfers_.copied_bytes += static_cast<int64_t>(x.size_bytes());
  enqueue("download", x);
  staging_.download(x.bytes(), host.bytes(), x.size_bytes(), enqueued_);
}

void CudaBackend::check_work(cudaError_t status) const {
  if (status == cudaSuccess) return;
  std::string names;
  const auto known = std::min<int64_t>(enqueued_, std::ssize(recent_));
  for (int64_t i = enqueued_ - known; i < enqueued_; ++i) {
    const Recent& r = recent_[static_cast<size_t>(i) % recent_.size()];
    names += cat(names.empty() ? "" : ", ", r.operation, ' ', name_of(r.dtype), ' ', r.shape);
  }
  check(status, cat("the GPU failed at one of the operations up to number ", enqueued_, " (the last ones: ", names, ")"));
}

void CudaBackend::require_working() const {
  const cudaError_t status = cudaStreamQuery(stream_.handle);
  if (status != cudaErrorNotReady) check_work(status);
}

void CudaBackend::synchronize() {
  ++transfers_.waits;
  uploads_.join();
  check_work(wait_.for_stream(stream_.handle));
  staging_.finish(enqueued_);
}

void CudaBackend::replay(const ReplayName& name, const std::function<void()>& operations) {
  if (!graphs_) return operations();
  stream();  // what was uploaded arrives before: a graph waits for nothing
  note(name.what(), {});
  graphs_->run(name, operations);
  uploads_.used();  // step memory, in which the scopes of the stretch may have ended unsaid
}

Event CudaBackend::record() {
  const auto slot = static_cast<size_t>(records_) % recorded_.size();
  uploads_.join();
  check(cudaEventRecord(recorded_[slot].handle, stream_.handle), "cudaEventRecord");
  recorded_at_[slot] = enqueued_;
  return {records_++};
}

void CudaBackend::wait_for(Event event) {
  LODE_CHECK(event.number < records_, "waiting for event ", event.number, " of ", records_);
  // An older event's slot may have been recorded anew: the oldest that is known stands behind it.
  const int64_t number = std::max(event.number, records_ - std::ssize(recorded_));
  const auto slot = static_cast<size_t>(number) % recorded_.size();
  ++transfers_.waits;
  check_work(wait_.for_event(recorded_[slot].handle));
  staging_.finish(recorded_at_[slot]);
}

}  // namespace lodestone
