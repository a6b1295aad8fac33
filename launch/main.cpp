// The program: signals, arguments, MPI lifetime, command table, one place for errors and exit codes.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "data/files/mapped_file.h"
#include "launch/command.h"
#include "launch/config/yaml.h"
#include "launch/console/log.h"
#include "launch/console/version.h"

namespace {

using namespace lodestone;

void print_help(std::span<const Command> commands) {
  std::cout << "Lodestone " << version << ": trains text-embedding models, data-parallel.\n\n"
            << "usage: lodestone COMMAND [ARGUMENTS]\n"
            << "       mpirun -np RANKS lodestone COMMAND [ARGUMENTS]\n\ncommands:\n";
  for (const Command& c : commands) std::cout << "  " << c.name << std::string(10 - std::string(c.name).size(), ' ') << c.summary << '\n';
  std::cout << "\n  lodestone COMMAND --help tells more of a command, lodestone --version the versions.\n"
            << "  Exit codes and signals are listed in launch/README.md.\n";
}

/// Prints the error and ends all ranks with its code. When every rank fails alike, rank 0 speaks first and alone:
/// the others wait a moment before they would.
[[noreturn]] void fail(const Error& error, const World& world) {
  if (world.rank() != 0) usleep(1'000'000);
  std::cout.flush();
  std::cerr << error_line(error, world.rank(), world.host()) << std::endl;
  World::abort(static_cast<int>(error.exit_code()));
}

/// glibc returns freed memory to the system and faults it in again at the next call; libraries that allocate per call
/// (oneDNN's packing buffers) pay for that in every step. Tell it to keep its memory.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
}

int run(const Command& command, int argc, char** argv, std::span<const std::string> arguments) {
  World world(argc, argv);
  try {
    return command.run(world, arguments);
  } catch (const std::exception& error) {
    fail(as_error(error), world);
  }
}

}  // namespace

int main(int argc, char** argv) {
  // 1. Signals, before there is any other thread.
  StopSignals stop;
  const SignalStack stack;  // this thread reads mapped files
  // 2. What needs no ranks: help, version, unknown commands.
  const std::vector<Command> table = commands(stop);
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
    print_help(table);
    return arguments.empty() ? static_cast<int>(ExitCode::usage) : 0;
  }
  if (arguments[0] == "--version") {
    std::cout << version_text();
    return 0;
  }
  const auto command = std::find_if(table.begin(), table.end(), [&](const Command& c) { return arguments[0] == c.name; });
  if (command == table.end()) {
    std::vector<std::string> names;
    names.reserve(table.size());
    for (const Command& c : table) names.emplace_back(c.name);
    const std::string near = nearest_name(arguments[0], names);
    std::cerr << "error: usage '" << printable(arguments[0])
              << "' is not a command; do: " << (near.empty() ? "lodestone --help lists them" : "did you mean " + near + "?") << '\n';
    return static_cast<int>(ExitCode::usage);
  }
  if (std::any_of(arguments.begin() + 1, arguments.end(), [](const std::string& a) { return a == "--help" || a == "-h"; })) {
    std::cout << command->usage;
    return 0;
  }
  // 3. The command itself, on every rank.
  if (command->on_stop == Command::OnStop::save) stop.keep();
  keep_freed_memory();
  try {
    return run(*command, argc, argv, std::span(arguments).subspan(1));
  } catch (const std::exception& exception) {  // from World: there are no ranks yet
    const Error error = as_error(exception);
    std::cerr << error_line(error) << std::endl;
    return static_cast<int>(error.exit_code());
  }
}
