// MatrixFile: a matrix of f32 as .npy or HDF5, written by all ranks at once, each its own rows.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "comm/communicator.h"
#include "data/files/durable.h"

namespace lodestone {

/// The header of a little-endian f32 matrix [rows,columns] in C order, format version 1.0: numpy.load reads it.
std::string npy_header(int64_t rows, int64_t columns);

/// Whether the name's ending says a form that MatrixFile writes: .npy; .h5 or .hdf5 (one dataset, "embeddings").
bool is_matrix_file(const std::filesystem::path& path);

/// Written as PATH.tmp in a folder that all ranks see, and renamed when complete: PATH is never half a matrix. In both
/// forms the values are one block, row after row, behind a header that rank 0 makes first.
class MatrixFile {
 public:
  /// Every rank calls it; rank 0 makes the file at its full size. Throws Error (storage, "F19", "F21", or "F27" while another
  /// job writes the same one).
  MatrixFile(const std::filesystem::path& path, int64_t rows, int64_t columns, Communicator& comm);
  /// Removes the temporary file unless it was published.
  ~MatrixFile();
  MatrixFile(const MatrixFile&) = delete;
  MatrixFile& operator=(const MatrixFile&) = delete;

  /// Rows [row, row + values.size() / columns). Throws Error (storage, "F19").
  void write(int64_t row, std::span<const float> values);
  /// Every rank calls it after its last row: bytes to the device, then rank 0 renames.
  void publish();

 private:
  void own_file();
  void make_file(int64_t rows);
  void write_at(int64_t offset, std::span<const std::byte> bytes);
  [[noreturn]] void fail(const char* code, const char* what) const;

  std::filesystem::path path_, temporary_;
  int64_t columns_, first_byte_ = 0;  // where row 0 begins
  Communicator& comm_;
  Descriptor descriptor_;
  bool published_ = false;
};

}  // namespace lodestone
