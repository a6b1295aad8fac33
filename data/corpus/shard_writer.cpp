#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "data/corpus/shard.h"

namespace lodestone {

namespace {

constexpr size_t max_sources = 10000;
constexpr size_t max_prompts = 100000;

/// A list that grows by lists: the elements flat, and where each list begins.
template <class T>
struct Ragged {
  std::vector<T> values;
  std::vector<int64_t> offsets{0};

  void close() { offsets.push_back(static_cast<int64_t>(values.size())); }
  void append(const Ragged& other) {
    const int64_t base = offsets.back();
    values.insert(values.end(), other.values.begin(), other.values.end());
    for (size_t i = 1; i < other.offsets.size(); ++i) offsets.push_back(base + other.offsets[i]);
  }
  int64_t size_bytes() const { return static_cast<int64_t>(values.size() * sizeof(T) + offsets.size() * sizeof(int64_t)); }
};

/// The texts of one role.
struct Texts {
  Ragged<int32_t> ids;
  std::vector<uint64_t> hash, document;

  void add(const PackedText& text) {
    ids.values.insert(ids.values.end(), text.ids.begin(), text.ids.end());
    ids.close();
    hash.push_back(text.text_hash);
    document.push_back(text.document);
  }
  void append(const Texts& other) {
    ids.append(other.ids);
    hash.insert(hash.end(), other.hash.begin(), other.hash.end());
    document.insert(document.end(), other.document.begin(), other.document.end());
  }
  int64_t count() const { return static_cast<int64_t>(hash.size()); }
  int64_t size_bytes() const { return ids.size_bytes() + 16 * count(); }
};

/// All columns of a run of rows.
struct Columns {
  Texts query, positive, negative;
  std::vector<int64_t> positive_rows{0}, negative_rows{0};  // texts of row r: [rows[r], rows[r + 1])
  std::vector<int32_t> source, prompt;
  std::vector<int64_t> label;
  std::vector<double> score;
  Ragged<double> teacher;
  Ragged<char> answers;  // one list per answer
  std::vector<int64_t> answer_rows{0};

  int64_t rows() const { return static_cast<int64_t>(source.size()); }
  void append(const Columns& other) {
    const auto append_rows = [](std::vector<int64_t>& rows, const std::vector<int64_t>& more) {
      const int64_t base = rows.back();
      for (size_t i = 1; i < more.size(); ++i) rows.push_back(base + more[i]);
    };
    const auto append_values = [](auto& values, const auto& more) { values.insert(values.end(), more.begin(), more.end()); };
    query.append(other.query);
    positive.append(other.positive);
    negative.append(other.negative);
    append_rows(positive_rows, other.positive_rows);
    append_rows(negative_rows, other.negative_rows);
    append_rows(answer_rows, other.answer_rows);
    append_values(source, other.source);
    append_values(prompt, other.prompt);
    append_values(label, other.label);
    append_values(score, other.score);
    teacher.append(other.teacher);
    answers.append(other.answers);
  }
};

/// Names in order of first appearance.
struct Table {
  std::map<std::string, int32_t, std::less<>> index;
  std::vector<std::string> names;

