#include "data/cleaning/row_texts.h"

#include <algorithm>

namespace lodestone {

namespace {

constexpr const char* name_them = "name the fields of the texts with --fields";

void append(const Field& field, RecordPart part, std::vector<RowText>& out) {
  switch (field.kind) {
    case Field::Kind::null:
    case Field::Kind::empty_list:
      return;
    case Field::Kind::text:
    case Field::Kind::cell:
    case Field::Kind::texts:
      for (const std::string_view text : field.texts) out.push_back({part, text});
      return;
    case Field::Kind::number:
    case Field::Kind::numbers:
    case Field::Kind::other:
      break;
  }
  throw Error(ExitCode::data, "F30", "neither a text nor a list of texts", name_them).at("field", field.name);
}

bool is_numbered(std::string_view name) { return name.starts_with("negative_"); }

}  // namespace

const Field* find_field(std::span<const Field> fields, std::string_view name) {
  const auto at = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == name; });
  return at == fields.end() || at->kind == Field::Kind::null ? nullptr : &*at;
}

Error missing_field(std::span<const Field> fields, std::string_view name, std::string remedy) {
  std::string names;
  for (const Field& f : fields) names += cat(names.empty() ? "" : ", ", f.name);
  return Error(ExitCode::data, "F30", cat("the row has no field ", name, "; it has ", names), std::move(remedy));
}

std::string_view source_of(std::span<const Field> fields, std::string_view source_field, std::string_view otherwise) {
  const auto text_of = [&](std::string_view name) {
    const Field* const field = find_field(fields, name);
    return field != nullptr && field->kind == Field::Kind::text ? field : nullptr;
  };
  const Field* field = source_field.empty() ? text_of("source") : text_of(source_field);
  if (field == nullptr && source_field.empty()) field = text_of("task");
  return field != nullptr ? field->texts[0] : otherwise;
}

void TextFields::read_named(std::span<const Field> fields, std::vector<RowText>& out) const {
  for (const std::string& name : names_) {
    const Field* const field = find_field(fields, name);
    if (field == nullptr) throw missing_field(fields, name, "correct the row, or --fields");
    append(*field, &name == &names_.front() ? RecordPart::query : RecordPart::positive, out);
  }
}

void TextFields::read(std::span<const Field> fields, std::vector<RowText>& out) const {
  out.clear();
  if (!names_.empty()) return read_named(fields, out);
  const Field *query = nullptr, *positive = nullptr, *negative = nullptr;
  for (const Field& field : fields) {
    const RecordPart part = part_of(field.name);
    if (part == RecordPart::none || field.kind == Field::Kind::null) continue;
    if (!is_numbered(field.name)) {
      const Field*& only = part == RecordPart::query ? query : part == RecordPart::positive ? positive : negative;
      if (only != nullptr)
        throw Error(ExitCode::data, "F30", cat("two names for one part of a row: ", only->name, " and ", field.name),
                    "keep one of the two fields, or name the fields of the texts with --fields");
      only = &field;
    }
    append(field, part, out);
  }
  if (query == nullptr) throw Error(ExitCode::data, "F30", "the row names no query", name_them);
  std::stable_sort(out.begin(), out.end(), [](const RowText& a, const RowText& b) { return a.part < b.part; });
}

}  // namespace lodestone
