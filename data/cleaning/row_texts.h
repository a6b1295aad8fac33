// RowTexts: which texts of a row are judged and compared?
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/records/records.h"

namespace lodestone {

struct RowText {
  RecordPart part;
  std::string_view text;
};

/// The texts of rows: of the fields that training reads, or of named ones.
class TextFields {
 public:
  /// Of named fields the first is the query and the others are positives. No names: those of training data (data/records/README.md).
  explicit TextFields(std::vector<std::string> names) : names_(std::move(names)) {}
  /// Replaces `out` by the texts of a row, empty ones too; null counts as absent. Throws Error (data, F30) when a named field or the query
  /// is missing, one part has two names or a field holds no text.
  void read(std::span<const Field> fields, std::vector<RowText>& out) const;

 private:
  void read_named(std::span<const Field> fields, std::vector<RowText>& out) const;
  std::vector<std::string> names_;
};

/// The field of this name. Null: there is none, or it is null.
const Field* find_field(std::span<const Field> fields, std::string_view name);
/// Error (data, F30) about a row that lacks a field.
Error missing_field(std::span<const Field> fields, std::string_view name, std::string remedy);

/// What a row's source is called: the field of that name, or `source`, then `task`, where they hold a text; else `otherwise`.
std::string_view source_of(std::span<const Field> fields, std::string_view source_field, std::string_view otherwise);

}  // namespace lodestone
