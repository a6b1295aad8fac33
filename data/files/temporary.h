// Temporary: a file or folder under way, whose name no other job shares and whose remains after a crash are known as such.
#pragma once

#include "data/files/durable.h"

namespace lodestone {

/// Lies beside `target` as NAME.PID-N.lodestone.tmp and is locked while it is under way: two jobs that write one target never mix, and what
/// holds no lock was left by a crash. Making one removes what was left beside the same target, and what publish_folder() left of a folder
/// that it replaced. Where the file system has no locks nothing is removed, and no folder where it locks only files, as NFS does.
class Temporary {
 public:
  enum class Kind : uint8_t { file, folder };
  /// Throws Error (storage).
  Temporary(const std::filesystem::path& target, Kind kind);
  /// Removes it, unless released.
  ~Temporary();
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Another descriptor of the file, which keeps it locked too.
  Descriptor duplicate() const;
  /// It has another name now.
  void release() { released_ = true; }

 private:
  std::filesystem::path path_;
  Descriptor descriptor_;
  bool released_ = false;
};

}  // namespace lodestone
