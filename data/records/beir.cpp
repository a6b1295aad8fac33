#include "data/records/beir.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <unordered_map>

#include "core/error.h"
#include "data/records/csv.h"
#include "data/records/jsonl.h"
#include "data/records/lines.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

using Index = std::unordered_map<std::string, int64_t>;

struct Judgement {
  std::string query, document;
  double grade = 0;
  int64_t line = 0, offset = 0;
};

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

fs::path find_file(const fs::path& folder, const std::string& name) {
  for (const fs::path& file : {folder / name, folder / (name + ".gz")})
    if (is_file(file)) return file;
  throw Error(ExitCode::data, "F32", cat("a BEIR folder without ", name), "add the file").at("file", folder.string());
}

fs::path find_qrels(const fs::path& folder, const std::string& split) {
  if (fs::path file = folder / "qrels" / (split + ".tsv"); is_file(file)) return file;
  std::vector<fs::path> files;
  std::string names;
  std::error_code ignored;  // what cannot be listed holds no other names to tell
  if (fs::is_directory(folder / "qrels", ignored))
    for (const auto& entry : fs::directory_iterator(folder / "qrels", ignored))
      if (entry.path().extension() == ".tsv") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) names += (names.empty() ? "" : ", ") + file.stem().string();
  throw Error(ExitCode::data, "F32", cat("no judgements qrels/", split, ".tsv", names.empty() ? "" : "; there are: ", names),
              names.empty() ? "add the file" : "choose one with --split")
      .at("file", folder.string());
}

/// The grade that a cell gives; nothing when it is no number.
std::optional<double> grade_of(std::string_view cell) {
  double grade = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), grade);
  if (error != std::errc() || end != cell.data() + cell.size() || !std::isfinite(grade)) return std::nullopt;
  return grade;
}

/// Judgements in the order of their first lines, each (query, document) once, with the grade of its last line.
class JudgementList {
 public:
  void add(Judgement&& j, JudgementNotes& notes) {
    const auto [found, is_new] = places_.emplace(cat(j.query, '\t', j.document), judgements_.size());
    if (is_new) {
      judgements_.push_back(std::move(j));
      return;
    }
    Judgement& known = judgements_[found->second];
    if (notes.repeated++ == 0) notes.repeated_line = j.line;
    notes.regraded += known.grade != j.grade;
    known.grade = j.grade;
  }
  std::vector<Judgement> take() { return std::move(judgements_); }

 private:
  std::vector<Judgement> judgements_;
  std::unordered_map<std::string, size_t> places_;
};

/// A first line whose last cell is no number is a header, whatever it says.
std::vector<Judgement> read_qrels(const fs::path& file, JudgementNotes& notes) {
  LineReader lines = LineReader::whole(file);
  JudgementList list;
  while (const auto line = lines.next()) {
    if (line->text.empty()) continue;
    std::vector<std::string_view> cells;
    for (size_t at = 0; at <= line->text.size();) {
      const size_t end = std::min(line->text.find('\t', at), line->text.size());
      cells.push_back(line->text.substr(at, end - at));
      at = end + 1;
    }
    if (cells.size() == 4) cells.erase(cells.begin() + 1);  // TREC: query 0 document grade
    const std::optional<double> grade = cells.size() == 3 ? grade_of(cells[2]) : std::nullopt;
    if (!grade && line->number == 1 && cells.size() == 3) continue;
    if (!grade)
      throw Error(ExitCode::data, "F30", "not query-id, corpus-id and a numeric score between tabs", "correct the line")
          .at("file", file.string())
          .at("line", line->number)
          .at("offset", line->offset);
    list.add(
        {.query = std::string(cells[0]), .document = std::string(cells[1]), .grade = *grade, .line = line->number, .offset = line->offset},
        notes);
  }
  std::vector<Judgement> judgements = list.take();
  if (judgements.empty())
    throw Error(ExitCode::data, "F32", "the file holds no judgements", "choose another with --split").at("file", file.string());
  return judgements;
}

/// A text field of the object read last; nothing when it is absent or null.
std::optional<std::string_view> text_field(const JsonLines& lines, std::string_view name) {
  for (const Field& f : lines.fields()) {
    if (f.name != name || f.kind == Field::Kind::null) continue;
    if (f.kind == Field::Kind::text) return f.texts[0];
    throw lines.located(Error(ExitCode::data, "F30", "not a text", "correct the line").at("field", name));
  }
  return std::nullopt;
}

/// Calls take(id, text) for every line of queries.jsonl or corpus.jsonl.
void read_texts(const fs::path& file, const std::function<void(std::string&& id, std::string&& text)>& take) {
  JsonLines lines(LineReader::whole(file));
  while (lines.next()) {
    const auto id = text_field(lines, "_id"), title = text_field(lines, "title"), text = text_field(lines, "text");
    if (!id || !text) throw lines.located(Error(ExitCode::data, "F30", "a line without _id and text", "correct the line"));
    std::string joined(title.value_or(""));
    if (!joined.empty() && !text->empty()) joined += ' ';
    joined += *text;
    take(std::string(*id), std::move(joined));
  }
}

