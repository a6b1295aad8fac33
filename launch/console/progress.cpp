#include "launch/console/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "comm/terminal.h"
#include "core/error.h"
#include "launch/console/log.h"

namespace lodestone {

namespace {

constexpr size_t longest_bar = 24, shortest_bar = 8, around_bar = 3;  // " [" and "]"

/// Columns that the text takes at most: two for each character that is not ASCII.
size_t width(std::string_view text) {
  size_t columns = 0;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    columns += u < 0x80 ? 1 : u >= 0xc0 ? 2 : 0;
  }
  return columns;
}

/// The longest beginning, in whole characters, that takes no more than so many columns.
std::string cut(const std::string& text, size_t columns) {
  size_t end = text.size();
  while (width(std::string_view(text).substr(0, end)) > columns) {
    --end;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  }
  return text.substr(0, end);
}

std::string bar(int64_t done, int64_t total, size_t length) {
  const size_t filled =
      total > 0 ? static_cast<size_t>(static_cast<double>(length) * static_cast<double>(done) / static_cast<double>(total)) : length;
  return cat(" [", std::string(std::min(filled, length), '#'), std::string(length - std::min(filled, length), '.'), ']');
}

/// "WHAT DONE/TOTAL" and the rest of it, with the bar between.
std::string joined(const std::string& head, const std::string& middle, std::span<const std::string> figures, const std::string& left) {
  std::string line = head + middle;
  for (const std::string& figure : figures) line += cat("  ", figure);
  return line + cat("  left ", left);
}

}  // namespace

std::string progress_line(const std::string& what, int64_t done, int64_t total, std::span<const std::string> figures,
                          const std::string& left, int columns) {
  const size_t room = static_cast<size_t>(std::max(columns, 2)) - 1;  // a full last column would begin a new line on some terminals
  const std::string head = cat(what, ' ', done, '/', total);
  while (!figures.empty() && width(joined(head, "", figures, left)) > room) figures = figures.first(figures.size() - 1);
  const size_t taken = width(joined(head, "", figures, left));
  if (taken > room) return cut(joined(head, "", figures, left), room);
  const size_t free = room - taken;
  if (free < shortest_bar + around_bar) return joined(head, "", figures, left);
  return joined(head, bar(done, total, std::min(longest_bar, free - around_bar)), figures, left);
}

Progress::Progress(std::string what, int64_t total, bool enabled)
    : what_(std::move(what)), total_(total), enabled_(enabled), start_s_(now_s()) {}

Progress::~Progress() { clear(); }

void Progress::show(int64_t done, const std::vector<std::string>& figures, Plain plain) {
  const int columns = enabled_ ? terminal_columns(STDOUT_FILENO) : 0;
  if (!enabled_ || (columns == 0 && plain == Plain::skip)) return;
  if (first_ < 0) {
    first_ = done - 1;
    start_s_ = now_s() - 1e-9;
  }
  shown_ = done;
  const int64_t did = done - first_ - 1;
  const std::string left =
      did > 0 ? duration_text((now_s() - start_s_) / static_cast<double>(did) * static_cast<double>(total_ - done)) : "?";
  open_ = columns > 0;
  if (open_)
    std::printf("\r\033[K%s", progress_line(what_, done, total_, figures, left, columns).c_str());
  else
    std::printf("%s\n", joined(cat(what_, ' ', done, '/', total_), "", figures, left).c_str());
  std::fflush(stdout);
}

void Progress::clear() {
  if (!open_) return;
  open_ = false;
  std::fputs(shown_ < total_ ? "\r\033[K" : "\n", stdout);
  std::fflush(stdout);
}

}  // namespace lodestone
