// Rows of JSON lines as objects that are asked for their fields by name: for evaluation's data.
#pragma once

#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "data/records/jsonl.h"

namespace lodestone {

/// A label as a row gives it: an integer or a text.
struct RowLabel {
  std::string text;
  bool integer = false;
};

class FieldRows {
 public:
  /// Of a whole file, plain or .gz. Throws as LineReader does.
  explicit FieldRows(std::filesystem::path file);

  /// Goes to the next row. False at the end. Throws BadRow as JsonLines does.
  bool next();
  /// The field of this row that has one of these names and is not null; null without one. Refuses two of them. Valid until next().
  const Field* find(std::span<const char* const> names);
  /// The same; refuses a row without one, calling it by the first name.
  const Field& get(std::span<const char* const> names);
  /// What a field holds, alone or in a list. Refuses what is something else.
  std::vector<std::string> texts(const Field& field) const;
  std::vector<RowLabel> labels(const Field& field) const;
  std::vector<double> numbers(const Field& field) const;
  /// Remembers the fields of this row that nobody has asked for.
  void note_ignored();
  /// Names of those of all rows, sorted.
  std::vector<std::string> ignored() const { return {ignored_.begin(), ignored_.end()}; }

  /// Throws BadRow (F30) with file and line of this row.
  [[noreturn]] void refuse(const std::string& what, const char* remedy) const;
  /// Throws Error (data, F32) with the file.
  [[noreturn]] void refuse_all(const std::string& what, const char* remedy) const;

 private:
  std::filesystem::path file_;
  JsonLines lines_;
  std::set<std::string> used_, ignored_;
};

}  // namespace lodestone
