#include "comm/grad_sync.h"

#include <algorithm>
#include <array>

#include "comm/wait.h"
#include "core/round_up.h"

namespace lodestone {

namespace {

constexpr int64_t line_bytes = 64;  // of a cache
constexpr int64_t cached_piece_bytes = int64_t{1} << 19;
constexpr int64_t smallest_streamed_bytes = int64_t{1} << 20, largest_streamed_bytes = int64_t{32} << 20;
constexpr size_t most_arrivals = 8;

}  // namespace

GradSync::GradSync(const Group& group, Backend& backend, int64_t count, DType dtype, Options options)
    : backend_(backend), watchdog_(options.watchdog), count_(count), dtype_(dtype), own_{0, count} {
  LODE_CHECK(dtype == DType::f32 || dtype == DType::f64, "gradients are reduced in f32 or f64, not ", name_of(dtype));
  LODE_CHECK(options.piece_bytes == 0 || options.piece_bytes >= static_cast<int64_t>(size_of(dtype)), "a piece of ", options.piece_bytes,
             " bytes holds no gradient");
  if (group.size() == 1) return;

  comm_ = group.device.split(0);  // of its own: pieces start at times that differ between ranks
  if (options.update == Update::own_slice) {
    shares_ = cut_shares();
    own_ = shares_[static_cast<size_t>(comm_->rank())];
    for (const Slice s : shares_) counts_.push_back(s.count());
  }
  piece_ = (options.piece_bytes == 0 ? fitting_piece() : options.piece_bytes) / static_cast<int64_t>(size_of(dtype));
  cut_pieces();
  const auto piece_bytes = static_cast<size_t>(piece_) * size_of(dtype);
  if (options.route != Route::communicator && backend.device() == Device::cpu)
    reducer_ = shared_reducer(group.host, options.host, piece_bytes);
  if (reducer_ == nullptr && options.route == Route::shared_memory)
    throw Error(ExitCode::resource, "shared-memory",
                "the ranks share no memory: hosts have different numbers of ranks, or /dev/shm is too small",
                "let the route be chosen automatically, or enlarge /dev/shm");
  if (reducer_ == nullptr) {
    reducer_ = comm_->in_stream() ? make_stream_reducer(*comm_, trace_.size())
                                  : make_comm_reducer(*comm_, backend, shares_.empty() ? 0 : piece_bytes);
    route_name_ = comm_->in_stream() ? "stream" : "communicator";
  }
  if (comm_->in_stream()) cut_arrivals();
  waiting_.reserve(256);
}

// In a stream a piece of n bytes takes about a + n / B: with 25 us and 240 GB/s, of eight GPUs of one host, as long for the first as for 6
// MB. So 32 MiB come to 85 % of B, and are about a layer of BERT-base. A smaller gradient has eight pieces, so that the first ones begin
// early, but none below 1 MiB, which are all start.
int64_t GradSync::fitting_piece() const {
  if (!comm_->in_stream()) return cached_piece_bytes;
  const int64_t eighth = count_ * static_cast<int64_t>(size_of(dtype_)) / 8 + 1;
  return round_up(std::clamp(eighth, smallest_streamed_bytes, largest_streamed_bytes), line_bytes);
}

void GradSync::cut_pieces() {
  for (int64_t end = count_; end > 0;) {
    const int64_t begin = (end - 1) / piece_ * piece_;
    trace_.push_back({{begin, end}});
    for (const Slice s : shares_) {
      const int64_t from = std::clamp(s.begin, begin, end), to = std::clamp(s.end, begin, end);
      kept_.push_back({from - begin, to - begin});
    }
    end = begin;
  }
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
  const int64_t line = line_bytes / static_cast<int64_t>(size_of(dtype_)), lines = (count_ + line - 1) / line, ranks = comm_->size();
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
  if (slice.count() > 0) waiting_.push_back(slice);
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
    if (!reducer_->start(grads_.slice(trace_[started_].slice), kept)) break;
    trace_[started_++].started_s = now_s();
  }
  return done_ == trace_.size();
}

Slice GradSync::finish(Tensor grads) {
  if (!begun_) begin(grads);
  LODE_CHECK(grads.bytes() == grads_.bytes(), "gradient sum: finished with other memory than it began with");
  begun_ = false;
  final_from_ = 0;
  if (reducer_ == nullptr) return own_;
  pump();
  reducer_->close();
  if (pump()) return own_;
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

// Few enough that each is worth its start, and enough that the first layers soon have theirs.
void GradSync::cut_arrivals() {
  const size_t ranks = shares_.size(), parts = std::min(ranks, most_arrivals);
  for (size_t part = 0; part < parts; ++part) {
    const size_t first = ranks * part / parts, last = ranks * (part + 1) / parts;
    Arrival& a = arrivals_.emplace_back(Arrival{{shares_[first].begin, shares_[last - 1].end}, std::vector<int64_t>(ranks), {}});
    for (size_t r = first; r < last; ++r) a.counts[r] = shares_[r].count();
  }
}

void GradSync::share(ParamStore& params) {
  if (shares_.empty()) return;
  const Tensor masters = params.masters();
  LODE_CHECK(masters.count() == count_, "sharing ", masters.count(), " parameters, the gradient has ", count_);
  if (arrivals_.empty()) {
    comm_->all_gather(masters.slice(own_), masters, counts_).wait();
    return params.refresh(backend_);
  }
  for (Arrival& a : arrivals_) {
    const int64_t mine = a.counts[static_cast<size_t>(comm_->rank())];
    a.verb = comm_->all_gather(masters.slice({own_.begin, own_.begin + mine}), masters.slice(a.slice), a.counts);
  }
  arrived_ = 0;
  params.expect([this, &params](int64_t end) { return bring(params, end); });
}

int64_t GradSync::bring(ParamStore& params, int64_t end) {
  for (; arrived_ < arrivals_.size() && arrivals_[arrived_].slice.begin < end; ++arrived_) {
    arrivals_[arrived_].verb.wait();
    params.refresh(backend_, arrivals_[arrived_].slice);
  }
  return arrived_ < arrivals_.size() ? arrivals_[arrived_].slice.begin : count_;
}

}  // namespace lodestone
