// A line of progress: how far a long piece of work is, on a terminal in one line that redraws itself, elsewhere in plain lines.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lodestone {

/// What a terminal of `columns` columns shows, one column less at most: "WHAT DONE/TOTAL [###...]  FIGURE  FIGURE  left TIME". Where that
/// does not fit, the bar gets shorter and goes, then figures go from the last one on; what is too long even so is cut.
std::string progress_line(const std::string& what, int64_t done, int64_t total, std::span<const std::string> figures,
                          const std::string& left, int columns);

/// Rank 0 only. Never leaves a line behind that is no longer true: a line of work that is not done is erased by clear() and at the end.
class Progress {
 public:
  Progress(std::string what, int64_t total, bool enabled);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// `figures` in the order of their importance. plain: also print it where stdout is no terminal.
  enum class Plain { skip, print };
  void show(int64_t done, const std::vector<std::string>& figures, Plain plain);
  /// Makes room for other output: erases the line, or ends it when all is done.
  void clear();

 private:
  std::string what_;
  int64_t total_, first_ = -1, shown_ = 0;
  bool enabled_, open_ = false;
  double start_s_;
};

}  // namespace lodestone
