#include "comm/checked_comm.h"

#include <vector>

namespace lodestone {

namespace {

enum class Verb : int64_t { all_reduce, all_gather, reduce_scatter, broadcast, barrier, split };

/// One call, as numbers that can be gathered.
struct Call {
  int64_t number = 0;
  Verb verb = Verb::barrier;
  int64_t count = 0;        // elements, of the whole vector for gathers and scatters
  int64_t dtype = -1;       // DType
  int64_t argument = 0;     // Reduce, or the root
  int64_t counts_hash = 0;  // of the per-rank counts
};
constexpr int64_t fields = 6;
static_assert(sizeof(Call) == fields * sizeof(int64_t));

bool same(const Call& a, const Call& b) {
  return a.number == b.number && a.verb == b.verb && a.count == b.count && a.dtype == b.dtype && a.argument == b.argument &&
         a.counts_hash == b.counts_hash;
}

std::string describe(const Call& c) {
  static constexpr std::array<const char*, 6> verbs{"all_reduce", "all_gather", "reduce_scatter", "broadcast", "barrier", "split"};
  static constexpr std::array<const char*, 3> operations{"sum", "max", "min"};
  std::string text = verbs[static_cast<size_t>(c.verb)];
  if (c.verb == Verb::all_reduce) text += cat(" ", operations[static_cast<size_t>(c.argument)]);
  if (c.dtype >= 0) text += cat(" of ", c.count, " ", name_of(static_cast<DType>(c.dtype)));
  if (c.verb == Verb::broadcast) text += cat(" from root ", c.argument);
  if (c.counts_hash != 0) text += cat(" with counts #", static_cast<uint64_t>(c.counts_hash) % 1'000'000);
  return cat(text, " (call ", c.number, ")");
}

/// FNV-1a over the bytes; never 0, which means "no counts".
int64_t hash(std::span<const int64_t> counts) {
  uint64_t h = 14695981039346656037u;
  for (const std::byte b : std::as_bytes(counts)) h = (h ^ static_cast<uint64_t>(b)) * 1099511628211u;
  return static_cast<int64_t>(h | 1);
}

class CheckedComm final : public Communicator {
 public:
  /// Without `control`, `inner` is a host plane.
  CheckedComm(std::unique_ptr<Communicator> inner, std::unique_ptr<Communicator> control)
      : inner_(std::move(inner)), control_(std::move(control)) {
    calls_.resize(static_cast<size_t>(inner_->size()));
    calls_per_rank_.assign(calls_.size(), fields);
  }

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  bool in_stream() const override { return inner_->in_stream(); }
  std::unique_ptr<Communicator> split(int colour) override {
    agree({.verb = Verb::split});
    return std::make_unique<CheckedComm>(inner_->split(colour), control_ == nullptr ? nullptr : control_->split(colour));
  }
  Pending all_reduce(ConstTensor in, Tensor out, Reduce op) override {
    agree({.verb = Verb::all_reduce, .count = in.count(), .dtype = static_cast<int64_t>(in.dtype()), .argument = static_cast<int64_t>(op)});
    return inner_->all_reduce(in, out, op);
  }
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    agree({.verb = Verb::all_gather, .count = out.count(), .dtype = static_cast<int64_t>(in.dtype()), .counts_hash = hash(counts)});
    return inner_->all_gather(in, out, counts);
  }
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    agree({.verb = Verb::reduce_scatter, .count = in.count(), .dtype = static_cast<int64_t>(in.dtype()), .counts_hash = hash(counts)});
    return inner_->reduce_scatter(in, out, counts);
  }
  Pending broadcast(Tensor data, int root) override {
    agree({.verb = Verb::broadcast, .count = data.count(), .dtype = static_cast<int64_t>(data.dtype()), .argument = root});
    return inner_->broadcast(data, root);
  }
  void barrier() override {
    agree({.verb = Verb::barrier});
    inner_->barrier();
  }

 protected:
  // The Pending of a verb belongs to the communicator inside.
  void wait(std::span<std::byte, 16>) override {}
  bool test(std::span<std::byte, 16>) override { return true; }

 private:
  void agree(Call call) {
    call.number = next_number_++;
    const ConstTensor mine(reinterpret_cast<const std::byte*>(&call), DType::i64, Shape{fields});
    const Tensor all(reinterpret_cast<std::byte*>(calls_.data()), DType::i64, Shape{fields * static_cast<int64_t>(calls_.size())});
    (control_ == nullptr ? *inner_ : *control_).all_gather(mine, all, calls_per_rank_).wait();
    for (size_t r = 1; r < calls_.size(); ++r) {
      if (same(calls_[0], calls_[r])) continue;
      throw Error(ExitCode::internal, "F08",
                  cat("ranks call different collectives: rank 0 ", describe(calls_[0]), ", rank ", r, " ", describe(calls_[r])),
                  "find what makes these ranks take different branches; report it with the command that caused it");
    }
  }

  std::unique_ptr<Communicator> inner_, control_;
  std::vector<Call> calls_;
  std::vector<int64_t> calls_per_rank_;
  int64_t next_number_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> make_checked_comm(std::unique_ptr<Communicator> inner) {
  return std::make_unique<CheckedComm>(std::move(inner), nullptr);
}

std::unique_ptr<Communicator> make_checked_comm(std::unique_ptr<Communicator> inner, std::unique_ptr<Communicator> control) {
  return std::make_unique<CheckedComm>(std::move(inner), std::move(control));
}

}  // namespace lodestone
