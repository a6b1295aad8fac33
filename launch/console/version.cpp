#include "launch/console/version.h"

#include "comm/world.h"
#include "core/backend.h"
#include "core/error.h"

namespace lodestone {

std::string version_text() {
  return cat("lodestone ", version, "\ncompiler   gcc ", __VERSION__, "\nMPI        ", World::library_version(), "\nbackend    ",
             make_backend({.kind = backend_for(DeviceChoice::automatic)})->description(), "\n");
}

}  // namespace lodestone
