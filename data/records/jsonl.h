// JSON lines: one record a line, read strictly.
#pragma once

#include <filesystem>
#include <memory>

#include "data/records/lines.h"
#include "data/records/records.h"

namespace lodestone {

/// Objects, one a line, as fields. Strict: valid UTF-8, no name twice, no NaN, at most 64 levels; blank lines are passed over.
class JsonLines {
 public:
  explicit JsonLines(LineReader lines);
  JsonLines(JsonLines&&) noexcept;
  ~JsonLines();
  /// Reads the next object. False at the end. Throws BadRow (F30, F31, F32) with file, line and offset.
  bool next();
  /// The object read last; views are valid until the next call.
  std::span<const Field> fields() const;
  /// Its line as it stands in the file, without the line feed; that of a refused row too. Valid until the next call.
  std::string_view line() const;
  /// The place of the object read last, as numbers and as attached to an error.
  RecordPlace place() const;
  BadRow located(Error error) const;
  int64_t consumed() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Records of a file of objects.
std::unique_ptr<RecordReader> open_jsonl(LineReader lines, FieldMap map);

}  // namespace lodestone