Error duplicate(const fs::path& file, const std::string& id) {
  return Error(ExitCode::data, "F30", "an id given twice", "remove one of the two").at("file", file.string()).at("id", id);
}

}  // namespace

BeirSet read_beir(const fs::path& folder, const std::string& split, BeirDocuments documents) {
  BeirSet set;
  set.query_file = find_file(folder, "queries.jsonl");
  set.document_file = find_file(folder, "corpus.jsonl");
  set.judgement_file = find_qrels(folder, split);
  const std::vector<Judgement> judgements = read_qrels(set.judgement_file, set.notes);
  Index wanted_queries, wanted_documents;  // -1 until the text is seen
  for (const Judgement& j : judgements) {
    wanted_queries.emplace(j.query, -1);
    wanted_documents.emplace(j.document, -1);
  }
  read_texts(set.query_file, [&](std::string&& id, std::string&& text) {
    const auto found = wanted_queries.find(id);
    if (found == wanted_queries.end()) return;
    if (found->second >= 0) throw duplicate(set.query_file, id);
    found->second = std::ssize(set.queries);
    set.query_ids.push_back(std::move(id));
    set.queries.push_back(std::move(text));
  });
  Index unjudged;
  read_texts(set.document_file, [&](std::string&& id, std::string&& text) {
    auto found = wanted_documents.find(id);
    if (found == wanted_documents.end() && documents == BeirDocuments::judged) return;
    if (found == wanted_documents.end()) found = unjudged.emplace(id, -1).first;
    if (found->second >= 0) throw duplicate(set.document_file, id);
    found->second = std::ssize(set.documents);
    set.document_ids.push_back(std::move(id));
    set.documents.push_back(std::move(text));
  });
  set.judgements.resize(set.queries.size());
  for (const Judgement& j : judgements) {
    const int64_t query = wanted_queries.at(j.query), document = wanted_documents.at(j.document);
    if (query < 0 || (document < 0 && documents == BeirDocuments::judged))
      throw Error(ExitCode::data, "F30", query < 0 ? "a judgement of an unknown query" : "a judgement of an unknown document",
                  "remove the line or add the text")
          .at("file", set.judgement_file.string())
          .at("line", j.line)
          .at("offset", j.offset);
    if (document < 0 && set.notes.missing++ == 0) set.notes.missing_line = j.line;
    set.judgements[static_cast<size_t>(query)].emplace_back(document, j.grade);
  }
  for (auto& of_query : set.judgements) std::sort(of_query.begin(), of_query.end());
  return set;
}

std::vector<std::string> judgement_warnings(const BeirSet& set) {
  const JudgementNotes& n = set.notes;
  const std::string file = set.judgement_file.string();
  std::vector<std::string> lines;
  if (n.repeated > 0) {
    lines.push_back(
        cat(n.repeated, " judgements of ", file, " stand there again (the first in line ", n.repeated_line, ") and count once"));
    if (n.regraded > 0) lines.back() += cat("; ", n.regraded, " of them with another grade: the last one counts");
  }
  if (n.missing > 0)
    lines.push_back(cat(n.missing, " judgements of ", file, " are of documents that the corpus lacks (the first in line ", n.missing_line,
                        ") and count as never found"));
  return lines;
}

std::vector<int64_t> own_documents(const BeirSet& set) {
  Index documents;
  for (const std::string& id : set.document_ids) documents.emplace(id, std::ssize(documents));
  std::vector<int64_t> own;
  for (const std::string& id : set.query_ids) {
    const auto found = documents.find(id);
    own.push_back(found == documents.end() ? -1 : found->second);
  }
  return own;
}

namespace {

class BeirReader : public RecordReader {
 public:
  BeirReader(const fs::path& folder, const std::string& split) : folder_(folder), set_(read_beir(folder, split, BeirDocuments::judged)) {}
  bool next(Record& out) override {
    while (query_ < set_.queries.size() && !positive_at(next_)) {
      if (next_ < set_.judgements[query_].size()) {
        ++next_;
      } else {
        ++query_;
        next_ = 0;
      }
    }
    if (query_ == set_.queries.size()) return false;
    const size_t document = static_cast<size_t>(set_.judgements[query_][next_++].first);
    out = {};
    out.query = set_.queries[query_];
    out.query_document = text_hash(set_.query_ids[query_]);
    out.positives.assign(1, set_.documents[document]);
    out.positive_documents.assign(1, text_hash(set_.document_ids[document]));
    return true;
  }
  RecordPlace place() const override { return {folder_.string(), static_cast<int64_t>(query_) + 1, 0}; }
  int64_t consumed() const override { return 0; }
  const std::set<std::string>& ignored_fields() const override { return ignored_; }
  std::vector<std::string> warnings() const override { return judgement_warnings(set_); }

 private:
  bool positive_at(size_t i) const { return i < set_.judgements[query_].size() && set_.judgements[query_][i].second > 0; }
  fs::path folder_;
  BeirSet set_;
  std::set<std::string> ignored_;
  size_t query_ = 0, next_ = 0;
};

}  // namespace

std::unique_ptr<RecordReader> open_beir(const fs::path& folder, const std::string& split) {
  return std::make_unique<BeirReader>(folder, split);
}

}  // namespace lodestone
