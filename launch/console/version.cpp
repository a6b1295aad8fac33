#include "launch/console/version.h"

#include <gnu/libc-version.h>

#include <algorithm>
#include <vector>

#include "comm/world.h"
#include "core/backend.h"
#include "core/error.h"
#include "data/files/durable.h"

namespace lodestone {

std::string version_text() {
  return cat("lodestone ", version, "\ncompiler   gcc ", __VERSION__, "\nMPI        ", World::library_version(), "\nbackend    ",
             make_backend({.kind = backend_for(DeviceChoice::automatic)})->description(), "\n");
}

namespace {

/// XXH3-64 of the file that this process runs.
uint64_t executable_checksum() {
  const InputFile file("/proc/self/exe", ExitCode::resource);
  std::vector<std::byte> bytes(size_t{1} << 20);
  Checksum sum;
  for (uint64_t offset = 0; offset < file.size(); offset += bytes.size()) {
    const std::span<std::byte> piece = std::span(bytes).first(std::min<uint64_t>(bytes.size(), file.size() - offset));
    file.read(offset, piece);
    sum.add(piece);
  }
  return sum.value();
}

}  // namespace

Fingerprint program_fingerprint() {
  std::string facts = cat("version: ", version, "\ncompiler: gcc ", __VERSION__, "\nMPI: ", World::library_version(),
                          "\nC library: ", gnu_get_libc_version(), "\nchecksum of the file: ", hex64(executable_checksum()), "\n");
  return {"program", checksum(facts), [facts = std::move(facts)] { return facts; }};
}

}  // namespace lodestone