  int32_t of(std::string_view name, size_t limit, const char* what) {
    if (const auto found = index.find(name); found != index.end()) return found->second;
    if (names.size() == limit)
      throw Error(ExitCode::data, "too-many", cat("more than ", limit, " different ", what, "s"),
                  "check which field names them (--source-field)");
    const int32_t next = static_cast<int32_t>(names.size());
    names.emplace_back(name);
    index.emplace(names.back(), next);
    return next;
  }
};

template <class T>
void write(H5Writer& file, const std::string& path, H5Type type, const std::vector<T>& values) {
  file.column(path, type, values.data(), static_cast<int64_t>(values.size()));
}

void write_ids(H5Writer& file, const std::string& path, const std::vector<int32_t>& ids, int64_t vocab_size) {
  if (vocab_size > 65535) return write(file, path, H5Type::i32, ids);
  const std::vector<uint16_t> narrow(ids.begin(), ids.end());
  write(file, path, H5Type::u16, narrow);
}

void write_texts(H5Writer& file, const std::string& role, const Texts& texts, int64_t vocab_size) {
  file.attribute(role + "_texts", texts.count());
  file.attribute(role + "_tokens", texts.ids.offsets.back());
  if (texts.count() == 0) return;
  write_ids(file, role + "/ids", texts.ids.values, vocab_size);
  write(file, role + "/offsets", H5Type::i64, texts.ids.offsets);
  write(file, role + "/text_hash", H5Type::u64, texts.hash);
  if (texts.document != texts.hash) write(file, role + "/document", H5Type::u64, texts.document);
}

void write_table(H5Writer& file, const std::string& name, const std::vector<std::string>& names) {
  Ragged<char> text;
  for (const std::string& n : names) {
    text.values.insert(text.values.end(), n.begin(), n.end());
    text.close();
  }
  if (names.empty()) return;
  write(file, "table/" + name + "_bytes", H5Type::u8, text.values);
  write(file, "table/" + name + "_offsets", H5Type::i64, text.offsets);
}

template <class T, class Is>
bool any(const std::vector<T>& values, Is is) {
  return std::any_of(values.begin(), values.end(), is);
}

}  // namespace

struct ShardWriter::Impl {
  ShardSchema schema;
  Table sources, prompts;
  std::vector<Columns> by_source;
  int64_t rows = 0, bytes = 0;
};

ShardWriter::ShardWriter(const ShardSchema& schema) : impl_(std::make_unique<Impl>()) { impl_->schema = schema; }
ShardWriter::ShardWriter(ShardWriter&&) noexcept = default;
ShardWriter::~ShardWriter() = default;
int64_t ShardWriter::rows() const { return impl_->rows; }
int64_t ShardWriter::size_bytes() const { return impl_->bytes; }

void ShardWriter::add(const ShardRow& row) {
  Impl& impl = *impl_;
  const int32_t source = impl.sources.of(row.source, max_sources, "source");
  if (static_cast<size_t>(source) == impl.by_source.size()) impl.by_source.emplace_back();
  Columns& c = impl.by_source[static_cast<size_t>(source)];
  const auto add_text = [&](Texts& texts, const PackedText& text) {
    for (const int32_t id : text.ids)
      LODE_CHECK(id >= 0 && id < impl.schema.vocab_size, "token id ", id, " of a vocabulary of ", impl.schema.vocab_size);
    texts.add(text);
    impl.bytes += static_cast<int64_t>(text.ids.size_bytes()) + 24;
  };
  add_text(c.query, row.query);
  for (const PackedText& text : row.positives) add_text(c.positive, text);
  for (const PackedText& text : row.negatives) add_text(c.negative, text);
  c.positive_rows.push_back(c.positive.count());
  c.negative_rows.push_back(c.negative.count());
  c.source.push_back(source);
  c.prompt.push_back(row.prompt ? impl.prompts.of(*row.prompt, max_prompts, "prompt") : -1);
  c.label.push_back(row.label);
  c.score.push_back(row.score);
  c.teacher.values.insert(c.teacher.values.end(), row.teacher_scores.begin(), row.teacher_scores.end());
  c.teacher.close();
  for (const std::string_view answer : row.answers) {
    c.answers.values.insert(c.answers.values.end(), answer.begin(), answer.end());
    c.answers.close();
    impl.bytes += static_cast<int64_t>(answer.size()) + 8;
  }
  c.answer_rows.push_back(static_cast<int64_t>(c.answers.offsets.size()) - 1);
  impl.bytes += 48 + static_cast<int64_t>(row.teacher_scores.size_bytes());
  ++impl.rows;
}

PackedShard ShardWriter::finish() {
  Impl& impl = *impl_;
  PackedShard shard;
  shard.rows = impl.rows;
  shard.prompts = impl.prompts.names;
  Columns all;
  for (size_t s = 0; s < impl.by_source.size(); ++s) {
    shard.sources.emplace_back(impl.sources.names[s], impl.by_source[s].rows());
    all.append(impl.by_source[s]);
    impl.by_source[s] = {};
  }
  H5Writer file;
  file.attribute("format", std::string_view("lodestone corpus shard"));
  file.attribute("version", shard_version);
  file.attribute("rows", all.rows());
  file.attribute("vocab_size", impl.schema.vocab_size);
  file.attribute("tokenizer_fingerprint", impl.schema.tokenizer_fingerprint);
  write_texts(file, "query", all.query, impl.schema.vocab_size);
  write_texts(file, "positive", all.positive, impl.schema.vocab_size);
  write_texts(file, "negative", all.negative, impl.schema.vocab_size);
  if (all.positive.count() > 0) write(file, "positive/row_offsets", H5Type::i64, all.positive_rows);
  if (all.negative.count() > 0) write(file, "negative/row_offsets", H5Type::i64, all.negative_rows);
  write(file, "row/source", H5Type::i32, all.source);
  if (any(all.prompt, [](int32_t p) { return p >= 0; })) write(file, "row/prompt", H5Type::i32, all.prompt);
  if (any(all.label, [](int64_t l) { return l >= 0; })) write(file, "row/label", H5Type::i64, all.label);
  if (any(all.score, [](double s) { return !std::isnan(s); })) write(file, "row/score", H5Type::f64, all.score);
  if (!all.teacher.values.empty()) {
    write(file, "row/teacher_offsets", H5Type::i64, all.teacher.offsets);
    write(file, "row/teacher_scores", H5Type::f64, all.teacher.values);
  }
  if (all.answers.offsets.size() > 1) {
    write(file, "row/answer_row_offsets", H5Type::i64, all.answer_rows);
    write(file, "row/answer_offsets", H5Type::i64, all.answers.offsets);
    write(file, "row/answer_bytes", H5Type::u8, all.answers.values);
  }
  write_table(file, "source", impl.sources.names);
  write_table(file, "prompt", impl.prompts.names);
  all = {};
  file.attribute("complete", int64_t{1});
  shard.image = file.finish();
  const ShardSchema schema = impl.schema;
  impl = {};
  impl.schema = schema;
  return shard;
}

}  // namespace lodestone
