#include "comm/nccl_library.h"

#include <dlfcn.h>

#include "core/own_library.h"

namespace lodestone {

namespace {

constexpr const char* file_name = "liblodestone_nccl.so";

/// What the first rank that has something says, on all ranks; empty where none has.
std::string said_by_any(Communicator& comm, const std::string& own) {
  int64_t first = own.empty() ? comm.size() : comm.rank();
  all_reduce(comm, std::span(&first, 1), Reduce::min);
  if (first == comm.size()) return {};
  std::string text = cat(own, comm.size() > 1 ? cat(" (rank ", comm.rank(), ")") : "");
  broadcast(comm, text, static_cast<int>(first));
  return text;
}

}  // namespace

NcclLibrary::NcclLibrary() {
  void* const library = open_own_library(file_name, "NCCL", missing_);
  if (library == nullptr) return;
  const auto version = reinterpret_cast<void (*)(std::string&)>(dlsym(library, "lodestone_nccl_version"));
  why_not_ = reinterpret_cast<decltype(why_not_)>(dlsym(library, "lodestone_nccl_why_not"));
  make_ = reinterpret_cast<decltype(make_)>(dlsym(library, "lodestone_nccl_make_comm"));
  if (version == nullptr || why_not_ == nullptr || make_ == nullptr)
    missing_ = cat(file_name, " belongs to another version of this program");
  else
    version(version_);
}

std::string NcclLibrary::why_not(Communicator& comm, Backend& backend) const {
  std::string reason = said_by_any(comm, missing_);
  if (reason.empty()) why_not_(comm, backend, reason);
  return reason;
}

std::unique_ptr<Communicator> NcclLibrary::make_comm(std::unique_ptr<Communicator> host, Backend& backend, Watchdog* watchdog) const {
  return std::unique_ptr<Communicator>(make_(host.release(), backend, watchdog));
}

const NcclLibrary& nccl_library() {
  static const NcclLibrary library;
  return library;
}

}  // namespace lodestone
