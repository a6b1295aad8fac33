// Targets: everything that the program reads, as small files and the code that a command reads them with.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace lodestone::test {

/// Which damage a format can find.
enum class Proof : uint8_t {
  none,   // it has no checksums: other content may be read, but nothing may break
  flips,  // flipped bits: a checksum of the content (gzip)
  all,    // any: what is read is what was written, or refused
};

struct Target {
  std::string name;
  std::vector<std::filesystem::path> files;  // each is damaged in turn, alone
  Proof proof = Proof::none;
  std::function<std::string()> read;  // all that is read, as text; throws as a command would
  int turns = 16;                     // in a round of all targets: what is slow to read has fewer
};

/// Makes the files below the empty folder `folder`.
std::vector<Target> make_targets(const std::filesystem::path& folder);

}  // namespace lodestone::test
