#include "data/files/temporary.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <vector>

#include "data/files/open_error.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view temporary_ending = ".lodestone.tmp", replaced_ending = ".lodestone.old";

fs::path folder_of(const fs::path& target) { return target.has_parent_path() ? target.parent_path() : fs::path("."); }

/// Whether a name is NAME.PID-N and the ending.
bool is_of(const std::string& target, const std::string& name, std::string_view ending) {
  if (!name.starts_with(target + ".") || !name.ends_with(ending) || name.size() <= target.size() + 1 + ending.size()) return false;
  const std::string_view middle = std::string_view(name).substr(target.size() + 1, name.size() - target.size() - 1 - ending.size());
  const size_t dash = middle.find('-');
  const auto digits = [](std::string_view text) { return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos; };
  return dash != std::string_view::npos && digits(middle.substr(0, dash)) && digits(middle.substr(dash + 1));
}

/// The path opened and locked, if nobody else holds it and it still has this name. NFS locks what is open for writing, so no folder.
Descriptor lock(const fs::path& path) {
  constexpr int flags = O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC;
  Descriptor opened(::open(path.c_str(), O_RDWR | flags));
  if (!opened && errno == EISDIR) opened = Descriptor(::open(path.c_str(), O_RDONLY | O_DIRECTORY | flags));
  if (!opened || ::flock(opened.get(), LOCK_EX | LOCK_NB) != 0 || !is_file_of(opened.get(), path)) return {};
  return opened;
}

/// Removes what crashes left of this target. Never fails: what cannot be removed stays. A replaced folder without a successor stays too:
/// another job is about to rename, or a crash left nothing else.
void remove_abandoned(const fs::path& target) {
  std::vector<fs::path> found, replaced;
  std::error_code failure;
  const std::string name = target.filename().string();
  for (auto entry = fs::directory_iterator(folder_of(target), failure); !failure && entry != fs::directory_iterator();
       entry.increment(failure)) {
    const std::string found_name = entry->path().filename().string();
    if (is_of(name, found_name, temporary_ending)) found.push_back(entry->path());
    if (is_of(name, found_name, replaced_ending)) replaced.push_back(entry->path());
  }
  for (const fs::path& path : found)
    if (const Descriptor abandoned = lock(path)) fs::remove_all(path, failure);
  if (!fs::exists(target, failure)) return;
  for (const fs::path& path : replaced) fs::remove_all(path, failure);
}

}  // namespace

Temporary::Temporary(const fs::path& target, Kind kind) {
  remove_abandoned(target);
  constexpr int most_attempts = 100;
  for (int i = 0; i < most_attempts; ++i) {
    path_ = target;
    path_ += cat('.', ::getpid(), '-', i, temporary_ending);
    if (kind == Kind::folder) {
      if (::mkdir(path_.c_str(), 0777) != 0) {
        if (errno == EEXIST) continue;
        throw storage_error(is_full(errno) ? "F19" : "F21", "cannot make the folder", path_, errno);
      }
      descriptor_ = Descriptor(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!descriptor_ && errno == ENOENT) continue;  // taken for abandoned before it was locked
    } else {
      descriptor_ = Descriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
      if (!descriptor_ && errno == EEXIST) continue;
    }
    if (!descriptor_) throw open_error("cannot create", path_, errno);
    // Who holds the lock is about to remove it. Any other failure says that there are no locks, and there nobody removes it.
    if (::flock(descriptor_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) continue;
    if (is_file_of(descriptor_.get(), path_)) return;
  }
  throw storage_error("F21", "no name is free for a temporary beside", target, EEXIST);
}

Temporary::~Temporary() {
  std::error_code ignored;
  if (!released_) fs::remove_all(path_, ignored);
}

Descriptor Temporary::duplicate() const {
  Descriptor copy(::fcntl(descriptor_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) throw open_error("cannot write", path_, errno);
  return copy;
}

}  // namespace lodestone
