// What a subcommand is: a name, one line of help, its usage text, and a function of the world and its arguments.
#pragma once

#include <span>
#include <string>

#include "comm/world.h"

namespace lodestone {

struct Command {
  const char* name;
  const char* summary;                     // one line of `lodestone --help`
  const char* usage;                       // text of `lodestone NAME --help`
  /// Returns the exit code. Throws Error; main() prints it in the one form and ends all ranks.
  int (*run)(World& world, std::span<const std::string> arguments);
};

/// All subcommands, in the order of --help (launch/commands.cpp: one visible table).
std::span<const Command> commands();

// One function per subcommand, each in the file of its name, with its usage text.
int run_train(World&, std::span<const std::string>);
int run_check(World&, std::span<const std::string>);
int run_pack(World&, std::span<const std::string>);
int run_eval(World&, std::span<const std::string>);
int run_encode(World&, std::span<const std::string>);
int run_export(World&, std::span<const std::string>);
int run_bench(World&, std::span<const std::string>);
extern const char* const train_usage;
extern const char* const check_usage;
extern const char* const pack_usage;
extern const char* const eval_usage;
extern const char* const encode_usage;
extern const char* const export_usage;
extern const char* const bench_usage;

}  // namespace lodestone
