#include "comm/mpi_segments.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string_view>

namespace lodestone {

MpiSegments MpiSegments::of_this_process() {
  constexpr std::string_view kind = "/dev/shm/vader_segment.";
  MpiSegments found;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {  // "7f00-7f01 rw-s 00000000 00:15 12   /dev/shm/vader_segment.host.0.1.0"
    const size_t begin = line.find(kind);
    if (begin == std::string::npos || line.ends_with(" (deleted)")) continue;
    const std::string path = line.substr(begin);
    if (std::find(found.paths_.begin(), found.paths_.end(), path) == found.paths_.end()) found.paths_.push_back(path);
  }
  return found;
}

void MpiSegments::hide() const {
  for (const std::string& path : paths_) unlink(path.c_str());
}

void MpiSegments::show() const {
  for (const std::string& path : paths_)
    if (const int file = open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600); file >= 0) close(file);
}

}  // namespace lodestone
