#include "comm/grad_sync.h"

#include <algorithm>
#include <array>

#include "comm/wait.h"

namespace lodestone {

GradSync::GradSync(const Group& group, Backend& backend, int64_t count, DType dtype, Options options)
    : backend_(backend), watchdog_(options.watchdog), count_(count), dtype_(dtype), own_{0, count} {
  LODE_CHECK(dtype == DType::f32 || dtype == DType::f64, "gradients are reduced in f32 or f64, not ", name_of(dtype));
  piece_ = options.piece_bytes / static_cast<int64_t>(size_of(dtype));
  LODE_CHECK(piece_ >= 1, "a piece of ", options.piece_bytes, " bytes holds no gradient");
  if (group.size() == 1) return;

  comm_ = group.device.split(0);  // of its own: pieces start at times that differ between ranks
  if (options.update == Update::own_slice) {
    shares_ = cut_shares();
    own_ = shares_[static_cast<size_t>(comm_->rank())];
    for (const Slice s : shares_) counts_.push_back(s.count());
  }
  const auto piece_bytes = static_cast<size_t>(piece_) * size_of(dtype);
  if (options.route != Route::communicator && backend.device() == Device::cpu)
    reducer_ = shared_reducer(group.host, options.host, piece_bytes);
  if (reducer_ == nullptr && options.route == Route::shared_memory)
    throw Error(ExitCode::resource, "shared-memory",
                "the ranks share no memory: hosts have different numbers of ranks, or /dev/shm is too small",
                "let the route be chosen automatically, or enlarge /dev/shm");
  if (reducer_ == nullptr) {
    reducer_ = make_comm_reducer(*comm_, backend, shares_.empty() ? 0 : piece_bytes);
    route_name_ = "communicator";
  }
  for (int64_t end = count; end > 0;) {
    const int64_t begin = (end - 1) / piece_ * piece_;
    trace_.push_back({{begin, end}});
    for (const Slice s : shares_) {
      const int64_t from = std::clamp(s.begin, begin, end), to = std::clamp(s.end, begin, end);
      kept_.push_back({from - begin, to - begin});
    }
    end = begin;
  }
  waiting_.reserve(256);
}

std::unique_ptr<PieceReducer> GradSync::shared_reducer(Communicator& control, Communicator* host, size_t piece_bytes) {
  if (host == nullptr || host->size() == comm_->size()) {
    route_name_ = "shared memory";
    return make_shared_reducer(*comm_, backend_, comm_->rank(), piece_bytes, nullptr);
  }
  std::array<int64_t, 2> sizes{host->size(), -host->size()};  // largest and smallest
  all_reduce(control, std::span<int64_t>(sizes), Reduce::max);
  if (sizes[0] != -sizes[1] || sizes[0] == 1) return nullptr;
  route_name_ = "shared memory, hosts by communicator";
  std::unique_ptr<PieceReducer> reducer = make_shared_reducer(*host, backend_, comm_->rank(), piece_bytes, comm_->split(host->rank()));
  int64_t made = reducer != nullptr ? 1 : 0;
  all_reduce(control, std::span<int64_t>(&made, 1), Reduce::min);
  return made == 1 ? std::move(reducer) : nullptr;
}

std::vector<Slice> GradSync::cut_shares() const {
  const int64_t line = 64 / static_cast<int64_t>(size_of(dtype_)), lines = (count_ + line - 1) / line, ranks = comm_->size();
  std::vector<Slice> shares;
  for (int64_t r = 0; r < ranks; ++r)
    shares.push_back({std::min(lines * r / ranks * line, count_), std::min(lines * (r + 1) / ranks * line, count_)});
  return shares;
}

double GradSync::now_s() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_time_).count(); }

void GradSync::begin(Tensor grads) {
  LODE_CHECK(grads.count() == count_ && grads.dtype() == dtype_, "gradient sum: ", grads.shape(), " ", name_of(grads.dtype()),
             ", made for ", count_, " of ", name_of(dtype_));
  LODE_CHECK(!begun_, "gradient sum: begun twice");
  grads_ = grads.reshape({count_});
  begun_ = true;
  final_from_ = count_;
  waiting_.clear();
  started_ = done_ = 0;
  begin_time_ = std::chrono::steady_clock::now();
  if (reducer_ != nullptr) completed_before_ = reducer_->advance();
}

void GradSync::ready(Slice slice) {
  LODE_CHECK(begun_ && 0 <= slice.begin && slice.begin <= slice.end && slice.end <= count_, "gradient sum: range [", slice.begin, ",",
             slice.end, ") of ", count_, begun_ ? "" : " before begin()");
  if (reducer_ == nullptr) return;
  if (slice.count() > 0) {
    waiting_.push_back(slice);
    final_ = backend_.record();
  }
  for (size_t i = 0; i < waiting_.size();) {
    if (waiting_[i].end < final_from_) {
      ++i;
      continue;
    }
    final_from_ = std::min(final_from_, waiting_[i].begin);
    waiting_[i] = waiting_.back();
    waiting_.pop_back();
    i = 0;  // an earlier one may touch it now
  }
  pump();
}

bool GradSync::pump() {
  while (true) {
    const auto done = static_cast<size_t>(reducer_->advance() - completed_before_);
    if (done > done_) {
      const double t = now_s();
      for (; done_ < done; ++done_) trace_[done_].done_s = t;
    }
    if (started_ == trace_.size() || trace_[started_].slice.begin < final_from_) break;
    const auto kept = shares_.empty() ? std::span<const Slice>() : std::span(kept_).subspan(started_ * shares_.size(), shares_.size());
    if (!reducer_->start(grads_.slice(trace_[started_].slice), kept, final_)) break;
    trace_[started_++].started_s = now_s();
  }
  return done_ == trace_.size();
}

Slice GradSync::finish(Tensor grads) {
  if (!begun_) begin(grads);
  LODE_CHECK(grads.bytes() == grads_.bytes(), "gradient sum: finished with other memory than it began with");
  begun_ = false;
  final_from_ = 0;
  final_ = backend_.record();
  if (reducer_ == nullptr || pump()) return own_;
  const auto phase = Watchdog::Phase(watchdog_, {"gradient all-reduce", static_cast<int64_t>(grads.size_bytes())});
  Patience patience;
  size_t moved = started_ + done_;
  while (!pump()) {
    if (started_ + done_ == moved)
      patience.pause();
    else
      patience = Patience();
    moved = started_ + done_;
  }
  return own_;
}

void GradSync::share(ParamStore& params) {
  if (shares_.empty()) return;
  const Tensor masters = params.masters();
  LODE_CHECK(masters.count() == count_, "sharing ", masters.count(), " parameters, the gradient has ", count_);
  comm_->all_gather(masters.slice(own_), masters, counts_).wait();
  params.refresh(backend_);
}

}  // namespace lodestone
