// H5: one-dimensional columns of numbers in HDF5 files, written in memory and read with every check first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lodestone {

enum class H5Type : uint8_t { u8, u16, i32, i64, u64, f32, f64 };
size_t size_of(H5Type type);

/// Chunks hold 1 MiB of elements, or the whole column when it is smaller.
constexpr int64_t h5_chunk_bytes = int64_t{1} << 20;

/// A finished file. Everything the library needs to find its way (superblock, object headers, chunk indexes) lies in the
/// first head_bytes; behind them there are chunks only.
struct H5Image {
  std::unique_ptr<std::byte[], void (*)(void*)> data{nullptr, std::free};
  size_t size = 0;
  int64_t head_bytes = 0;
  std::span<const std::byte> bytes() const { return {data.get(), size}; }
};

/// Builds a file in memory with the core driver, so that a full disk meets our own checked write and never the library's.
/// Latest file format, chunked, fletcher32. Columns named "group/name" make their group. Throws Error (internal).
class H5Writer {
 public:
  H5Writer();
  H5Writer(H5Writer&&) noexcept;
  H5Writer& operator=(H5Writer&&) noexcept;
  ~H5Writer();
  void attribute(const std::string& name, int64_t value);
  void attribute(const std::string& name, uint64_t value);
  void attribute(const std::string& name, std::string_view value);
  /// count elements at data. An empty column is not written: the file has no dataset of that name.
  void column(const std::string& path, H5Type type, const void* data, int64_t count);
  H5Image finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Where a column's elements lie in the file: element i is in chunk i / chunk, whose bytes start at addresses[i / chunk].
struct H5Column {
  H5Type type = H5Type::u8;
  int64_t count = 0;
  int64_t chunk = 0;                // elements per chunk
  std::vector<uint64_t> addresses;  // byte offset of every chunk in the file
};

/// A file opened read-only and without locks. Nothing is read from a column before its place, layout, filters, type and
/// extent have passed. Errors are Error (data): F34 damaged, F35 refused; with file and dataset. Not thread-safe.
class H5Reader {
 public:
  explicit H5Reader(const std::filesystem::path& file);
  H5Reader(H5Reader&&) noexcept;
  H5Reader& operator=(H5Reader&&) noexcept;
  ~H5Reader();
  int64_t integer(const std::string& attribute) const;
  uint64_t unsigned_integer(const std::string& attribute) const;
  std::string text(const std::string& attribute) const;
  /// The column's layout, or nullopt when the file has no such dataset. At most max_count elements.
  std::optional<H5Column> column(const std::string& path, H5Type type, int64_t max_count);
  /// Elements [begin, begin + count) through the library, which checks the fletcher32 sum of every chunk touched.
  void read(const std::string& path, int64_t begin, int64_t count, void* out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Makes a file with one contiguous f32 dataset, [rows, columns], whose values are not yet written, and returns the byte
/// at which row 0 begins. The library writes some KiB of metadata; the caller has made sure of room for them. Throws
/// Error (storage, "F21").
int64_t make_h5_matrix(const std::filesystem::path& file, const std::string& name, int64_t rows, int64_t columns);

}  // namespace lodestone
