// Files in /dev/shm through which MPI moves messages between the ranks of a host: without names while a job runs.
#pragma once

#include <string>
#include <vector>

namespace lodestone {

/// Open MPI 4 makes a file of some MiB in /dev/shm for each rank and removes it in MPI_Finalize, or its launcher does. When all processes
/// of a job are killed, nobody does, and the next jobs of the host have less. A file that is mapped needs no name, so names are taken away
/// as soon as all ranks of the host have mapped all files.
class MpiSegments {
 public:
  /// The files of this kind that this process has mapped. None where MPI uses others.
  static MpiSegments of_this_process();

  size_t count() const { return paths_.size(); }
  /// Removes the names. For one rank of a host, when each has mapped as many as there are ranks.
  void hide() const;
  /// Makes empty files of these names: MPI_Finalize removes them, and complains where they are gone. For the rank that called hide(),
  /// before any rank of the host ends MPI.
  void show() const;

 private:
  std::vector<std::string> paths_;
};

}  // namespace lodestone
