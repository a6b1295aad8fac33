#include "data/cleaning/shingle_file.h"

#include <fcntl.h>
#include <stdlib.h>

#include <algorithm>
#include <cerrno>

#include "data/files/open_error.h"

namespace lodestone {

namespace {

constexpr size_t piece_numbers = size_t{1} << 17;  // 1 MiB

}  // namespace

ShingleFile::ShingleFile(const std::filesystem::path& folder) : folder_(folder) {
  std::string name = (folder / "shingles-XXXXXX.lodestone.tmp").string();
  descriptor_ = Descriptor(::mkostemps(name.data(), static_cast<int>(std::string_view(".lodestone.tmp").size()), O_CLOEXEC));
  if (!descriptor_) throw open_error("cannot make a file in the folder", folder, errno);
  ::unlink(name.c_str());
}

void ShingleFile::append(std::span<const uint64_t> set) {
  pending_.insert(pending_.end(), set.begin(), set.end());
  ends_.push_back(written_ + std::ssize(pending_));
  if (pending_.size() < piece_numbers) return;
  auto bytes = std::as_bytes(std::span(pending_));
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw storage_error("F19", "cannot write shingles into the folder", folder_, errno);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  written_ += std::ssize(pending_);
  pending_.clear();
}

void ShingleFile::read(int64_t set, std::vector<uint64_t>& out) const {
  const int64_t begin = begin_of(set), count = size(set);
  out.resize(static_cast<size_t>(count));
  if (begin >= written_) {
    std::copy_n(pending_.begin() + (begin - written_), count, out.begin());
    return;
  }
  auto bytes = std::as_writable_bytes(std::span(out));
  auto offset = begin * static_cast<int64_t>(sizeof(uint64_t));
  while (!bytes.empty()) {
    const ssize_t n = ::pread(descriptor_.get(), bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw storage_error("F37", "cannot read shingles from the folder", folder_, errno);
    if (n == 0) throw Error(ExitCode::storage, "F37", "the file of shingles was cut").at("file", folder_.string());
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += n;
  }
}

}  // namespace lodestone
