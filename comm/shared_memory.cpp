#include "comm/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <random>
#include <span>

#include "core/round_up.h"

namespace lodestone {

namespace {

/// Takes the memory now, so that a full /dev/shm is a refusal here instead of a crash at first use.
bool take(int file, size_t begin, size_t bytes) {
  int error = EINTR;
  while (error == EINTR) error = posix_fallocate(file, static_cast<off_t>(begin), static_cast<off_t>(bytes));
  return error == 0;
}

/// A name that no other job, and no other host, has.
std::string unique_name() {
  std::random_device random;
  return cat("/lodestone-", getpid(), "-", random(), random());
}

std::byte* map(int file, size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  return p == MAP_FAILED ? nullptr : static_cast<std::byte*>(p);
}

/// A lock on a rank's byte of the file. It belongs to the open file, so each rank opens the file for itself.
struct flock lock_of(int rank) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = rank;
  lock.l_len = 1;
  return lock;
}

}  // namespace

void SharedMemory::close_file(int descriptor) { close(descriptor); }

std::unique_ptr<SharedMemory> SharedMemory::make(Communicator& comm, size_t segment_bytes) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t segment = round_up(segment_bytes, page);
  const size_t bytes = segment * static_cast<size_t>(comm.size());

  // Rank 0 creates the file; the others can open it only if they see the same /dev/shm, that is, the same host.
  std::string name;
  File file;
  if (comm.rank() == 0) {
    name = unique_name();
    file = File(shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600));
    if (file && ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
      shm_unlink(name.c_str());
      file = File();
    }
    if (!file) name.clear();
  }
  broadcast(comm, name, 0);
  if (comm.rank() != 0 && !name.empty()) file = File(shm_open(name.c_str(), O_RDWR, 0));

  std::byte* base = nullptr;
  if (file && !name.empty() && take(file.get(), segment * static_cast<size_t>(comm.rank()), segment)) base = map(file.get(), bytes);
  struct flock mine = lock_of(comm.rank());
  const bool is_locked = base != nullptr && fcntl(file.get(), F_OFD_SETLK, &mine) == 0;

  int64_t everywhere[] = {base != nullptr, is_locked};
  all_reduce(comm, std::span<int64_t>(everywhere), Reduce::min);
  const auto [mapped, locked] = everywhere;
  if (comm.rank() == 0 && file) shm_unlink(name.c_str());
  if (mapped == 0) {
    if (base != nullptr) munmap(base, bytes);
    return nullptr;
  }
  if (locked == 0) file = File();
  return std::unique_ptr<SharedMemory>(new SharedMemory(std::move(file), base, segment, comm.size()));
}

bool SharedMemory::held(int rank) const {
  if (!file_) return true;
  struct flock found = lock_of(rank);
  return fcntl(file_.get(), F_OFD_GETLK, &found) != 0 || found.l_type != F_UNLCK;
}

SharedMemory::~SharedMemory() { munmap(base_, segment_bytes_ * static_cast<size_t>(ranks_)); }

}  // namespace lodestone
