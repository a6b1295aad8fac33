#include "core/debug/debug_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/round_up.h"

namespace lodestone {

namespace {

constexpr size_t page_bytes = 4096;

constexpr size_t whole_pages(size_t size_bytes) { return round_up(size_bytes, page_bytes); }

/// Null when the system refuses.
std::byte* map_view(int file, size_t size_bytes, int protection) {
  void* const view = mmap(nullptr, size_bytes, protection, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (view == MAP_FAILED) return nullptr;
  madvise(view, size_bytes, MADV_DONTDUMP);  // failing only makes core dumps slow
  return static_cast<std::byte*>(view);
}

}  // namespace

DebugMemory::DebugMemory(size_t size_bytes) : size_bytes_(whole_pages(size_bytes)), free_{{0, size_bytes_}} {
  const int file = memfd_create("lodestone debug device", MFD_CLOEXEC);
  if (file >= 0 && ftruncate(file, static_cast<off_t>(size_bytes_)) == 0) {
    guarded_ = map_view(file, size_bytes_, PROT_NONE);
    writable_ = map_view(file, size_bytes_, PROT_READ | PROT_WRITE);
  }
  if (file >= 0) close(file);
  if (guarded_ != nullptr && writable_ != nullptr) return;
  if (guarded_ != nullptr) munmap(guarded_, size_bytes_);
  if (writable_ != nullptr) munmap(writable_, size_bytes_);
  throw Error(ExitCode::resource, "F14", cat("the system refused twice ", size_bytes_ >> 20, " MiB of addresses for a debug device"),
              "raise `ulimit -v` and `ulimit -f`");
}

DebugMemory::~DebugMemory() {
  munmap(guarded_, size_bytes_);
  munmap(writable_, size_bytes_);
}

std::byte* DebugMemory::take(size_t size_bytes, Content content) {
  const std::lock_guard lock(mutex_);
  const size_t need = whole_pages(size_bytes);
  const auto place = std::find_if(free_.begin(), free_.end(), [&](const auto& range) { return range.second >= need; });
  const auto entry = std::find_if(taken_.begin(), taken_.end(), [](const Taken& t) { return t.size_bytes == 0; });
  if (need < size_bytes || place == free_.end() || entry == taken_.end())
    throw Error(ExitCode::resource, "F14",
                cat("the debug device of ", size_bytes_ >> 20, " MiB and ", most_allocations, " allocations has no ", size_bytes >> 20,
                    " MiB left"),
                "use a smaller model or batch");
  const auto [begin, available] = *place;
  free_.erase(place);
  if (available > need) free_[begin + need] = available - need;
  entry->begin = begin;
  entry->size_bytes = size_bytes;
  entry->used_end = content == Content::zeros ? begin + size_bytes : begin;
  taken_end_ = std::max<size_t>(taken_end_, static_cast<size_t>(entry - taken_.begin()) + 1);
  return guarded_ + begin;
}

void DebugMemory::release(std::byte* data, size_t size_bytes) noexcept {
  const std::lock_guard lock(mutex_);
  const size_t begin = offset_of(data);
  for (Taken& t : taken_)
    if (t.begin == begin && t.size_bytes == size_bytes) t.size_bytes = 0;
  const Range range{begin, whole_pages(size_bytes)};
  if (observer_ == nullptr) return give_back(range);
  released_.push_back({range, observer_->enqueued()});
}

void DebugMemory::end_scope(const Arena& arena, std::byte* released, size_t size_bytes) noexcept {
  if (observer_ != nullptr) observer_->scope_ended(arena, {offset_of(released), size_bytes});
}

DebugMemory::Taken* DebugMemory::taken_at(size_t offset) noexcept {
  const auto end = taken_.begin() + static_cast<std::ptrdiff_t>(taken_end_);
  const auto t = std::find_if(taken_.begin(), end,
                              [&](const Taken& taken) { return offset >= taken.begin && offset - taken.begin < taken.size_bytes; });
  return t == end ? nullptr : &*t;
}

DebugMemory::Range DebugMemory::used_part(Range range) noexcept {
  const std::lock_guard lock(mutex_);
  const Taken* const t = taken_at(range.begin);
  if (t == nullptr || t->used_end <= range.begin) return {};
  return {range.begin, std::min(range.size_bytes, t->used_end - range.begin)};
}

DebugMemory::Range DebugMemory::first_use(Range range) noexcept {
  const std::lock_guard lock(mutex_);
  const size_t range_end = range.begin + range.size_bytes;
  Taken* const t = taken_at(range.begin);
  if (t == nullptr || range_end <= t->used_end) return {};
  const size_t from = std::exchange(t->used_end, range_end);
  return {from, range_end - from};
}

void DebugMemory::reclaim(int64_t done) noexcept {
  const std::lock_guard lock(mutex_);
  std::erase_if(released_, [&](const Released& r) {
    if (r.enqueued > done) return false;
    give_back(r.range);
    return true;
  });
}

void DebugMemory::give_back(Range range) noexcept {
  // Pages that the system keeps would not be zero the next time: such a range is never given out again.
  if (madvise(writable_ + range.begin, range.size_bytes, MADV_REMOVE) != 0) return;
  auto here = free_.emplace(range.begin, range.size_bytes).first;
  const auto next = std::next(here);
  if (next != free_.end() && next->first == here->first + here->second) {
    here->second += next->second;
    free_.erase(next);
  }
  if (here == free_.begin()) return;
  const auto before = std::prev(here);
  if (before->first + before->second != here->first) return;
  before->second += here->second;
  free_.erase(here);
}

bool DebugMemory::contains(const std::byte* guarded, size_t size_bytes) const noexcept {
  if (!guards(guarded)) return false;
  const size_t offset = offset_of(guarded);
  const Range range = allocation_at(offset);
  return size_bytes <= range.size_bytes && offset - range.begin <= range.size_bytes - size_bytes;
}

DebugMemory::Range DebugMemory::allocation_at(size_t offset) const noexcept {
  const size_t end = taken_end_;
  for (size_t i = 0; i < end; ++i) {
    const Range range{taken_[i].begin, taken_[i].size_bytes};
    if (range.begin <= offset && offset - range.begin < range.size_bytes) return range;
  }
  return {};
}

}  // namespace lodestone
