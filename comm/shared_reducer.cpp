// Pieces through a ring of slots in shared memory.
//
// Piece k uses slot k % slots of every rank. Rank r owns share r of each piece (the W shares are contiguous). Stages,
// each of which a rank enters when counters of the others allow it:
//   publish  copy the shares of others from the gradient into r's slot        needs: all ranks have collected piece k - slots
//   reduce   add share r of all slots, in rank order, to r's gradient; put the sum into r's slot    needs: all published k
//   cross    with several hosts: sum share r over the hosts, in r's slot, by a non-blocking all-reduce
//   collect  copy the sums of the other shares from their owners' slots       needs: all reduced and crossed k
// A rank that keeps only a part of a piece collects that part alone.
// The ring stays in the cache; main memory sees each gradient about twice, as with gradients that lie in the window themselves.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <new>
#include <span>
#include <vector>

#include "comm/piece_reducer.h"
#include "comm/shared_memory.h"
#include "core/round_up.h"

namespace lodestone {

namespace {

constexpr size_t slots = 8;
constexpr size_t line = 64;

/// Pieces that one rank has passed through each stage; written by that rank, read by all. Each on its own cache line.
struct Counters {
  alignas(line) std::atomic<int64_t> published{0};
  alignas(line) std::atomic<int64_t> reduced{0};  // and crossed
  alignas(line) std::atomic<int64_t> collected{0};
};
static_assert(std::atomic<int64_t>::is_always_lock_free);

/// target = sum over ranks of sources, in rank order; copy = target.
template <class T>
void add_in_order(std::span<const std::byte* const> sources, size_t n, T* target, T* copy) {
  constexpr size_t block = 512;  // fits the first-level cache
  std::array<T, block> sum{};
  for (size_t begin = 0; begin < n; begin += block) {
    const size_t m = std::min(block, n - begin);
    std::memcpy(sum.data(), sources[0] + begin * sizeof(T), m * sizeof(T));
    for (size_t q = 1; q < sources.size(); ++q) {
      const T* const term = reinterpret_cast<const T*>(sources[q]) + begin;
      for (size_t i = 0; i < m; ++i) sum[i] += term[i];
    }
    std::memcpy(target + begin, sum.data(), m * sizeof(T));
    std::memcpy(copy + begin, sum.data(), m * sizeof(T));
  }
}

class SharedReducer final : public PieceReducer {
 public:
  SharedReducer(Communicator& host, Backend& backend, int rank, std::unique_ptr<SharedMemory> memory, size_t piece_bytes,
                std::unique_ptr<Communicator> across)
      : backend_(backend),
        memory_(std::move(memory)),
        across_(std::move(across)),
        place_(static_cast<size_t>(rank)),
        piece_bytes_(piece_bytes),
        rank_(static_cast<size_t>(host.rank())),
        ranks_(static_cast<size_t>(host.size())),
        sources_(ranks_) {
    new (memory_->segment(host.rank())) Counters;
    host.barrier();
  }

  static size_t segment_bytes(size_t piece_bytes) { return sizeof(Counters) + slots * piece_bytes; }

  bool start(Tensor piece, std::span<const Slice> kept) override {
    LODE_CHECK(piece.size_bytes() <= piece_bytes_ && (piece.dtype() == DType::f32 || piece.dtype() == DType::f64),
               "shared reduce: a piece ", piece.shape(), " ", name_of(piece.dtype()), ", room for ", piece_bytes_, " bytes");
    if (published_ - collected_ == static_cast<int64_t>(slots)) return false;
    if (!all_at(&Counters::collected, published_ + 1 - static_cast<int64_t>(slots))) return false;
    backend_.wait_for(backend_.record());
    piece_of(published_) = piece;
    const auto element = static_cast<int64_t>(size_of(piece.dtype()));
    kept_of(published_) =
        kept.empty() ? Slice{0, static_cast<int64_t>(piece.size_bytes())} : Slice{kept[place_].begin * element, kept[place_].end * element};
    for (size_t q = 0; q < ranks_; ++q) {
      if (q == rank_) continue;
      const Slice s = share(piece, q);
      std::memcpy(slot(rank_, published_) + s.begin, piece.bytes() + s.begin, static_cast<size_t>(s.count()));
    }
    mine().published.store(++published_, std::memory_order_release);
    return true;
  }

