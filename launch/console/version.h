// Versions of the program and of the libraries under it.
#pragma once

#include <string>

namespace lodestone {

inline constexpr const char* version = "0.1.0";

/// Several lines: this program, compiler, MPI, oneDNN, HDF5.
std::string version_text();

}  // namespace lodestone
