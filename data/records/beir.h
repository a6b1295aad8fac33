// BEIR folders: queries, a corpus and judgements, for evaluation and as training records.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/records/records.h"

namespace lodestone {

/// queries.jsonl, corpus.jsonl and qrels/SPLIT.tsv. Only queries with judgements are kept, in the order of queries.jsonl.
struct BeirSet {
  std::vector<std::string> query_ids, queries;
  std::vector<std::string> document_ids, documents;                 // title and text joined by a blank
  std::vector<std::vector<std::pair<int64_t, double>>> judgements;  // per query: (index of document, grade), by document
};

enum class BeirDocuments : uint8_t { all, judged };

/// Reads a folder; .gz files are accepted. Another split's judgements are never taken. Throws Error (data):
/// F30, F31 with file, line and offset; F32 for missing files, naming the splits that there are; a judgement of an unknown document is F30.
BeirSet read_beir(const std::filesystem::path& folder, const std::string& split, BeirDocuments documents);

/// Training records: every query with each of its documents of a grade above 0, in the order of the queries.
std::unique_ptr<RecordReader> open_beir(const std::filesystem::path& folder, const std::string& split);

}  // namespace lodestone
