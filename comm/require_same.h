// What every rank must have alike: compared in one place, which names the rank that differs.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "comm/communicator.h"
#include "core/error.h"

namespace lodestone {

/// Something of which every rank must have the same.
struct Fingerprint {
  std::string what;                      // as a message says it behind "differs in the": "configuration"
  uint64_t hash = 0;                     // of what this rank has
  std::function<std::string()> facts{};  // lines "name: value" of it, asked for where ranks differ; a message gives the first that differs
};

/// What a difference is for who reads its error.
struct Mismatch {
  ExitCode exit_code = ExitCode::usage;
  const char* code = "F12";
  std::string remedy;
};

/// Compares the fingerprints of all ranks, in their order; every rank gives the same number of them, of the same names. For the first that
/// differs all ranks throw the same Error: it names the ranks (rank=, host=) that do not have what most have, or all that differ where no
/// one is in the majority, and the first fact that differs. One gather of 8 bytes a fingerprint; nothing in a world of one. Collective, on
/// a host plane.
void require_same(Communicator& comm, std::span<const Fingerprint> prints, const Mismatch& mismatch);

/// Whether an error says itself which ranks it is about: one of require_same(), which all ranks have.
bool names_ranks(const Error& error);

}  // namespace lodestone
