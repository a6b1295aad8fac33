// ByteStream: the bytes of a text file in order, plain or gzip-compressed, never silently fewer than there are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

struct z_stream_s;

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

/// The other way: compresses bytes, piece after piece, into one gzip member. Fast rather than small: level 1.
class GzipPacker {
 public:
  GzipPacker();
  ~GzipPacker();
  GzipPacker(const GzipPacker&) = delete;
  GzipPacker& operator=(const GzipPacker&) = delete;

  enum class Piece : uint8_t { inner, last };
  /// What the bytes, and those before, have come to so far; with the last piece all that is left. Valid until the next call.
  std::string_view pack(std::string_view bytes, Piece piece);

 private:
  std::unique_ptr<z_stream_s> stream_;
  std::vector<char> packed_;
};

}  // namespace lodestone
