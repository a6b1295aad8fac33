#include "data/records/jsonl.h"

#include <simdjson.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/files/utf8.h"

namespace lodestone {

namespace {

constexpr size_t max_depth = 64;
constexpr const char* correct = "correct the row";

static_assert(line_padding >= simdjson::SIMDJSON_PADDING);

/// Offset in the line of the first byte that cannot be JSON, found by a parser that keeps count.
size_t malformed_at(std::string_view line) {
  try {
    const auto parsed = nlohmann::json::parse(line);
    return parsed.is_discarded() ? line.size() : 0;
  } catch (const nlohmann::json::parse_error& e) {
    return std::min(line.size(), e.byte > 0 ? e.byte - 1 : 0);
  } catch (const nlohmann::json::exception&) {
    return 0;
  }
}

}  // namespace

struct JsonLines::Impl {
  explicit Impl(LineReader from) : lines(std::move(from)) {
    LODE_CHECK(parser.allocate(size_t{1} << 20, max_depth) == simdjson::SUCCESS, "no memory for the JSON parser");
  }

  [[noreturn]] void refuse(const char* code, const std::string& what, size_t offset) {
    error_offset = offset;
    throw Error(ExitCode::data, code, what, correct);
  }

  void parse() {
    error_offset = 0;
    simdjson::dom::element document;
    const auto error = parser.parse(line.text.data(), line.text.size(), false).get(document);
    if (error != simdjson::SUCCESS) refuse_line(error);
    simdjson::dom::object object;
    if (document.get(object) != simdjson::SUCCESS) refuse("F30", "not a JSON object", 0);
    count = 0;
    names.clear();
    for (const auto& [name, value] : object) {
      if (count == fields.size()) fields.emplace_back();
      Field& field = fields[count++];
      field.name = name;
      names.push_back(name);
      fill(field, value);
    }
    std::sort(names.begin(), names.end());
    if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end())
      throw Error(ExitCode::data, "F30", "a field given twice", correct).at("field", *twice);
  }

  [[noreturn]] void refuse_line(simdjson::error_code error) {
    switch (error) {
      case simdjson::UTF8_ERROR:
        refuse("F31", "not valid UTF-8", validate_utf8(line.text).value_or(0));
      case simdjson::DEPTH_ERROR:
        refuse("F30", cat("nested deeper than ", max_depth, " levels"), 0);
      case simdjson::NUMBER_ERROR:
        refuse("F30", "not a number that JSON or a 64-bit float can hold", malformed_at(line.text));
      case simdjson::STRING_ERROR:
        refuse("F31", "a bad escape or half of a surrogate pair", malformed_at(line.text));
      case simdjson::MEMALLOC:
        throw Error(ExitCode::resource, "F14", "no memory for a row", "give the job more memory");
      default:
        if (!line.ended) refuse("F32", "the last line is cut: it has no end and is not a whole JSON object", malformed_at(line.text));
        if (line.number == 1 && (line.text == "{" || line.text == "["))
          throw Error(ExitCode::data, "F30", "a JSON document over several lines where JSON lines belong",
                      "write one object a line, for example with jq -c '.[]' FILE");
        refuse("F30", "not valid JSON", malformed_at(line.text));
    }
  }

  void fill(Field& field, simdjson::dom::element value) {
    using simdjson::dom::element_type;
    field.texts.clear();
    field.numbers.clear();
    field.integers.clear();
    switch (value.type()) {
      case element_type::NULL_VALUE:
        field.kind = Field::Kind::null;
        return;
      case element_type::STRING: {
        field.kind = Field::Kind::text;
        field.texts.push_back(value.get_string().value_unsafe());
        return;
      }
      case element_type::INT64:
      case element_type::UINT64:
      case element_type::DOUBLE: {
        field.kind = Field::Kind::number;
        add_number(field, value);
        return;
      }
      case element_type::ARRAY:
        return fill_list(field, value);
      case element_type::OBJECT:
      case element_type::BOOL:
        field.kind = Field::Kind::other;
        return;
    }
  }

  static void add_number(Field& field, simdjson::dom::element value) {
    const double number = value.get_double().value_unsafe();
    int64_t integer = 0;
    if (field.integers.size() == field.numbers.size() && value.get(integer) == simdjson::SUCCESS) field.integers.push_back(integer);
    field.numbers.push_back(number);
    if (field.integers.size() != field.numbers.size()) field.integers.clear();
  }

  void fill_list(Field& field, simdjson::dom::element value) {
    simdjson::dom::array list;
    if (value.get(list) != simdjson::SUCCESS) return;
    size_t count = 0;
    for (const simdjson::dom::element item : list) {
      ++count;
      if (item.is_string()) field.texts.push_back(item.get_string().value_unsafe());
      if (item.is_number()) add_number(field, item);
    }
    field.kind = Field::Kind::other;
    if (count == 0)
      field.kind = Field::Kind::empty_list;
    else if (field.texts.size() == count)
      field.kind = Field::Kind::texts;
    else if (field.numbers.size() == count)
      field.kind = Field::Kind::numbers;
  }

  LineReader lines;
  simdjson::dom::parser parser;
  Line line;
  std::vector<Field> fields;  // kept between rows for their memory; the first `count` are this row's
  std::vector<std::string_view> names;
  size_t count = 0, error_offset = 0;
};

JsonLines::JsonLines(LineReader lines) : impl_(std::make_unique<Impl>(std::move(lines))) {}
JsonLines::JsonLines(JsonLines&&) noexcept = default;
JsonLines::~JsonLines() = default;

bool JsonLines::next() {
  do {
    const auto line = impl_->lines.next();
    if (!line) return false;
    impl_->line = *line;
  } while (impl_->line.text.find_first_not_of(" \t") == std::string_view::npos);
  try {
    impl_->parse();
  } catch (const Error& error) {
    throw located(error);
  }
  return true;
}

std::span<const Field> JsonLines::fields() const { return {impl_->fields.data(), impl_->count}; }
std::string_view JsonLines::line() const { return impl_->line.bytes; }
int64_t JsonLines::consumed() const { return impl_->lines.consumed(); }
RecordPlace JsonLines::place() const {
  return {impl_->lines.file().string(), impl_->lines.number_in_file(impl_->line.number), impl_->line.offset};
}
BadRow JsonLines::located(Error error) const {
  const RecordPlace at = place();
  return BadRow(error.at("file", at.file).at("line", at.line).at("offset", at.offset + static_cast<int64_t>(impl_->error_offset)));
}

namespace {

class JsonlReader : public RecordReader {
 public:
  JsonlReader(LineReader lines, FieldMap map) : lines_(std::move(lines)), map_(std::move(map)) {}
  bool next(Record& out) override {
    if (!lines_.next()) return false;
    try {
      map_.map(lines_.fields(), out);
    } catch (const Error& error) {
      throw lines_.located(error);
    }
    return true;
  }
  RecordPlace place() const override { return lines_.place(); }
  int64_t consumed() const override { return lines_.consumed(); }
  const std::set<std::string>& ignored_fields() const override { return map_.ignored_fields(); }

 private:
  JsonLines lines_;
  FieldMap map_;
};

}  // namespace

std::unique_ptr<RecordReader> open_jsonl(LineReader lines, FieldMap map) {
  return std::make_unique<JsonlReader>(std::move(lines), std::move(map));
}

}  // namespace lodestone
