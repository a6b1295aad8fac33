// Tells whether a path still names the file, as it was, that was looked at first.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <optional>

namespace lodestone {

struct FileIdentity {
  uint64_t device = 0, inode = 0;
  int64_t size = 0, changed_s = 0, changed_ns = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// Nothing where there is no such file, or it cannot be looked at.
inline std::optional<FileIdentity> file_identity(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  return FileIdentity{info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

}  // namespace lodestone
