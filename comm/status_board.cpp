#include "comm/status_board.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <new>
#include <string_view>

namespace lodestone {

/// Written by one rank (but for `reported`), read by others at any time: a torn name would only spoil a message.
struct StatusBoard::Entry {
  std::atomic<int> world_rank{0};
  std::atomic<double> beat_s{0};
  std::atomic<int64_t> number{-1};
  std::array<std::atomic<char>, 64> operation{};
  std::atomic<bool> has_left{false};
  std::atomic<bool> reported{false};  // that of rank 0 serves all
};

std::unique_ptr<StatusBoard> StatusBoard::make(Communicator& host, int world_rank) {
  std::unique_ptr<SharedMemory> memory = SharedMemory::make(host, sizeof(Entry));
  if (memory == nullptr) return nullptr;
  std::unique_ptr<StatusBoard> board(new StatusBoard(std::move(memory), host.rank(), host.size()));
  Entry* const mine = new (board->memory_->segment(host.rank())) Entry;
  mine->world_rank = world_rank;
  host.barrier();
  return board;
}

StatusBoard::Entry& StatusBoard::entry(int rank) const { return *std::launder(reinterpret_cast<Entry*>(memory_->segment(rank))); }

void StatusBoard::beat(double now_s) { entry(rank_).beat_s.store(now_s, std::memory_order_relaxed); }

void StatusBoard::show(const char* operation, int64_t number) {
  Entry& mine = entry(rank_);
  mine.number.store(number, std::memory_order_relaxed);
  const std::string_view name = operation == nullptr ? "" : operation;
  const size_t n = std::min(name.size(), mine.operation.size() - 1);
  for (size_t i = 0; i < n; ++i) mine.operation[i].store(name[i], std::memory_order_relaxed);
  mine.operation[n].store('\0', std::memory_order_relaxed);
}

void StatusBoard::leave() { entry(rank_).has_left = true; }

std::optional<int> StatusBoard::lost() const {
  for (int i = 1; i < size_; ++i) {
    const int next = (rank_ + i) % size_;
    if (memory_->held(next)) break;
    if (!entry(next).has_left) return entry(next).world_rank.load(std::memory_order_relaxed);  // said before the lock falls
  }
  return std::nullopt;
}

bool StatusBoard::somebody_left() const {
  for (int r = 0; r < size_; ++r)
    if (r != rank_ && entry(r).has_left) return true;
  return false;
}

bool StatusBoard::first_to_report() { return !entry(0).reported.exchange(true); }

std::string StatusBoard::others(const char* operation, int64_t number, double now_s, double silent_s) const {
  std::string text;
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    const Entry& other = entry(r);
    std::string name;
    for (const std::atomic<char>& c : other.operation) {
      const char letter = c.load(std::memory_order_relaxed);
      if (letter == '\0') break;
      name += letter;
    }
    const double silence_s = now_s - other.beat_s.load(std::memory_order_relaxed);
    const int64_t its_number = other.number.load(std::memory_order_relaxed);
    if (silence_s <= silent_s && name == operation && its_number == number) continue;
    text += cat(text.empty() ? "" : ", ", "rank ", other.world_rank.load(std::memory_order_relaxed));
    if (silence_s > silent_s)
      text += cat(" shows no sign of life for ", std::lround(silence_s), " s");
    else if (name.empty())
      text += " is not waiting for others";
    else if (its_number >= 0)
      text += cat(" waits in ", name, " (collective ", its_number, ")");
    else
      text += cat(" is in ", name);
  }
  return text;
}

}  // namespace lodestone
