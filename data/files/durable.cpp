#include "data/files/durable.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "data/files/open_error.h"
#include "data/files/temporary.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr size_t copy_piece = size_t{1} << 20;

}  // namespace

bool is_file_of(int descriptor, const fs::path& path) {
  struct stat opened {};
  struct stat named {};
  return ::fstat(descriptor, &opened) == 0 && ::stat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

bool path_exists(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (is_bad_name(error.value()))
    throw Error(ExitCode::usage, "missing", system_reason(error.value()), "check the path").at("file", path.string());
  if (!fs::status_known(status)) throw storage_error("F21", "cannot examine", path, error.value());
  return fs::exists(status);
}

InputFile::InputFile(fs::path path, ExitCode exit_code) : path_(std::move(path)) {
  descriptor_ = Descriptor(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO would wait for its writer
  if (!descriptor_) require_descriptors(errno, path_);
  if (!descriptor_)
    throw Error(exit_code, "missing", cat("cannot open: ", system_reason(errno)), "check its path and permissions")
        .at("file", path_.string());
  struct stat info {};
  if (::fstat(descriptor_.get(), &info) != 0) throw storage_error("F37", "cannot examine", path_, errno);
  if (!S_ISREG(info.st_mode))
    throw Error(exit_code, "missing", "this is not a regular file", "give the path of a file").at("file", path_.string());
  size_ = static_cast<uint64_t>(info.st_size);
}

void InputFile::read(uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::pread(descriptor_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw storage_error("F37", "cannot read", path_, errno).at("offset", offset);
    if (n == 0)
      throw Error(ExitCode::storage, "F37", cat("the file ended ", bytes.size(), " bytes early: it was cut while being read"))
          .at("file", path_.string())
          .at("offset", offset);
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

std::string read_text_file(const fs::path& path, size_t limit, ExitCode exit_code) {
  const InputFile file(path, exit_code);
  if (file.size() > limit)
    throw Error(exit_code, "too-large", cat("the file has ", file.size(), " bytes, at most ", limit, " are expected"),
                "check that this is the file that was meant")
        .at("file", path.string());
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

OutputFile::OutputFile(fs::path path) : path_(std::move(path)) {
  descriptor_ = Descriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!descriptor_) throw open_error("cannot create", path_, errno);
}

OutputFile::~OutputFile() {
  if (!finished_) ::unlink(path_.c_str());
}

void OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw storage_error("F19", "cannot write", path_, errno);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void OutputFile::finish() {
  if (::fsync(descriptor_.get()) != 0) throw storage_error("F20", "cannot bring the file to the device", path_, errno);
  if (::close(descriptor_.release()) != 0) throw storage_error("F20", "cannot close", path_, errno);
  finished_ = true;
}

void write_new_file(const fs::path& path, std::string_view text) {
  OutputFile file(path);
  file.write(text);
  file.finish();
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  Temporary temporary(path, Temporary::Kind::file);
  OutputFile file(temporary.path(), temporary.duplicate());
  file.write(text);
  file.finish();
  rename_path(temporary.path(), path);
  temporary.release();
  sync_folder(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

void copy_file_durably(const fs::path& from, const fs::path& to) {
  const InputFile in(from, ExitCode::checkpoint);
  OutputFile out(to);
  std::vector<std::byte> piece(copy_piece);
  for (uint64_t offset = 0; offset < in.size(); offset += piece.size()) {
    const auto bytes = std::span(piece).first(static_cast<size_t>(std::min<uint64_t>(piece.size(), in.size() - offset)));
    in.read(offset, bytes);
    out.write(bytes);
  }
  out.finish();
}

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || !fs::is_directory(path, error)) throw storage_error("F21", "cannot make the folder", path, error ? error.value() : ENOTDIR);
}

void sync_folder(const fs::path& folder) {
  const Descriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!descriptor) throw storage_error("F20", "cannot open the folder", folder, errno);
  // EINVAL: some network file systems have no fsync for folders; their renames are ordered by the server.
  if (::fsync(descriptor.get()) != 0 && errno != EINVAL) throw storage_error("F20", "cannot bring the folder to the device", folder, errno);
}

void sync_folder_tree(const fs::path& folder) {
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator(folder, error); !error && entry != fs::recursive_directory_iterator();
       entry.increment(error))
    if (entry->is_directory(error)) sync_folder(entry->path());
  if (error) throw storage_error("F20", "cannot list the folder", folder, error.value());
  sync_folder(folder);
}

void rename_path(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw storage_error("F19", cat("cannot rename to ", to.filename().string()), from, errno);
}

void check_writable(const fs::path& folder) {
  make_folder(folder);
  try {
    Temporary first(folder / "write-test", Temporary::Kind::file), second(folder / "write-test", Temporary::Kind::file);
    OutputFile file(first.path(), first.duplicate());
    file.write("x");
    file.finish();
    if (::rename(first.path().c_str(), second.path().c_str()) != 0) throw storage_error("F21", "cannot rename", first.path(), errno);
    first.release();
    sync_folder(folder);
    if (::unlink(second.path().c_str()) != 0) throw storage_error("F21", "cannot remove", second.path(), errno);
  } catch (const Error& error) {
    if (error.code() == "F15" || error.code() == "F19") throw;  // neither is mended by another folder
    throw Error(ExitCode::storage, "F21", cat("the run folder cannot be written: ", error.what()),
                "choose another output folder or change its permissions")
        .at("file", folder.string());
  }
}

void publish_folder(const fs::path& temporary, const fs::path& path, IfExists if_exists) {
  sync_folder_tree(temporary);
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) return sync_folder(parent);
  if (errno != EEXIST && errno != EINVAL && errno != ENOSYS) throw storage_error("F19", "cannot publish", path, errno);
  std::error_code ignored;
  const bool exists = fs::exists(fs::symlink_status(path, ignored));
  if (exists && if_exists == IfExists::refuse)
    throw Error(ExitCode::usage, "exists", "the output folder exists already", "choose another name or remove it")
        .at("file", path.string());
  fs::path old = temporary;  // what the exchange leaves there
  if (!exists) {
    rename_path(temporary, path);
  } else if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) != 0) {
    old.replace_extension(".old");  // a file system that cannot exchange two names
    fs::remove_all(old, ignored);
    rename_path(path, old);
    try {
      rename_path(temporary, path);
    } catch (const Error&) {
      rename_path(old, path);
      throw;
    }
  }
  sync_folder(parent);
  fs::remove_all(old, ignored);
}

Checksum::Checksum() : state_(XXH3_createState()) {
  LODE_CHECK(state_ != nullptr, "no memory for a checksum");
  XXH3_64bits_reset(state_);
}

Checksum::~Checksum() { XXH3_freeState(state_); }

void Checksum::add(std::span<const std::byte> bytes) { XXH3_64bits_update(state_, bytes.data(), bytes.size()); }

uint64_t Checksum::value() const { return XXH3_64bits_digest(state_); }

uint64_t checksum(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::string hex64(uint64_t value) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text(16, '0');
  for (size_t i = 16; i-- > 0; value >>= 4) text[i] = digits[value & 15];
  return text;
}

}  // namespace lodestone
