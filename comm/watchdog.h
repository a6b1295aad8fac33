// Watchdog: ends this process, and says why, when waiting for other ranks takes too long or one of them has died.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "comm/status_board.h"
#include "core/error.h"

namespace lodestone {

/// A thread that calls nothing of MPI. While a Phase lives, the operation it names must end within the limit; otherwise the
/// thread prints one line in the error form and ends the process with code 7 (communication), upon which mpirun or srun
/// ends the other ranks. MPI itself never notices a stopped rank or a cut link. With a StatusBoard the line says which ranks
/// of this host are stopped, or elsewhere, and one rank of the host prints it: the others keep quiet for some seconds, in
/// which the launcher ends them. Only time in which this thread ran counts: a job that is suspended and resumed goes on.
/// With a StatusBoard it also finds ranks of this host that died without a word, killed or crashed, and says so (F01) before the
/// launcher ends this one.
class Watchdog {
 public:
  /// What is being waited for. `operation` is a string literal; bytes and number are left out of the message when negative.
  struct Operation {
    const char* operation = nullptr;
    int64_t bytes = -1;
    int64_t number = -1;  // the how-manieth collective of its communicator
  };

  /// who: "rank=1 host=node3", printed with the error. job: a name that the ranks of one job share, by which one of a host speaks as long
  /// as there is no board; without a name each does.
  Watchdog(double limit_s, std::string who, std::string job = "");
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// From now on this rank shows on the board what it waits for.
  void share(std::unique_ptr<StatusBoard> board);
  /// Applies from now on, also to the operation under way.
  void set_limit(double limit_s);
  /// What else is done before this process ends, by the rank that speaks: called on another thread, for a second and a half at most.
  /// Not called any more after the next call of set_last_words() returns.
  void set_last_words(std::function<void(const Error&)> words);
  /// This rank is about to end and says itself why: to the others it is not lost.
  void leave();

  /// Restores what was watched before when it dies. Belongs to the thread that made it; phases nest.
  class Phase {
   public:
    Phase(Watchdog* dog, Operation operation);
    ~Phase();
    Phase(const Phase&) = delete;
    Phase& operator=(const Phase&) = delete;

   private:
    Watchdog* dog_;
    Operation outer_;
  };
  [[nodiscard]] Phase watch(Operation operation) { return Phase(this, operation); }

 private:
  using Clock = std::chrono::steady_clock;

  Operation replace(Operation operation);
  void run();
  bool overdue() const;
  Error hang() const;
  [[noreturn]] void end(const Error& error, Clock::duration stay) const;

  std::mutex mutex_;
  std::condition_variable changed_;
  Operation now_;
  Clock::time_point since_{};
  double waited_s_ = 0;  // for now_, as far as this thread has seen it
  double limit_s_;
  bool stopping_ = false;
  std::unique_ptr<StatusBoard> board_;
  std::function<void(const Error&)> last_words_;
  const std::string who_, job_;
  std::thread thread_;
};

}  // namespace lodestone
