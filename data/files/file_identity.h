// Tells whether a path still names the file, as it was, that was looked at first.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <optional>

namespace lodestone {

/// The time is that of the last change of content. That of the last change of the inode would also find content that was changed and
/// dated back, but takes a hard link, a chmod or a backup for a change, and would end runs for nothing; such content still meets checksums.
struct FileIdentity {
  uint64_t device = 0, inode = 0;
  int64_t size = 0, modified_s = 0, modified_ns = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

inline FileIdentity identity_of(const struct stat& info) {
  return {info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

/// Nothing where there is no such file, or it cannot be looked at.
inline std::optional<FileIdentity> file_identity(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  return identity_of(info);
}

}  // namespace lodestone
