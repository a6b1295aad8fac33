// LineWriter: a text file, plain or gzip, that has its name when it is whole and not before.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace lodestone {

/// Lines go into a temporary beside the file (data/files/temporary.h), which the destructor removes and publish() renames.
class LineWriter {
 public:
  /// Compresses where the name ends in .gz. Throws Error (usage, "exists") when something has that name, Error (storage) when nothing can
  /// be made beside it.
  explicit LineWriter(const std::filesystem::path& path);
  ~LineWriter();
  LineWriter(LineWriter&&) noexcept;

  /// Adds the line and a line feed. Throws Error (storage, "F19").
  void write(std::string_view line);
  /// The bytes to the device, then the name. Throws Error (storage, "F19", "F20"), Error (usage, "exists") when something has the name by
  /// now.
  void publish();
  const std::filesystem::path& path() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lodestone
