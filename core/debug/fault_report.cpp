#include "core/debug/fault_report.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

namespace lodestone {

namespace {

/// A line of text, made and written with async-signal-safe means only. What does not fit is left out.
class Line {
 public:
  Line& operator<<(const char* text) noexcept {
    while (*text != '\0') put(*text++);
    return *this;
  }
  Line& operator<<(size_t number) noexcept {
    std::array<char, 20> digits{};
    size_t count = 0;
    do {
      digits[count++] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    while (count > 0) put(digits[--count]);
    return *this;
  }
  Line& operator<<(int64_t number) noexcept { return *this << static_cast<size_t>(number); }
  ~Line() {
    text_[used_++] = '\n';
    const ssize_t written = ::write(STDERR_FILENO, text_.data(), used_);
    static_cast<void>(written);  // there is nobody else to tell
  }

 private:
  void put(char c) noexcept {
    if (used_ + 1 < text_.size()) text_[used_++] = c;
  }
  std::array<char, 240> text_{};
  size_t used_ = 0;
};

/// A place for one live report. Never freed, only used again: a handler may be looking at any of them.
struct LiveReport {
  std::atomic<const FaultReport*> report{nullptr};
  LiveReport* next = nullptr;  // never changes once the place is in the list
};

/// All reports of the process: a signal's handler can reach nothing but what is process-wide.
struct LiveReports {
  static std::atomic<LiveReport*> places;
  static std::mutex making;        // of places; the handler does without
  static struct sigaction before;  // what SIGSEGV did before there was a report

  static void add(const FaultReport* report);
  static void remove(const FaultReport* report);
  static void on_fault(int signal, siginfo_t* info, void* context);
};

std::atomic<LiveReport*> LiveReports::places{nullptr};
std::mutex LiveReports::making;
struct sigaction LiveReports::before {};

void LiveReports::add(const FaultReport* report) {
  const std::lock_guard lock(making);
  if (places.load() == nullptr) {
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &before);
  }
  LiveReport* place = places.load();
  while (place != nullptr && place->report.load() != nullptr) place = place->next;
  if (place == nullptr) {
    place = new LiveReport;
    place->next = places.load();
    places = place;
  }
  place->report = report;
}

void LiveReports::remove(const FaultReport* report) {
  const std::lock_guard lock(making);
  for (LiveReport* place = places; place != nullptr; place = place->next)
    if (place->report.load() == report) place->report = nullptr;
}

void LiveReports::on_fault(int signal, siginfo_t* info, void* context) {
  const bool of_an_access = info->si_code > 0;  // and not sent by a process, which has no address
  for (LiveReport* place = places; of_an_access && place != nullptr; place = place->next) {
    const FaultReport* const report = place->report;
    if (report == nullptr || !report->memory().guards(info->si_addr)) continue;
    report->write(static_cast<const std::byte*>(info->si_addr));
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    sigaction(SIGSEGV, &standard, nullptr);
    raise(SIGSEGV);  // taken as soon as this returns
    return;
  }
  if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction(signal, info, context);
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return before.sa_handler(signal);
  sigaction(SIGSEGV, &before, nullptr);  // the instruction runs again and meets what was there before
  if (!of_an_access) raise(SIGSEGV);
}

}  // namespace

void History::enqueue(const char* name, std::span<const DebugMemory::Range> operands) noexcept {
  Operation& o = operations_[static_cast<size_t>(enqueued_) % length];
  const size_t count = std::min(operands.size(), most_operands);
  o.operand_count = 0;
  o.name = name;
  for (size_t i = 0; i < count; ++i) {
    o.operands[i].begin = operands[i].begin;
    o.operands[i].size_bytes = operands[i].size_bytes;
  }
  o.operand_count = count;
  ++enqueued_;
}

int64_t History::oldest() const noexcept { return std::max<int64_t>(enqueued_ - static_cast<int64_t>(length), 0); }

void History::write() const noexcept {
  Line() << "debug backend: " << done() << " of " << enqueued() << " operations are done, the last ones are";
  for (int64_t number = oldest(); number < enqueued(); ++number) {
    const Operation& o = operation(number);
    Line line;
    line << "  " << number << " " << o.name << (number < done() ? ", done" : ", enqueued");
    if (o.operand_count > 0)
      line << ", first operand at offset " << o.operands[0].begin.load() << ", " << o.operands[0].size_bytes.load() << " bytes";
  }
}

void History::write_owner(size_t offset) const noexcept {
  for (int64_t number = enqueued() - 1; number >= oldest(); --number) {
    const Operation& o = operation(number);
    for (size_t i = 0; i < o.operand_count; ++i) {
      const size_t begin = o.operands[i].begin, size_bytes = o.operands[i].size_bytes;
      if (offset < begin || offset - begin >= size_bytes) continue;
      Line() << "debug backend: tensor " << i + 1 << " of operation " << number << " " << o.name << " lies there, from offset " << begin
             << ", " << size_bytes << " bytes";
      return;
    }
  }
  Line() << "debug backend: no tensor of these operations lies there";
}

FaultReport::FaultReport(const DebugMemory& memory, const History& history) : memory_(memory), history_(history) {
  stack_t stack{};
  if (sigaltstack(nullptr, &stack) == 0 && (stack.ss_flags & SS_DISABLE) != 0) {
    const auto size = static_cast<size_t>(sysconf(_SC_SIGSTKSZ));  // of this processor: frames with AMX state take 11 KB
    stack_ = std::make_unique<std::byte[]>(size);
    stack = {};
    stack.ss_sp = stack_.get();
    stack.ss_size = size;
    sigaltstack(&stack, nullptr);
  }
  LiveReports::add(this);
}

FaultReport::~FaultReport() {
  LiveReports::remove(this);
  stack_t stack{};
  if (stack_ == nullptr || sigaltstack(nullptr, &stack) != 0 || stack.ss_sp != stack_.get()) return;
  stack.ss_flags = SS_DISABLE;
  sigaltstack(&stack, nullptr);
}

void FaultReport::write(const std::byte* address) const noexcept {
  const size_t offset = memory_.offset_of(address);
  const DebugMemory::Range allocation = memory_.allocation_at(offset);
  {
    Line line;
    line << "debug backend: the host touched device memory at offset " << offset;
    if (allocation.size_bytes == 0)
      line << " (of no allocation)";
    else
      line << " (of the allocation at " << allocation.begin << ", " << allocation.size_bytes << " bytes)";
  }
  history_.write();
  history_.write_owner(offset);
}

void abort_with_history(const char* what, int64_t operation, const History& history) noexcept {
  Line() << "debug backend: " << what << " (operation " << operation << ")";
  history.write();
  std::abort();
}

}  // namespace lodestone
