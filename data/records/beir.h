// BEIR folders: queries, a corpus and judgements, for evaluation and as training records.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/records/records.h"

namespace lodestone {

/// What is odd about judgements, with the line of the first such one.
struct JudgementNotes {
  int64_t repeated = 0, repeated_line = 0;  // lines whose query and document an earlier line has
  int64_t regraded = 0;                     // those of them that give another grade
  int64_t missing = 0, missing_line = 0;    // judgements of documents that the corpus lacks
};

/// queries.jsonl, corpus.jsonl and qrels/SPLIT.tsv. Only queries with judgements are kept, in the order of queries.jsonl.
struct BeirSet {
  std::filesystem::path query_file, document_file, judgement_file;
  std::vector<std::string> query_ids, queries;
  std::vector<std::string> document_ids, documents;                 // title and text joined by a blank
  std::vector<std::vector<std::pair<int64_t, double>>> judgements;  // per query: (index of document, grade), by document;
                                                                    // index -1: the corpus lacks it, so it is never found
  JudgementNotes notes;
};

enum class BeirDocuments : uint8_t { all, judged };

/// Reads a folder; .gz files are accepted. Another split's judgements are never taken. Of several judgements of one document the last
/// counts. Throws Error (data): F30, F31 with file, line and offset; F32 for missing files, naming the splits that there are. A judgement
/// of an unknown query is F30; one of an unknown document is too where only judged documents are read: there would be no text.
BeirSet read_beir(const std::filesystem::path& folder, const std::string& split, BeirDocuments documents);

/// The notes as lines for people; none when nothing is odd.
std::vector<std::string> judgement_warnings(const BeirSet& set);

/// For each query the index of the document that has its id, -1 when none has: then the query is a document of the corpus.
std::vector<int64_t> own_documents(const BeirSet& set);

/// Training records: every query with each of its documents of a grade above 0, in the order of the queries.
std::unique_ptr<RecordReader> open_beir(const std::filesystem::path& folder, const std::string& split);

}  // namespace lodestone
