// The program's own shared libraries, which need what is not everywhere and are opened when they are asked for.
#pragma once

#include <string>

namespace lodestone {

/// Opens `file_name` where LD_LIBRARY_PATH has it, else beside the program or in ../lib/lodestone. Null where it cannot be: `reason` then
/// says in a few words what is missing, the library itself or one that it needs. `without`: what the program lacks where it is not there.
void* open_own_library(const std::string& file_name, const std::string& without, std::string& reason);

}  // namespace lodestone
