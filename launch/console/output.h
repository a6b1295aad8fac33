// Has everything that was printed arrived?
#pragma once

#include <optional>

#include "core/error.h"

namespace lodestone {

/// Gives stdin, stdout and stderr, where they are closed, a descriptor that refuses what they are for: otherwise the next file that is
/// opened has that number, and what is printed goes into it. First thing in main().
void hold_closed_streams();

/// Sends on what is printed so far. Error (storage, "F19") when some of it was lost since the start: the disk of stdout is full, or it is
/// closed. Nothing when all has arrived, or when the reader of a pipe wanted no more.
std::optional<Error> lost_output();

}  // namespace lodestone
