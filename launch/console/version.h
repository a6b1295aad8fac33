// Versions of the program and of the libraries under it.
#pragma once

#include <string>

#include "comm/require_same.h"

namespace lodestone {

inline constexpr const char* version = "0.1.0";

/// Several lines: this program, compiler, MPI, backend with its library.
std::string version_text();

/// Of this program, by the bytes of its file, MPI and the C library that it runs with: what all ranks must have the same of.
Fingerprint program_fingerprint();

}  // namespace lodestone
