#include "comm/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "core/error.h"

namespace lodestone {

namespace {

constexpr int unknown_width = 80;

int width_of(int fd) {
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : unknown_width;
}

bool is_pipe(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

/// The terminal that is `fd` of the process that started this one, or "".
std::string terminal_of_parent(int fd) {
  std::error_code failure;
  const std::string target = std::filesystem::read_symlink(cat("/proc/", getppid(), "/fd/", fd), failure).string();
  return target.starts_with("/dev/pts/") || target.starts_with("/dev/tty") ? target : "";
}

}  // namespace

int terminal_columns(int fd) {
  const bool terminal = isatty(fd) == 1;
  if (std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr) return terminal ? width_of(fd) : 0;
  if (!terminal && !is_pipe(fd)) return 0;
  const std::string shown_on = terminal_of_parent(fd);
  if (shown_on.empty()) return 0;
  const int opened = open(shown_on.c_str(), O_RDONLY | O_NOCTTY | O_CLOEXEC);
  if (opened < 0) return unknown_width;
  const int width = width_of(opened);
  close(opened);
  return width;
}

std::string line_start(int fd) { return terminal_columns(fd) > 0 ? "\r\033[K" : ""; }

}  // namespace lodestone
