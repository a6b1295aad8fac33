// Records: one training record as text, and how the fields of the formats in use become one.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace lodestone {

/// A query with its positives and negatives, or a scored pair: query = sentence1, one positive = sentence2, and a score; or a text
/// alone, which stands as the query.
/// Views are valid until the reader that gave them moves on.
struct Record {
  std::string_view query;
  std::vector<std::string_view> positives, negatives, answers;
  std::optional<std::string_view> source, prompt;
  std::vector<double> teacher_scores;                            // positives then negatives, or empty
  std::optional<uint64_t> query_document;                        // text_hash of document ids, where given
  std::vector<uint64_t> positive_documents, negative_documents;  // one per text, or empty
  int64_t label = -1;                                            // class label, -1: none
  double score = std::nan("");                                   // NaN: none
};

/// Stands for names that are not listed; no name sorts behind it.
inline constexpr std::string_view more_ignored = "\xff";

/// A row that its reader may leave out (`pack` by --on-bad-row): reading goes on behind it. All other errors end the reading.
class BadRow : public Error {
 public:
  explicit BadRow(const Error& error) : Error(error) {}
};

/// Where the record read last stands.
struct RecordPlace {
  std::string file;
  int64_t line = 0, offset = 0;
};

/// Records one after another.
class RecordReader {
 public:
  virtual ~RecordReader() = default;
  /// Fills `out`; false at the end. Throws BadRow, or Error for what no policy can skip.
  virtual bool next(Record& out) = 0;
  virtual RecordPlace place() const = 0;
  /// Bytes of the input consumed: for progress.
  virtual int64_t consumed() const = 0;
  /// Names of fields seen that mean nothing here; of very many the first ones and `more_ignored`.
  virtual const std::set<std::string>& ignored_fields() const = 0;
  /// What is odd about the input but can be read, in lines for people.
  virtual std::vector<std::string> warnings() const { return {}; }
};

/// A named value as a format delivers it.
struct Field {
  enum class Kind : uint8_t { null, text, number, texts, numbers, empty_list, cell, other };  // cell: text of a table, perhaps a number
  std::string_view name;
  Kind kind = Kind::null;
  std::vector<std::string_view> texts;
  std::vector<double> numbers;
  std::vector<int64_t> integers;  // the same numbers when all are integers, else empty
};

/// Turns fields into a record. The names understood are listed in data/records/README.md.
class FieldMap {
 public:
  /// source_field: the field that names the source; empty: `source`, then `task`, then FILE/type.
  FieldMap(std::string source_field, std::string file_source);
  /// Throws Error (data): F30 missing, empty or of another type, F31 NUL in a text; with field=.
  void map(std::span<const Field> fields, Record& out);
  const std::set<std::string>& ignored_fields() const { return ignored_; }

 private:
  std::string source_field_, file_source_, source_;
  std::set<std::string> ignored_;
};

/// What a field of this name is in a row.
enum class RecordPart : uint8_t { query, positive, negative, none };
RecordPart part_of(std::string_view name);
/// Whether a column of this name gives the query; whether a cell of it may be empty and then counts as absent.
bool names_query(std::string_view name);
bool may_be_empty(std::string_view name);

/// XXH64 of a text.
uint64_t text_hash(std::string_view text);
/// A document by its source and the text_hash of its id: sources number their documents each for itself, so equal ids of two
/// sources are two documents. XXH64 of the 16 bytes of text_hash(source) and `id`.
uint64_t document_hash(std::string_view source, uint64_t id);

}  // namespace lodestone