  int64_t advance() override {
    bool moved = true;
    while (moved) {
      moved = false;
      if (collected_ < reduced_ && all_at(&Counters::reduced, collected_ + 1)) {
        const Tensor piece = piece_of(collected_);
        for (size_t q = 0; q < ranks_; ++q)
          if (q != rank_ || across_ != nullptr) collect_share(piece, q);
        mine().collected.store(++collected_, std::memory_order_release);
        moved = true;
      }
      if (added_ < published_ && all_at(&Counters::published, added_ + 1)) {
        const Tensor piece = piece_of(added_);
        if (piece.dtype() == DType::f32)
          reduce_share<float>(piece);
        else
          reduce_share<double>(piece);
        if (across_ != nullptr) cross(piece);
        ++added_;
        moved = true;
      }
      if (reduced_ < added_ && crossing(reduced_).test()) {
        mine().reduced.store(++reduced_, std::memory_order_release);
        moved = true;
      }
    }
    return collected_;
  }

 private:
  Counters& counters(size_t rank) const { return *std::launder(reinterpret_cast<Counters*>(memory_->segment(static_cast<int>(rank)))); }
  Counters& mine() const { return counters(rank_); }
  Tensor& piece_of(int64_t k) { return pieces_[static_cast<size_t>(k) % slots]; }
  Slice& kept_of(int64_t k) { return kept_[static_cast<size_t>(k) % slots]; }
  Pending& crossing(int64_t k) { return crossings_[static_cast<size_t>(k) % slots]; }
  std::byte* slot(size_t rank, int64_t k) const {
    return memory_->segment(static_cast<int>(rank)) + sizeof(Counters) + static_cast<size_t>(k) % slots * piece_bytes_;
  }

  bool all_at(std::atomic<int64_t> Counters::*stage, int64_t pieces) const {
    for (size_t q = 0; q < ranks_; ++q)
      if ((counters(q).*stage).load(std::memory_order_acquire) < pieces) return false;
    return true;
  }

  /// Bytes of share q of a piece: cut at cache lines, so that no two ranks write the same line of a slot.
  Slice share(Tensor piece, size_t q) const {
    const size_t lines = (piece.size_bytes() + line - 1) / line;
    const auto cut = [&](size_t at) { return static_cast<int64_t>(std::min(lines * at / ranks_ * line, piece.size_bytes())); };
    return {cut(q), cut(q + 1)};
  }

  /// Copies what this rank keeps of share q of the piece being collected.
  void collect_share(Tensor piece, size_t q) {
    const Slice s = share(piece, q), kept = kept_of(collected_);
    const int64_t begin = std::max(s.begin, kept.begin), end = std::min(s.end, kept.end);
    if (begin < end) std::memcpy(piece.bytes() + begin, slot(q, collected_) + begin, static_cast<size_t>(end - begin));
  }

  template <class T>
  void reduce_share(Tensor piece) {
    const Slice s = share(piece, rank_);
    for (size_t q = 0; q < ranks_; ++q) sources_[q] = (q == rank_ ? piece.bytes() : slot(q, added_)) + s.begin;
    T* const target = reinterpret_cast<T*>(piece.bytes() + s.begin);
    T* const copy = reinterpret_cast<T*>(slot(rank_, added_) + s.begin);
    add_in_order<T>(sources_, static_cast<size_t>(s.count()) / sizeof(T), target, copy);
  }

  /// Starts the sum of this rank's share over the hosts.
  void cross(Tensor piece) {
    const Slice s = share(piece, rank_);
    const int64_t count = s.count() / static_cast<int64_t>(size_of(piece.dtype()));
    const Tensor sum(slot(rank_, added_) + s.begin, piece.dtype(), Shape{count});
    crossing(added_) = across_->all_reduce(sum, sum, Reduce::sum);
  }

  Backend& backend_;
  std::unique_ptr<SharedMemory> memory_;
  std::unique_ptr<Communicator> across_;  // null with one host
  size_t place_;                          // among all ranks
  size_t piece_bytes_, rank_, ranks_;     // rank_ of ranks_ on this host
  std::array<Tensor, slots> pieces_;
  std::array<Slice, slots> kept_;  // bytes of each piece that this rank keeps
  std::array<Pending, slots> crossings_;
  std::vector<const std::byte*> sources_;  // of the share being added, in rank order
  int64_t published_ = 0, added_ = 0, reduced_ = 0, collected_ = 0;
};

}  // namespace

std::unique_ptr<PieceReducer> make_shared_reducer(Communicator& host, Backend& backend, int rank, size_t piece_bytes,
                                                  std::unique_ptr<Communicator> across) {
  const size_t rounded = round_up(piece_bytes, line);
  std::unique_ptr<SharedMemory> memory = SharedMemory::make(host, SharedReducer::segment_bytes(rounded));
  if (memory == nullptr) return nullptr;
  return std::make_unique<SharedReducer>(host, backend, rank, std::move(memory), rounded, std::move(across));
}

}  // namespace lodestone
