#include "launch/console/output.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

namespace lodestone {

namespace {

bool reader_has_left() {
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

}  // namespace

void hold_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})  // open() gives the lowest number that is free
    if (fcntl(stream, F_GETFD) < 0) [[maybe_unused]]
      const int held = open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

std::optional<Error> lost_output() {
  std::cout.flush();
  const bool arrived = std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good();
  if (arrived || reader_has_left()) return std::nullopt;
  return Error(ExitCode::storage, "F19", "not all that was printed could be written: stdout takes no more", "make room where it goes");
}

}  // namespace lodestone
