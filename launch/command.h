// What a subcommand is: a name, one line of help, its usage text, and a function of the world and its arguments.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "comm/world.h"
#include "launch/console/stop.h"

namespace lodestone {

struct Command {
  const char* name;
  const char* summary;  // one line of `lodestone --help`
  std::string usage;    // text of `lodestone NAME --help`
  /// Returns the exit code. Throws Error; main() prints it in the one form and ends all ranks.
  std::function<int(World& world, std::span<const std::string> arguments)> run;
  /// What a stop signal does: ends the command as it would end any program, or asks it to save and end.
  enum class OnStop { end, save };
  OnStop on_stop = OnStop::end;
  /// What stdout is: a result, which is an error when it cannot be written, or a report of what lies in files, which is a warning then.
  enum class Prints { report, result };
  Prints prints = Prints::report;
  /// How long a rank waits for others, from the start of MPI on; null: as long as World does of itself. Throws nothing: what is wrong with
  /// the arguments is said by run().
  double (*hang_limit_s)(std::span<const std::string> arguments) = nullptr;
};

/// All subcommands, in the order of --help (launch/commands/commands.cpp: one visible table).
std::vector<Command> commands(StopSignals& stop);

// One function per subcommand, each in the file of its name, with its usage text.
int run_train(World&, StopSignals&, std::span<const std::string>);
double train_hang_limit_s(std::span<const std::string>);
int run_check(World&, std::span<const std::string>);
int run_pack(World&, std::span<const std::string>);
int run_filter(World&, std::span<const std::string>);
int run_dedup(World&, std::span<const std::string>);
int run_eval(World&, std::span<const std::string>);
int run_average(World&, std::span<const std::string>);
int run_grade(World&, std::span<const std::string>);
int run_encode(World&, std::span<const std::string>);
int run_export(World&, std::span<const std::string>);
int run_merge(World&, std::span<const std::string>);
int run_devices(World&, std::span<const std::string>);
int run_bench(World&, std::span<const std::string>);
extern const char* const train_usage;
extern const char* const check_usage;
extern const char* const pack_usage;
extern const char* const filter_usage;
extern const char* const dedup_usage;
extern const char* const eval_usage;
extern const char* const average_usage;
extern const char* const grade_usage;
extern const char* const encode_usage;
extern const char* const export_usage;
extern const char* const merge_usage;
extern const char* const devices_usage;
std::string bench_usage();

}  // namespace lodestone
