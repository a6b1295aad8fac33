// The program: signals, arguments, MPI lifetime, command table, one place for errors and exit codes.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/require_same.h"
#include "data/files/durable.h"
#include "data/files/mapped_file.h"
#include "launch/command.h"
#include "launch/config/yaml.h"
#include "launch/console/log.h"
#include "launch/console/output.h"
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
  world.watchdog().leave();  // the others, which may wait for this rank, leave it the word
  const bool alike = world.all_say(checksum(error_line(error)));
  if (!alike && world.rank() != 0) usleep(1'000'000);
  if (!alike || world.rank() == 0) print_line(error_line(error, world.rank(), world.host()));
  if (alike) world.leave(static_cast<int>(error.exit_code()));
  world.abort(static_cast<int>(error.exit_code()));
}

/// glibc returns freed memory to the system and faults it in again at the next call; libraries that allocate per call
/// (oneDNN's packing buffers) pay for that in every step. Tell it to keep its memory.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
}

/// Judges what was printed in vain. Throws Error (storage, "F19") where stdout is what the command is for.
void require_printed(Command::Prints prints) {
  const std::optional<Error> lost = lost_output();
  if (!lost) return;
  if (prints == Command::Prints::result) throw *lost;
  print_warning(lost->what());
}

/// Null: there is no such command.
const Command* find_command(std::span<const Command> table, const std::string& name) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const Command& c) { return name == c.name; });
  return found == table.end() ? nullptr : &*found;
}

Error no_command(std::span<const Command> table, const std::string& name) {
  std::vector<std::string> names;
  names.reserve(table.size());
  for (const Command& c : table) names.emplace_back(c.name);
  const std::string near = nearest_name(name, names);
  return Error(ExitCode::usage, "usage", cat("'", name, "' is not a command"),
               near.empty() ? "lodestone --help lists them" : cat("did you mean ", near, "?"));
}

/// Also refuses a command that does not exist: here all ranks do it in one line.
int run(std::span<const Command> table, StopSignals& stop, std::span<const std::string> arguments, int argc, char** argv) {
  const Command* const command = find_command(table, arguments[0]);
  const bool limits = command != nullptr && command->hang_limit_s != nullptr;
  World world(argc, argv, limits ? command->hang_limit_s(arguments.subspan(1)) : World::default_hang_limit_s);
  stop.set_parting([&world] { world.watchdog().leave(); });
  try {
    if (world.size() > 1) {
      const Fingerprint program[] = {program_fingerprint()};
      require_same(world.comm(), program, {.remedy = "install the same build on every host"});
    }
    if (command == nullptr) throw no_command(table, arguments[0]);
    const int code = command->run(world, arguments.subspan(1));
    require_printed(command->prints);
    stop.set_parting({});
    return code;
  } catch (const std::exception& error) {
    fail(as_error(error), world);
  }
}

/// Prints help or versions, which need no ranks, where the arguments ask for them or are none: the exit code then.
std::optional<int> answer(std::span<const Command> table, std::span<const std::string> arguments) {
  const auto is_help = [](const std::string& a) { return a == "--help" || a == "-h"; };
  if (arguments.empty() || is_help(arguments[0]) || arguments[0] == "help")
    print_help(table);
  else if (arguments[0] == "--version")
    std::cout << version_text();
  else if (const Command* command = find_command(table, arguments[0]);
           command != nullptr && std::any_of(arguments.begin() + 1, arguments.end(), is_help))
    std::cout << command->usage;
  else
    return std::nullopt;
  require_printed(Command::Prints::result);
  return static_cast<int>(arguments.empty() ? ExitCode::usage : ExitCode::finished);
}

int start(int argc, char** argv) {
  StopSignals stop;         // before there is any other thread
  const SignalStack stack;  // this thread reads mapped files
  const std::vector<Command> table = commands(stop);
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (const std::optional<int> code = answer(table, arguments)) return *code;
  // The command itself, on every rank.
  const Command* const command = find_command(table, arguments[0]);
  if (command != nullptr && command->on_stop == Command::OnStop::save) stop.keep();
  keep_freed_memory();
  return run(table, stop, arguments, argc, argv);
}

}  // namespace

int main(int argc, char** argv) {
  hold_closed_streams();
  setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 0);  // CUDA's own order, by speed, may differ from what nvidia-smi and schedulers say
  try {
    return start(argc, argv);
  } catch (const std::exception& exception) {  // there are no ranks yet
    const Error error = as_error(exception);
    print_line(error_line(error));
    return static_cast<int>(error.exit_code());
  }
}
