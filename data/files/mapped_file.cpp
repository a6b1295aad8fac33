#include "data/files/mapped_file.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <utility>

namespace lodestone {

/// A mapping as the handler sees it. Entries are never freed, only used again: a handler may be looking at any of them.
struct MappedFile::Entry {
  std::atomic<std::byte*> begin{nullptr};  // null: free
  std::atomic<size_t> size{0};
  std::atomic<bool> cut{false};
  Entry* next = nullptr;  // never changes once the entry is in the list
};

/// All mappings of the process: a signal's handler can reach nothing but what is process-wide.
struct MappedFileRegistry {
  using Entry = MappedFile::Entry;
  static std::atomic<Entry*> entries;
  static std::mutex making;        // of entries; the handler does without
  static struct sigaction before;  // what SIGBUS did before there was a mapping

  static Entry* add(std::byte* begin, size_t size);
  static void remove(Entry* entry);
  static void on_bus_error(int, siginfo_t* info, void*);
};

std::atomic<MappedFileRegistry::Entry*> MappedFileRegistry::entries{nullptr};
std::mutex MappedFileRegistry::making;
struct sigaction MappedFileRegistry::before {};

MappedFileRegistry::Entry* MappedFileRegistry::add(std::byte* begin, size_t size) {
  const std::lock_guard lock(making);
  if (entries.load() == nullptr) {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGBUS, &action, &before);
  }
  Entry* entry = entries.load();
  while (entry != nullptr && entry->begin.load() != nullptr) entry = entry->next;
  const bool is_new = entry == nullptr;
  if (is_new) entry = new Entry;
  entry->cut = false;
  entry->size = size;
  entry->begin = begin;
  if (is_new) {
    entry->next = entries.load();
    entries = entry;
  }
  return entry;
}

void MappedFileRegistry::remove(Entry* entry) {
  const std::lock_guard lock(making);
  entry->begin = nullptr;
}

/// Raised by the reading thread itself, between two of its instructions. mmap is a plain system call: it takes no lock of this process.
void MappedFileRegistry::on_bus_error(int, siginfo_t* info, void*) {
  auto* const address = static_cast<std::byte*>(info->si_addr);
  for (Entry* entry = entries; entry != nullptr; entry = entry->next) {
    std::byte* const begin = entry->begin;
    const size_t size = entry->size;
    if (begin == nullptr || address < begin || address >= begin + size) continue;
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t lost = static_cast<size_t>(address - begin) / page * page;
    entry->cut = true;
    if (mmap(begin + lost, size - lost, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) return;
    break;
  }
  sigaction(SIGBUS, &before, nullptr);  // not ours: the instruction runs again and meets what was there before
}

MappedFile::MappedFile(int descriptor, size_t size_bytes) {
  void* const base = mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  if (base == MAP_FAILED) return;
  bytes_ = {static_cast<std::byte*>(base), size_bytes};
  entry_ = MappedFileRegistry::add(static_cast<std::byte*>(base), size_bytes);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), entry_(std::exchange(other.entry_, nullptr)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(entry_, other.entry_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!valid()) return;
  MappedFileRegistry::remove(entry_);
  munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

bool MappedFile::cut() const { return entry_ != nullptr && entry_->cut.load(std::memory_order_relaxed); }

SignalStack::SignalStack() {
  const auto size = static_cast<size_t>(sysconf(_SC_SIGSTKSZ));  // of this processor: frames with AMX state take 11 KB
  memory_ = std::make_unique<std::byte[]>(size);
  stack_t stack{};
  stack.ss_sp = memory_.get();
  stack.ss_size = size;
  sigaltstack(&stack, &before_);
}

SignalStack::~SignalStack() { sigaltstack(&before_, nullptr); }

}  // namespace lodestone
