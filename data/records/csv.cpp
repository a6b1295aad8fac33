#include "data/records/csv.h"

#include <algorithm>
#include <array>

#include "data/files/utf8.h"

namespace lodestone {

namespace {

constexpr const char* correct = "correct the row";

class TableReader : public RecordReader {
 public:
  TableReader(LineReader lines, Separator separator, std::vector<std::string> columns, Header header, FieldMap map)
      : lines_(std::move(lines)), separator_(separator), columns_(std::move(columns)), map_(std::move(map)) {
    if (columns_.empty() && header == Header::no)
      throw Error(ExitCode::usage, "columns", "a table without a header line whose columns have no names",
                  "name them, for example --columns sentence1,sentence2,score")
          .at("file", lines_.file().string());
    if (columns_.empty() || header == Header::yes) read_header();
    if (std::none_of(columns_.begin(), columns_.end(), [](const std::string& name) { return names_query(name); }))
      throw Error(ExitCode::usage, "columns", "no column is a query: the first line is no header, or its names are unknown",
                  "name the columns, for example --columns sentence1,sentence2,score")
          .at("file", lines_.file().string());
    std::vector<std::string> sorted = columns_;
    std::sort(sorted.begin(), sorted.end());
    if (const auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end())
      throw Error(ExitCode::usage, "columns", "two columns have one name", "rename one")
          .at("file", lines_.file().string())
          .at("field", *twice);
    fields_.resize(columns_.size());
  }

  /// Throws when the first row may be a header: all its cells are names, and one of them is a query's or one below is none.
  /// Only for a reader that reads nothing else; what is wrong with the rows is left to the one that does.
  void refuse_header() {
    try {
      if (!read_row() || cells_.size() != columns_.size() || !std::all_of(cells_.begin(), cells_.end(), is_name)) return;
      const bool names_a_query = std::any_of(cells_.begin(), cells_.end(), names_query);
      std::string names;
      for (const std::string_view cell : cells_) names += cat(names.empty() ? "" : ", ", cell);
      if (!names_a_query && (!read_row() || std::all_of(cells_.begin(), cells_.end(), is_name))) return;
      throw Error(ExitCode::usage, "columns", cat("the first line may be a header (", names, "), and columns are named too"),
                  "say --header yes to pass over it, or --header no to read it as a row")
          .at("file", lines_.file().string());
    } catch (const Error& error) {
      if (error.code() == "columns") throw;
    }
  }

  bool next(Record& out) override {
    try {
      if (!read_row()) return false;
      if (cells_.size() != columns_.size())
        throw Error(ExitCode::data, "F30", cat(cells_.size(), " fields where the header has ", columns_.size()), correct);
      for (size_t c = 0; c < columns_.size(); ++c) {
        Field& field = fields_[c];
        field.name = columns_[c];
        field.kind = cells_[c].empty() && may_be_empty(columns_[c]) ? Field::Kind::null : Field::Kind::cell;
        field.texts.assign(1, cells_[c]);
      }
      map_.map(fields_, out);
    } catch (const BadRow&) {
      throw;
    } catch (Error& error) {
      if (error.code() != "F30" && error.code() != "F31") throw;
      throw BadRow(located(error));
    }
    return true;
  }
  RecordPlace place() const override { return {lines_.file().string(), first_line_, first_offset_}; }
  int64_t consumed() const override { return lines_.consumed(); }
  const std::set<std::string>& ignored_fields() const override { return map_.ignored_fields(); }

 private:
  Error& located(Error& error) const {
    return error.at("file", lines_.file().string()).at("line", first_line_).at("offset", first_offset_);
  }

  void read_header() {
    if (!read_row())
      throw Error(ExitCode::data, "F32", "the table has no header line", "add one or remove the file").at("file", lines_.file().string());
    if (!columns_.empty()) return;
    for (const std::string_view cell : cells_) columns_.emplace_back(cell);
  }

  /// A word as columns are called: a letter or _, then letters, digits, _, . and -.
  static bool is_name(std::string_view cell) {
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    return !cell.empty() && letter(cell[0]) &&
           std::all_of(cell.begin(), cell.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '-'; });
  }

  /// One row's cells. False at the end of the file. Blank lines are passed over.
  bool read_row() {
    std::optional<Line> line;
    do {
      line = lines_.next();
      if (!line) return false;
    } while (line->text.empty());
    first_line_ = line->number;
    first_offset_ = line->offset;
    row_ = line->text;
    while (!split()) {
      line = lines_.next();
      if (!line || static_cast<int64_t>(row_.size() + line->text.size()) > max_line_bytes) {
        Error error(ExitCode::data, "F32",
                    line ? "a quoted field of more than 16 MiB" : "a quoted field is not closed before the end of the file",
                    "close the quotes");
        throw located(error);
      }
      row_ += '\n';
      row_ += line->text;
    }
    if (const auto at = validate_utf8(row_)) {
      first_offset_ += static_cast<int64_t>(*at);
      throw Error(ExitCode::data, "F31", "not valid UTF-8", correct);
    }
    return true;
  }

  /// Splits row_ into cells_, unquoted cells in place, quoted ones in unquoted_. False when the row ends within quotes.
  bool split() {
    cells_.clear();
    unquoted_.clear();
    unquoted_.reserve(row_.size());  // views into it must stay valid
    const std::string_view row = row_;
    const char separator = static_cast<char>(separator_);
    for (size_t at = 0;;) {
      size_t end = at;
      if (at < row.size() && row[at] == '"') {
        const Quoted quoted = read_quoted(row, at);
        if (!quoted.closed && separator_ == Separator::comma) return false;
        const bool whole = quoted.closed && (quoted.end == row.size() || row[quoted.end] == separator);
        if (!whole && separator_ == Separator::comma) {
          cells_.assign(1, {});
          throw Error(ExitCode::data, "F30", "text behind the closing quote of a field", correct);
        }
        end = whole ? quoted.end : std::min(row.find(separator, at), row.size());
        cells_.push_back(whole ? quoted.text : row.substr(at, end - at));
      } else {
        end = std::min(row.find(separator, at), row.size());
        cells_.push_back(row.substr(at, end - at));
      }
      if (end == row.size()) return true;
      at = end + 1;
    }
  }

  struct Quoted {
    std::string_view text;
    size_t end = 0;  // behind the closing quote
    bool closed = false;
  };
  Quoted read_quoted(std::string_view row, size_t at) {
    const size_t begin = unquoted_.size();
    for (size_t i = at + 1; i < row.size(); ++i) {
      if (row[i] != '"')
        unquoted_ += row[i];
      else if (i + 1 < row.size() && row[i + 1] == '"')
        unquoted_ += row[i++];
      else
        return {std::string_view(unquoted_).substr(begin), i + 1, true};
    }
    return {};
  }

  LineReader lines_;
  Separator separator_;
  std::vector<std::string> columns_;
  FieldMap map_;
  std::string row_, unquoted_;
  std::vector<std::string_view> cells_;
  std::vector<Field> fields_;
  int64_t first_line_ = 0, first_offset_ = 0;
};

}  // namespace

std::unique_ptr<RecordReader> open_table(LineReader lines, Separator separator, std::vector<std::string> columns, Header header,
                                         FieldMap map) {
  if (!columns.empty() && header == Header::automatic)
    TableReader(LineReader::whole(lines.file()), separator, columns, Header::no, FieldMap("", "")).refuse_header();
  return std::make_unique<TableReader>(std::move(lines), separator, std::move(columns), header, std::move(map));
}

}  // namespace lodestone
