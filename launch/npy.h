// NpyFile: a matrix of f32 in NumPy's .npy form, written by all ranks at once, each its own rows.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "comm/communicator.h"
#include "data/durable.h"

namespace lodestone {

/// The header of a little-endian f32 matrix [rows,columns] in C order, format version 1.0: numpy.load reads it.
std::string npy_header(int64_t rows, int64_t columns);

/// Written as PATH.tmp in a folder that all ranks see, and renamed when complete: PATH is never half a matrix.
class NpyFile {
 public:
  /// Every rank calls it; rank 0 makes the file at its full size. Throws Error (storage, "F19" or "F21").
  NpyFile(const std::filesystem::path& path, int64_t rows, int64_t columns, Communicator& comm);
  /// Removes the temporary file unless it was published.
  ~NpyFile();
  NpyFile(const NpyFile&) = delete;
  NpyFile& operator=(const NpyFile&) = delete;

  /// Rows [row, row + values.size() / columns). Throws Error (storage, "F19").
  void write(int64_t row, std::span<const float> values);
  /// Every rank calls it after its last row: bytes to the device, then rank 0 renames.
  void publish();

 private:
  void write_at(int64_t offset, std::span<const std::byte> bytes);
  [[noreturn]] void fail(const char* code, const char* what) const;

  std::filesystem::path path_, temporary_;
  int64_t columns_, header_bytes_ = 0;
  Communicator& comm_;
  Descriptor descriptor_;
  bool published_ = false;
};

}  // namespace lodestone
