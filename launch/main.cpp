// The program: signals, arguments, MPI lifetime, command table, one place for errors and exit codes.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "data/files/durable.h"
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

/// Prints the error and ends all ranks with its code. When every rank fails alike, rank 0 speaks alone; when all fail, but not alike, it
/// speaks first: the others wait a moment before they would.
[[noreturn]] void fail(const Error& error, World& world) {
  const bool alike = world.all_say(checksum(error_line(error)));
  if (!alike && world.rank() != 0) usleep(1'000'000);
  if (!alike || world.rank() == 0) print_line(error_line(error, world.rank(), world.host()));
  if (alike) world.leave(static_cast<int>(error.exit_code()));
  World::abort(static_cast<int>(error.exit_code()));
}

/// glibc returns freed memory to the system and faults it in again at the next call; libraries that allocate per call
/// (oneDNN's packing buffers) pay for that in every step. Tell it to keep its memory.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
}

[[noreturn]] void refuse_command(const std::string& name, std::span<const Command> table) {
  std::vector<std::string> names;
  names.reserve(table.size());
  for (const Command& c : table) names.emplace_back(c.name);
  const std::string near = nearest_name(name, names);
  throw Error(ExitCode::usage, "usage", cat('\'', printable(name), "' is not a command"),
              near.empty() ? "lodestone --help lists them" : "did you mean " + near + "?");
}

int run(const std::function<int(World&)>& command, int argc, char** argv) {
  World world(argc, argv);
  try {
    return command(world);
  } catch (const std::exception& error) {
    fail(as_error(error), world);
  }
}

}  // namespace

int main(int argc, char** argv) {
  // 1. Signals, before there is any other thread.
  StopSignals stop;
  const SignalStack stack;  // this thread reads mapped files
  // 2. What needs no ranks: help, version.
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
  if (command != table.end() &&
      std::any_of(arguments.begin() + 1, arguments.end(), [](const std::string& a) { return a == "--help" || a == "-h"; })) {
    std::cout << command->usage;
    return 0;
  }
  // 3. The command itself, on every rank.
  if (command != table.end() && command->on_stop == Command::OnStop::save) stop.keep();
  keep_freed_memory();
  try {
    return run(
        [&](World& world) {
          if (command == table.end()) refuse_command(arguments[0], table);
          return command->run(world, std::span(arguments).subspan(1));
        },
        argc, argv);
  } catch (const std::exception& exception) {  // from World: there are no ranks yet
    const Error error = as_error(exception);
    print_line(error_line(error));
    return static_cast<int>(error.exit_code());
  }
}
