// Inputs: which files are packed, in which format, and into which pieces of work they are cut, whatever the number of ranks.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/records/csv.h"
#include "data/records/lines.h"
#include "data/records/records.h"

namespace lodestone {

enum class InputFormat : uint8_t { automatic, jsonl, csv, tsv, beir };
/// "auto", "jsonl", "csv", "tsv", "beir". Throws Error (usage).
InputFormat input_format(const std::string& name);
/// What the ending of a file's name says, before .gz; automatic: nothing.
InputFormat format_by_name(const std::filesystem::path& file);

struct InputOptions {
  InputFormat format = InputFormat::automatic;
  std::string source_field = {};           // see FieldMap
  std::vector<std::string> columns = {};   // names for tables; empty: the first line is the header
  Header header = Header::automatic;       // of tables
  std::string split = "train";             // of a BEIR folder: qrels/SPLIT.tsv
  int64_t unit_bytes = int64_t{64} << 20;  // a plain JSONL file is cut into ranges of this size
};

/// A piece of work: a range of a plain JSONL file, a whole other file, or a whole BEIR folder.
struct WorkUnit {
  int64_t index = 0;
  std::filesystem::path file;
  InputFormat format = InputFormat::jsonl;
  ByteRange range;     // jsonl only; {0, 0}: the whole file (gzip)
  std::string source;  // what its rows are called unless they say otherwise
  int64_t bytes = 0;   // on disk
};

/// Units in the order of the inputs; folders are walked in the order of their file names. Throws Error (usage) for a
/// missing path or an unknown format, Error (data) for an empty file (F32) or a folder without data.
std::vector<WorkUnit> work_units(std::span<const std::filesystem::path> inputs, const InputOptions& options);

/// Reads the records of a unit.
std::unique_ptr<RecordReader> open_unit(const WorkUnit& unit, const InputOptions& options);

}  // namespace lodestone
