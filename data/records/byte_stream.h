// ByteStream: the bytes of a text file in order, plain or gzip-compressed, never silently fewer than there are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace lodestone {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  /// Fills the front of `out` and returns how much; 0 only at the proven end. Throws Error (data, F33) for damaged gzip,
  /// Error (storage, F37) when the device fails.
  virtual size_t read(std::span<char> out) = 0;
  /// Bytes taken from the file so far: for progress.
  virtual int64_t consumed() const = 0;
};

/// Whether the file starts like gzip. A name that ends in .gz but a content that does not is an Error (data, F33).
bool is_gzip(const std::filesystem::path& file);
/// From byte `begin` of a plain file.
std::unique_ptr<ByteStream> open_plain(const std::filesystem::path& file, int64_t begin);
/// A gzip file of one or more members. Every member's length and CRC must hold, nothing may follow the last, and what
/// expands more than 200-fold beyond its first 64 MiB is refused.
std::unique_ptr<ByteStream> open_gzip(const std::filesystem::path& file);

}  // namespace lodestone
