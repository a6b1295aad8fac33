// Which terminal shows what this rank writes, and how wide it is.
#pragma once

#include <string>

namespace lodestone {

/// Columns of the terminal that shows what is written to `fd` (1 or 2): 80 where it does not say, 0 where there is none. mpirun gives its
/// ranks a pseudo-terminal or a pipe and copies it to its own output: that one counts, as far as mpirun runs on this host.
int terminal_columns(int fd);

/// What a line of its own begins with: where a terminal shows it, the codes that erase a line of progress that may stand there, whichever
/// rank or thread drew it; else nothing.
std::string line_start(int fd);

}  // namespace lodestone
