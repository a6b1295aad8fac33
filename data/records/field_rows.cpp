#include "data/records/field_rows.h"

#include <algorithm>

namespace lodestone {

namespace {

constexpr const char* correct = "correct the row";

bool holds_texts(const Field& field) { return field.kind == Field::Kind::text || field.kind == Field::Kind::texts; }
bool holds_numbers(const Field& field) { return field.kind == Field::Kind::number || field.kind == Field::Kind::numbers; }

}  // namespace

FieldRows::FieldRows(std::filesystem::path file) : file_(std::move(file)), lines_(LineReader::whole(file_)) {}

bool FieldRows::next() {
  used_.clear();
  return lines_.next();
}

const Field* FieldRows::find(std::span<const char* const> names) {
  const Field* found = nullptr;
  for (const Field& field : lines_.fields())
    if (std::ranges::find(names, field.name) != names.end() && field.kind != Field::Kind::null) {
      if (found != nullptr) refuse(cat("two fields for one part: ", found->name, " and ", field.name), "give one of them");
      found = &field;
      used_.insert(std::string(field.name));
    }
  return found;
}

const Field& FieldRows::get(std::span<const char* const> names) {
  const Field* found = find(names);
  if (found == nullptr) refuse(cat("a row without ", names[0]), "give every row all of its fields");
  return *found;
}

std::vector<std::string> FieldRows::texts(const Field& field) const {
  if (!holds_texts(field)) refuse(cat(field.name, " is neither a text nor a list of texts"), correct);
  return {field.texts.begin(), field.texts.end()};
}

std::vector<RowLabel> FieldRows::labels(const Field& field) const {
  if (!holds_texts(field) && (!holds_numbers(field) || field.integers.size() != field.numbers.size()))
    refuse(cat(field.name, " is neither an integer or text nor a list of such"), correct);
  std::vector<RowLabel> labels;
  for (const std::string_view text : field.texts) labels.push_back({std::string(text), false});
  for (const int64_t number : field.integers) labels.push_back({std::to_string(number), true});
  return labels;
}

std::vector<double> FieldRows::numbers(const Field& field) const {
  if (!holds_numbers(field)) refuse(cat(field.name, " is neither a number nor a list of numbers"), correct);
  return field.numbers;
}

void FieldRows::note_ignored() {
  for (const Field& field : lines_.fields())
    if (!used_.contains(std::string(field.name))) ignored_.insert(std::string(field.name));
}

void FieldRows::refuse(const std::string& what, const char* remedy) const {
  throw lines_.located(Error(ExitCode::data, "F30", what, remedy));
}

void FieldRows::refuse_all(const std::string& what, const char* remedy) const {
  throw Error(ExitCode::data, "F32", what, remedy).at("file", file_.string());
}

}  // namespace lodestone
