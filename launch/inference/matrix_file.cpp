#include "launch/inference/matrix_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "data/files/h5.h"
#include "data/files/open_error.h"

namespace lodestone {

std::string npy_header(int64_t rows, int64_t columns) {
  std::string dictionary = cat("{'descr': '<f4', 'fortran_order': False, 'shape': (", rows, ", ", columns, "), }");
  constexpr size_t prefix = 10, alignment = 64;  // magic, version and length; the data begins at a multiple of 64
  dictionary.append(alignment - (prefix + dictionary.size() + 1) % alignment, ' ');
  dictionary += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(dictionary.size() & 0xff);
  header += static_cast<char>(dictionary.size() >> 8);
  return header + dictionary;
}

bool is_matrix_file(const std::filesystem::path& path) {
  return path.extension() == ".npy" || path.extension() == ".h5" || path.extension() == ".hdf5";
}

MatrixFile::MatrixFile(const std::filesystem::path& path, int64_t rows, int64_t columns, Communicator& comm)
    : path_(path), temporary_(path.string() + ".tmp"), columns_(columns), comm_(comm) {
  if (comm_.rank() == 0) make_file(rows);
  all_reduce(comm_, std::span<int64_t>(&first_byte_, 1), Reduce::max);  // rank 0 knows it
  if (comm_.rank() != 0) descriptor_ = Descriptor(::open(temporary_.c_str(), O_WRONLY | O_CLOEXEC));
  if (!descriptor_) fail("F21", "cannot open the file that rank 0 made");
  comm_.barrier();  // rank 0 may remove it from here on
}

MatrixFile::~MatrixFile() {
  if (!published_) ::unlink(temporary_.c_str());
}

/// Opens the temporary file as its only writer: two jobs of one output would mix their rows. The system's lock lives as long as the
/// descriptor; a file that lost its name before it was locked is the other job's, complete. Without locks, as on some file systems, the
/// last one counts.
void MatrixFile::own_file() {
  constexpr int most_attempts = 100;
  for (int i = 0; i < most_attempts; ++i) {
    descriptor_ = Descriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644));
    if (!descriptor_) require_descriptors(errno, temporary_);
    if (!descriptor_) fail("F21", "cannot write here");
    if (::flock(descriptor_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) break;
    if (is_file_of(descriptor_.get(), temporary_)) return;
  }
  throw Error(ExitCode::storage, "F27", "another job is writing this file", "wait for it, or choose another --output")
      .at("file", path_.string());
}

/// Room for everything is reserved first, so that the HDF5 library, which fails badly on a full disk, never meets one.
void MatrixFile::make_file(int64_t rows) {
  constexpr int64_t header_room = 1 << 16;
  const int64_t values = rows * columns_ * static_cast<int64_t>(sizeof(float));
  const auto reserve = [&](int64_t bytes) {
    if (const int error = ::posix_fallocate(descriptor_.get(), 0, bytes); error != 0) {
      errno = error;
      fail("F19", "no room for the embeddings");
    }
  };
  own_file();
  if (::ftruncate(descriptor_.get(), 0) != 0) fail("F21", "cannot write here");  // what a crash left
  reserve(header_room + values);
  if (path_.extension() == ".npy") {
    const std::string header = npy_header(rows, columns_);
    first_byte_ = static_cast<int64_t>(header.size());
    write_at(0, std::as_bytes(std::span(header)));
    if (::ftruncate(descriptor_.get(), first_byte_ + values) != 0) fail("F19", "cannot set the file's length");
  } else {
    first_byte_ = make_h5_matrix(temporary_, "embeddings", rows, columns_);
    reserve(first_byte_ + values);
  }
}

void MatrixFile::write(int64_t row, std::span<const float> values) {
  write_at(first_byte_ + row * columns_ * static_cast<int64_t>(sizeof(float)), std::as_bytes(values));
}

void MatrixFile::publish() {
  if (::fsync(descriptor_.get()) != 0) fail("F20", "the device did not take the bytes");
  comm_.barrier();
  if (comm_.rank() == 0) {
    rename_path(temporary_, path_);
    sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
  }
  published_ = true;
  descriptor_ = Descriptor();  // with its lock, which the HDF5 library wants when it reads
  comm_.barrier();
}

void MatrixFile::write_at(int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(descriptor_.get(), bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("F19", "cannot write");
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += n;
  }
}

void MatrixFile::fail(const char* code, const char* what) const {
  const std::string reason = std::strerror(errno);
  if (comm_.rank() == 0) ::unlink(temporary_.c_str());
  throw Error(ExitCode::storage, code, cat(what, ": ", reason), "free space or choose another --output").at("file", temporary_.string());
}

}  // namespace lodestone
