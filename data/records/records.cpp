#include "data/records/records.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>

namespace lodestone {

namespace {

constexpr size_t max_ignored = 1000;  // rows may name fields by their content

/// The names of a record's parts. A row gives each part under one of them.
constexpr std::array<std::string_view, 5> query_names{"query", "anchor", "sentence1", "text", "question"};
constexpr std::array<std::string_view, 7> positive_names{"pos", "positive", "positives", "text_pos", "sentence2", "text_pair", "answer"};
constexpr std::array<std::string_view, 4> negative_names{"neg", "negative", "negatives", "text_neg"};
constexpr std::array<std::string_view, 2> query_id_names{"query_id", "qid"};
constexpr std::array<std::string_view, 2> score_names{"score", "similarity"};
constexpr std::array<std::string_view, 2> negative_score_names{"neg_scores", "neg_score"};
constexpr std::array<std::string_view, 15> other_names{"label",          "history",   "pos_scores", "neg_scores", "neg_score",
                                                       "teacher_scores", "answers",   "prompt",     "query_id",   "qid",
                                                       "pos_index",      "neg_index", "source",     "task",       "type"};

/// negative_1, negative_2, ...; not negative_id or negative_score, which are no texts.
bool is_numbered_negative(std::string_view name) {
  constexpr std::string_view begin = "negative_";
  return name.size() > begin.size() && name.starts_with(begin) &&
         std::all_of(name.begin() + begin.size(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

template <size_t n>
bool contains(const std::array<std::string_view, n>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Error bad(const std::string& what, std::string_view field, const char* remedy = "correct the row") {
  Error error(ExitCode::data, "F30", what, remedy);
  if (!field.empty()) error.at("field", field);
  return error;
}

/// The fields of one record by name; null counts as absent.
class Fields {
 public:
  explicit Fields(std::span<const Field> fields) : fields_(fields) {}
  const Field* find(std::string_view name) const {
    for (const Field& f : fields_)
      if (f.name == name) return f.kind == Field::Kind::null ? nullptr : &f;
    return nullptr;
  }
  template <size_t n>
  const Field* first_of(const std::array<std::string_view, n>& names) const {
    for (const std::string_view name : names)
      if (const Field* f = find(name)) return f;
    return nullptr;
  }
  /// The field that has one of the names. Throws Error (data, F30) when two have: neither may be dropped without a word.
  template <size_t n>
  const Field* one_of(const std::array<std::string_view, n>& names) const {
    const Field* only = nullptr;
    for (const std::string_view name : names) {
      const Field* f = find(name);
      if (f != nullptr && only != nullptr)
        throw bad(cat("two names for one part of a row: ", only->name, " and ", f->name), f->name, "keep one of the two fields");
      if (f != nullptr) only = f;
    }
    return only;
  }

 private:
  std::span<const Field> fields_;
};

std::string_view checked(std::string_view text, std::string_view field) {
  const size_t visible = text.find_first_not_of(" \t\r\n\f\v");
  if (visible == std::string_view::npos) throw bad("empty text", field);
  if (text.find('\0') != std::string_view::npos)
    throw Error(ExitCode::data, "F31", "a NUL character in a text", "remove it").at("field", field);
  return text;
}

std::string_view one_text(const Field& f) {
  if (f.kind == Field::Kind::empty_list) throw bad("a list where a text belongs", f.name);
  if (f.kind == Field::Kind::texts) throw bad("a list where a text belongs", f.name);
  if (f.kind != Field::Kind::text && f.kind != Field::Kind::cell) throw bad("not a text", f.name);
  return checked(f.texts[0], f.name);
}

void add_texts(const Field& f, std::vector<std::string_view>& out) {
  if (f.kind == Field::Kind::empty_list) return;
  if (f.kind != Field::Kind::text && f.kind != Field::Kind::cell && f.kind != Field::Kind::texts)
    throw bad("neither a text nor a list of texts", f.name);
  for (const std::string_view text : f.texts) out.push_back(checked(text, f.name));
}

double one_number(const Field& f) {
  if (f.kind == Field::Kind::number) return f.numbers[0];
  double value = 0;
  if (f.kind == Field::Kind::cell) {
    const std::string_view cell = f.texts[0];
    const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (error == std::errc() && end == cell.data() + cell.size() && std::isfinite(value)) return value;
  }
  throw bad("not a number", f.name);
}

std::optional<double> number_of(const Field* f) {
  if (f == nullptr) return std::nullopt;
  return one_number(*f);
}

void add_numbers(const Field* f, size_t expected, std::vector<double>& out, const char* of) {
  if (f == nullptr) return;
  if (f->kind != Field::Kind::numbers && f->kind != Field::Kind::empty_list) throw bad("not a list of numbers", f->name);
  if (f->numbers.size() != expected) throw bad(cat(f->numbers.size(), " numbers for ", expected, " ", of), f->name);
  out.insert(out.end(), f->numbers.begin(), f->numbers.end());
}

void add_ids(const Field* f, size_t texts, std::vector<uint64_t>& out) {
  if (f == nullptr || f->kind == Field::Kind::empty_list) return;
  if (f->texts.empty() && f->integers.empty()) throw bad("neither texts nor integers, as document ids are", f->name);
  for (const std::string_view text : f->texts) out.push_back(text_hash(text));
  for (const int64_t number : f->integers) out.push_back(text_hash(std::to_string(number)));
  if (out.size() != texts) throw bad(cat(out.size(), " document ids for ", texts, " texts"), f->name);
}

/// Teacher scores of the positives, then of the negatives: one field, or one for each.
void map_teacher(const Fields& fields, Record& out) {
  out.teacher_scores.clear();
  const size_t p = out.positives.size(), n = out.negatives.size();
  if (const Field* f = fields.find("teacher_scores")) return add_numbers(f, p + n, out.teacher_scores, "positives and negatives");
  const Field* of_positives = fields.find("pos_scores");
  const Field* of_negatives = fields.one_of(negative_score_names);
  if (of_positives == nullptr && of_negatives == nullptr) return;
  if (p > 0 && of_positives == nullptr) throw bad("negatives have scores but positives have none", "pos_scores");
  if (n > 0 && of_negatives == nullptr) throw bad("positives have scores but negatives have none", "neg_scores");
  add_numbers(of_positives, p, out.teacher_scores, "positives");
  add_numbers(of_negatives, n, out.teacher_scores, "negatives");
}

/// `score`, or `label` of a pair of sentences, is the pair's score; any other `label` is a class.
void map_score_and_label(const Fields& fields, std::string_view positive_name, Record& out) {
  const Field* score = fields.one_of(score_names);
  out.score = number_of(score).value_or(std::nan(""));
  if (score != nullptr && out.positives.size() != 1)
    throw bad(cat("a score of a pair, but ", out.positives.size(), " positives"), score->name);
  out.label = -1;
  const Field* label = fields.find("label");
  if (label == nullptr) return;
  if (positive_name == "sentence2" || positive_name == "text_pair") {
    if (std::isnan(out.score)) out.score = one_number(*label);
    return;
  }
  const double value = one_number(*label);
  if (value < 0 || value > 1e15 || value != std::floor(value)) throw bad("a class label is an integer from 0", "label");
  out.label = static_cast<int64_t>(value);
}

}  // namespace

RecordPart part_of(std::string_view name) {
  if (contains(query_names, name)) return RecordPart::query;
  if (contains(positive_names, name)) return RecordPart::positive;
  return contains(negative_names, name) || is_numbered_negative(name) ? RecordPart::negative : RecordPart::none;
}
bool names_query(std::string_view name) { return part_of(name) == RecordPart::query; }
bool may_be_empty(std::string_view name) {
  return !contains(query_names, name) && !contains(positive_names, name) && !contains(score_names, name);
}

uint64_t text_hash(std::string_view text) { return XXH64(text.data(), text.size(), 0); }
uint64_t document_hash(std::string_view source, uint64_t id) {
  const uint64_t both[] = {text_hash(source), id};
  return XXH64(both, sizeof both, 0);
}

FieldMap::FieldMap(std::string source_field, std::string file_source)
    : source_field_(std::move(source_field)), file_source_(std::move(file_source)) {}

void FieldMap::map(std::span<const Field> all, Record& out) {
  const Fields fields(all);
  const Field* query = fields.one_of(query_names);
  if (query == nullptr) throw bad("the row names no query", {}, "give it as one of query, anchor, sentence1, text, question");
  out.query = one_text(*query);

  out.positives.clear();
  const Field* positive = fields.one_of(positive_names);
  if (positive != nullptr) add_texts(*positive, out.positives);
  out.negatives.clear();
  if (const Field* f = fields.one_of(negative_names)) add_texts(*f, out.negatives);
  for (const Field& f : all)
    if (is_numbered_negative(f.name) && f.kind != Field::Kind::null) out.negatives.push_back(one_text(f));
  const Field* history = fields.find("history");
  if (history != nullptr && out.positives.empty() && out.negatives.empty()) add_texts(*history, out.negatives);

  map_teacher(fields, out);
  const bool alone = positive == nullptr && out.negatives.empty() && query->name == "text" && fields.find("label") == nullptr &&
                     fields.one_of(score_names) == nullptr && out.teacher_scores.empty();  // a text to pre-train on
  if (!alone && positive == nullptr && out.negatives.empty())
    throw bad("the row names no positive", {}, "give it as one of pos, positive, positives, text_pos, sentence2, text_pair, answer");
  if (!alone && out.positives.empty() && out.teacher_scores.empty())
    throw bad("no positive, and no teacher scores to choose one by", positive != nullptr ? positive->name : std::string_view("pos"));
  map_score_and_label(fields, positive != nullptr ? positive->name : std::string_view{}, out);

  out.answers.clear();
  if (const Field* f = fields.find("answers")) add_texts(*f, out.answers);
  out.prompt.reset();
  if (const Field* f = fields.find("prompt"); f != nullptr && !(f->texts.size() == 1 && f->texts[0].empty())) out.prompt = one_text(*f);
  std::vector<uint64_t> id;
  add_ids(fields.one_of(query_id_names), 1, id);
  out.query_document = id.empty() ? std::nullopt : std::optional(id[0]);
  out.positive_documents.clear();
  out.negative_documents.clear();
  add_ids(fields.find("pos_index"), out.positives.size(), out.positive_documents);
  add_ids(fields.find("neg_index"), out.negatives.size(), out.negative_documents);

  out.source.reset();
  if (!source_field_.empty()) {
    const Field* f = fields.find(source_field_);
    if (f == nullptr) throw bad("the field of --source-field is missing", source_field_);
    out.source = one_text(*f);
  } else if (const Field* f = fields.first_of(std::array<std::string_view, 2>{"source", "task"})) {
    out.source = one_text(*f);
  } else if (const Field* type = fields.find("type")) {
    source_ = cat(file_source_, '/', one_text(*type));
    out.source = source_;
  }
  for (const Field& f : all) {
    if (contains(query_names, f.name) || contains(positive_names, f.name) || contains(negative_names, f.name) ||
        contains(score_names, f.name) || contains(other_names, f.name) || is_numbered_negative(f.name) || f.name == source_field_)
      continue;
    if (!ignored_.contains(std::string(f.name))) ignored_.emplace(ignored_.size() < max_ignored ? f.name : more_ignored);
  }
}

}  // namespace lodestone
