// Files that are read whole and written so that a crash leaves the old state or the new one, never a half.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/handle.h"

struct XXH3_state_s;

namespace lodestone {

inline int close_descriptor(int fd) { return ::close(fd); }
using Descriptor = Handle<int, close_descriptor, -1>;

/// Whether an open file is still the one of this name: another job may have renamed or removed it meanwhile.
bool is_file_of(int descriptor, const std::filesystem::path& path);

/// Whether something has this name. Throws Error (usage, "missing") for a name that nothing can have, Error (storage) when that cannot
/// be found out, e.g. without permission.
bool path_exists(const std::filesystem::path& path);

/// A file opened for reading at offsets. Reads are retried after interruptions and short reads; a file that ends early or
/// a device error is an Error, never a short result. (Reading, unlike mapping, survives a file that shrinks meanwhile.)
class InputFile {
 public:
  /// Throws Error (exit_code, "missing") when the file cannot be opened or is not a regular file (a FIFO is not waited for),
  /// Error (resource, "F15") when descriptors are used up.
  InputFile(std::filesystem::path path, ExitCode exit_code);
  uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }
  /// Fills `bytes` from `offset`. Throws Error (storage, "F37") on a device error or an early end.
  void read(uint64_t offset, std::span<std::byte> bytes) const;

 private:
  std::filesystem::path path_;
  Descriptor descriptor_;
  uint64_t size_ = 0;
};

/// The whole content of a file of at most `limit` bytes. Throws Error (exit_code) when it is missing or larger.
std::string read_text_file(const std::filesystem::path& path, size_t limit, ExitCode exit_code);

/// A new file that did not exist before. Without a successful finish() the destructor removes it.
class OutputFile {
 public:
  /// Throws Error (storage) when it exists or cannot be created.
  explicit OutputFile(std::filesystem::path path);
  /// Takes over an empty file that is open for writing.
  OutputFile(std::filesystem::path path, Descriptor opened) : path_(std::move(path)), descriptor_(std::move(opened)) {}
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Throws Error (storage, "F19") when the disk or a quota is full or the device fails.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Forces the bytes to the device and closes. Throws Error (storage, "F20") when that fails: the file is then lost.
  void finish();

 private:
  std::filesystem::path path_;
  Descriptor descriptor_;
  bool finished_ = false;
};

/// New file `path` with this content, on the device when the call returns. Not atomic: for files of an unpublished folder.
void write_new_file(const std::filesystem::path& path, std::string_view text);
/// Replaces or makes `path` in one step: temporary file beside it, of a name of its own, fsync, rename, fsync of the folder.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);
/// Copies the bytes of `from` into the new file `to`, on the device when the call returns.
void copy_file_durably(const std::filesystem::path& from, const std::filesystem::path& to);

/// Makes folder `path` and its parents. Throws Error (storage, "F21").
void make_folder(const std::filesystem::path& path);
/// Forces the names in `folder` to the device. Throws Error (storage, "F20").
void sync_folder(const std::filesystem::path& folder);
/// Forces every folder below `folder`, and itself, to the device.
void sync_folder_tree(const std::filesystem::path& folder);
/// Renames within one file system. Throws Error (storage, "F19").
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);
/// Finds out before the first step whether files can be written, renamed and removed in `folder` (made if missing), under names that no
/// other job uses. Throws Error (storage, "F21") naming what failed; F15 and F19 when descriptors are used up or the disk is full.
void check_writable(const std::filesystem::path& folder);

enum class IfExists : uint8_t { refuse, replace };

/// Publishes the finished folder `temporary` under the name `path`: files and folders to the device, rename, parent folder
/// to the device. With replace an existing `path` is exchanged in one step and removed afterwards; a file system that cannot exchange,
/// such as NFS, takes two renames, and a crash between them leaves the old folder beside `path` as the name of `temporary` with the
/// extension .old, which the next Temporary of `path` removes once there is a new one. A failure puts it back. Two jobs that publish one
/// path never mix, provided that their temporaries differ.
void publish_folder(const std::filesystem::path& temporary, const std::filesystem::path& path, IfExists if_exists);

/// XXH3-64, the checksum of checkpoints; adding bytes in pieces gives the same value as in one piece.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;
  void add(std::span<const std::byte> bytes);
  uint64_t value() const;

 private:
  XXH3_state_s* state_;
};
uint64_t checksum(std::span<const std::byte> bytes);
inline uint64_t checksum(std::string_view text) { return checksum(std::as_bytes(std::span(text))); }
/// 16 lower-case hexadecimal digits.
std::string hex64(uint64_t value);

}  // namespace lodestone
