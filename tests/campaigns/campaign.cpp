// Damages everything that the program reads, over and over, and reads it as the program does. A fault is a crash, a hang of ten seconds,
// an error that is none of the user's or that names no remedy, memory beyond 4 GiB, or content that a checksum should have refused. Exit
// code 1 when there was one.
//   campaign flips|mutations [--runs N] [--seed N] [--from RUN] [--target NAME]
// Any run can be done again alone: --from RUN --runs 1, with the same seed and target.
#include <omp.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <span>
#include <thread>

#include "data/files/durable.h"
#include "launch/console/log.h"
#include "tests/campaigns/damage.h"
#include "tests/campaigns/targets.h"
#include "tests/support/model_files.h"
#include "tests/support/temp_dir.h"

namespace {

using namespace lodestone;
using namespace lodestone::test;
namespace fs = std::filesystem;

struct Plan {
  DamageKind kind = DamageKind::flips;
  uint64_t seed = 1, from = 0, runs = 1000;
  std::string target;  // empty: all in turn
};

constexpr size_t most_targets = 32;

/// What the reading process tells the watching one; shared, since the former may die at any time.
struct Shared {
  volatile uint64_t run;  // under way
  struct Counts {
    uint64_t refused, unchanged, other, faults;
  } counts[most_targets];
  char names[most_targets][64];
};

/// In a new file: some file systems bring one that was emptied to the device when it is closed.
void put(const fs::path& file, const std::string& bytes) {
  fs::remove(file);
  write_text(file, bytes);
}

/// One run: a file of a target is damaged, read, and put right again.
void damage_and_read(const Plan& plan, uint64_t run, const Target& target, const std::string& good, Shared::Counts& counts) {
  Draws draws(plan.seed, run);
  const fs::path& file = target.files[draws.below(target.files.size())];
  const std::string bytes = read_text(file);
  put(file, damaged(plan.kind, bytes, draws));
  const auto fault = [&](const std::string& what) {
    ++counts.faults;
    std::cout << "FAULT run " << run << " of seed " << plan.seed << ", " << target.name << ", " << file.filename().string() << ": " << what
              << std::endl;
  };
  try {
    const bool proven = target.proof == Proof::all || (target.proof == Proof::flips && plan.kind == DamageKind::flips);
    if (target.read() == good)
      ++counts.unchanged;
    else if (proven)
      fault("other content was read");
    else
      ++counts.other;
  } catch (const std::exception& exception) {
    const Error error = as_error(exception);
    const std::string line = error_line(error);
    if (error.exit_code() == ExitCode::internal || error.remedy().empty() || line.size() > 2000)
      fault(line);
    else
      ++counts.refused;
  }
  put(file, bytes);
}

/// Runs from `first` on, in a process of its own that may die.
void read_all(const Plan& plan, uint64_t first, Shared& shared) {
  omp_set_num_threads(1);  // two small texts
  const TempDir folder;
  std::vector<Target> targets = make_targets(folder.path());
  if (!plan.target.empty()) std::erase_if(targets, [&](const Target& t) { return t.name != plan.target; });
  if (targets.empty() || targets.size() > most_targets) throw std::runtime_error("no such target: " + plan.target);
  std::vector<std::string> good;
  std::vector<size_t> round;  // targets by their turns
  for (size_t t = 0; t < targets.size(); ++t) {
    std::snprintf(shared.names[t], sizeof shared.names[t], "%s", targets[t].name.c_str());
    good.push_back(targets[t].read());
    round.insert(round.end(), static_cast<size_t>(targets[t].turns), t);
  }
  for (uint64_t run = first; run < plan.from + plan.runs; ++run) {
    shared.run = run;
    const size_t t = round[run % round.size()];
    damage_and_read(plan, run, targets[t], good[t], shared.counts[t]);
  }
  shared.run = plan.from + plan.runs;
}

/// Bytes of memory that a process holds; 0 when it has ended.
int64_t resident_bytes(pid_t process) {
  std::ifstream in(cat("/proc/", process, "/statm"));
  int64_t mapped = 0, resident = 0;
  in >> mapped >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

/// How the process ended; it is killed when it stays with one run for ten seconds, or takes more than 4 GiB.
std::string watch(pid_t child, const Shared& shared) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::seconds patience{10};
  constexpr int64_t most_bytes = int64_t{4} << 30;
  uint64_t seen = shared.run;
  Clock::time_point since = Clock::now();
  std::string killed_for;
  for (int status = 0;;) {
    if (waitpid(child, &status, WNOHANG) == child) {
      if (!killed_for.empty()) return killed_for;
      return WIFSIGNALED(status) ? cat("died of signal ", WTERMSIG(status)) : cat("ended with ", WEXITSTATUS(status));
    }
    if (shared.run != seen) {
      seen = shared.run;
      since = Clock::now();
    }
    if (Clock::now() - since > patience) killed_for = "hung";
    if (resident_bytes(child) > most_bytes) killed_for = "took more than 4 GiB";
    if (!killed_for.empty()) kill(child, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

/// The number of faults; a table of what was seen goes to stdout.
uint64_t run_campaign(const Plan& plan) {
  void* const page = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw std::runtime_error("mmap");
  Shared& shared = *static_cast<Shared*>(page);
  uint64_t died = 0;
  for (uint64_t first = plan.from; first < plan.from + plan.runs; first = shared.run + 1) {
    shared.run = first;
    const pid_t child = fork();
    if (child == 0) {
      read_all(plan, first, shared);
      std::_Exit(0);
    }
    const std::string end = watch(child, shared);
    if (shared.run == plan.from + plan.runs) break;
    ++died;
    std::cout << "FAULT run " << shared.run << " of seed " << plan.seed << ": the process " << end << std::endl;
    if (shared.names[0][0] == '\0') break;  // it cannot even begin
  }
  uint64_t faults = died;
  std::printf("%-26s %9s %9s %9s %9s\n", std::string(name_of(plan.kind)).c_str(), "refused", "unchanged", "other", "faults");
  for (size_t t = 0; t < most_targets && shared.names[t][0] != '\0'; ++t) {
    const Shared::Counts& c = shared.counts[t];
    std::printf("%-26s %9lu %9lu %9lu %9lu\n", shared.names[t], c.refused, c.unchanged, c.other, c.faults);
    faults += c.faults;
  }
  std::printf("%lu runs of seed %lu: %lu faults, %lu of them crashes or hangs\n", plan.runs, plan.seed, faults, died);
  return faults;
}

Plan read_plan(std::span<char*> arguments) {
  Plan plan;
  const auto wrong = [] {
    return std::runtime_error("usage: campaign flips|mutations [--runs N] [--seed N] [--from RUN] [--target NAME]");
  };
  if (arguments.size() % 2 != 1) throw wrong();
  const std::string kind = arguments[0];
  if (kind != "flips" && kind != "mutations") throw wrong();
  plan.kind = kind == "flips" ? DamageKind::flips : DamageKind::mutations;
  for (size_t i = 1; i < arguments.size(); i += 2) {
    const std::string name = arguments[i], value = arguments[i + 1];
    if (name == "--target")
      plan.target = value;
    else if (name == "--runs")
      plan.runs = std::stoull(value);
    else if (name == "--seed")
      plan.seed = std::stoull(value);
    else if (name == "--from")
      plan.from = std::stoull(value);
    else
      throw wrong();
  }
  return plan;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_campaign(read_plan(std::span(argv, static_cast<size_t>(argc)).subspan(1))) == 0 ? 0 : 1;
  } catch (const std::exception& failure) {
    std::cerr << "error: " << failure.what() << '\n';
    return 2;
  }
}
