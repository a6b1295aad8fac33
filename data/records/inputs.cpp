#include "data/records/inputs.h"

#include <algorithm>
#include <system_error>

#include "core/error.h"
#include "data/files/durable.h"
#include "data/files/utf8.h"
#include "data/records/beir.h"
#include "data/records/jsonl.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view no_in_batch = "no_in_batch_neg";

/// An input that is not there, or that the system does not let us look at.
Error missing(const std::string& what, const char* remedy, const fs::path& input) {
  return Error(ExitCode::usage, "missing", what, remedy).at("file", input.string());
}

/// What an input is. Throws Error (usage, "missing").
fs::file_type kind_of(const fs::path& input) {
  std::error_code failure;
  const fs::file_type type = fs::status(input, failure).type();
  if (type == fs::file_type::not_found) throw missing("no such file or folder", "check the path", input);
  if (failure) throw missing(failure.message(), "check the path and its permissions", input);
  return type;
}

/// The file's name without .gz and without its format's ending.
std::string stem(const fs::path& file) {
  const fs::path inner = file.extension() == ".gz" ? file.stem() : file;
  return utf8_name(inner.stem().string());
}

/// The folder's own path, links followed; as given where that cannot be found out.
fs::path whole_path(const fs::path& folder) {
  std::error_code failure;
  const fs::path whole = fs::weakly_canonical(folder, failure);
  return failure ? folder : whole;
}

bool is_beir(const fs::path& folder) {
  const auto has = [&](const char* name) { return path_exists(folder / name) || path_exists(folder / (std::string(name) + ".gz")); };
  std::error_code ignored;
  return has("corpus.jsonl") && has("queries.jsonl") && fs::is_directory(folder / "qrels", ignored);
}

/// Convention of FlagEmbedding: a folder or file whose name ends in no_in_batch_neg; the source keeps that ending.
std::string source_name(const fs::path& file, const fs::path& input) {
  std::string name = stem(file);
  for (fs::path folder = file.parent_path(); !name.ends_with(no_in_batch); folder = folder.parent_path()) {
    if (folder.filename().string().ends_with(no_in_batch)) name += cat('-', no_in_batch);
    if (folder == input || !folder.has_relative_path() || folder == folder.parent_path()) break;
  }
  return name;
}

class UnitList {
 public:
  explicit UnitList(const InputOptions& options) : options_(options) {}

  void add_file(const fs::path& file, const fs::path& input) {
    std::error_code failure;
    const auto bytes = static_cast<int64_t>(fs::file_size(file, failure));
    if (failure) throw missing(failure.message(), "check the file and its permissions", file);
    if (bytes == 0) throw Error(ExitCode::data, "F32", "the file is empty", "remove it from the inputs").at("file", file.string());
    const InputFormat format = options_.format == InputFormat::automatic ? format_by_name(file) : options_.format;
    if (format == InputFormat::automatic)
      throw Error(ExitCode::usage, "format", "cannot tell the format by the file's name", "name it with --format jsonl, csv, tsv or beir")
          .at("file", file.string());
    const std::string source = source_name(file, input);
    if (format != InputFormat::jsonl || is_gzip(file)) return push({0, file, format, {}, source, bytes});
    for (int64_t begin = 0; begin < bytes; begin += options_.unit_bytes) {
      const int64_t end = std::min(bytes, begin + options_.unit_bytes);
      push({0, file, format, {begin, end}, source, end - begin});
    }
  }

  void add_folder(const fs::path& folder) {
    if (options_.format == InputFormat::beir || (options_.format == InputFormat::automatic && is_beir(folder)))
      return push({0, folder, InputFormat::beir, {}, utf8_name(whole_path(folder).filename().string()), 0});
    std::vector<fs::path> files;
    std::error_code failure, ignored;
    for (auto entry = fs::recursive_directory_iterator(folder, failure); !failure && entry != fs::recursive_directory_iterator();
         entry.increment(failure))
      if (entry->is_regular_file(ignored) && format_by_name(entry->path()) != InputFormat::automatic) files.push_back(entry->path());
    if (failure) throw missing(cat("the folder cannot be listed: ", failure.message()), "check it and its permissions", folder);
    if (files.empty())
      throw Error(ExitCode::data, "F32", "the folder holds no .jsonl, .csv or .tsv file", "name another folder")
          .at("file", folder.string());
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) add_file(file, folder);
  }

  std::vector<WorkUnit> take() { return std::move(units_); }

 private:
  void push(WorkUnit unit) {
    unit.index = std::ssize(units_);
    units_.push_back(std::move(unit));
  }
  const InputOptions& options_;
  std::vector<WorkUnit> units_;
};

}  // namespace

InputFormat format_by_name(const fs::path& file) {
  const fs::path inner = file.extension() == ".gz" ? file.stem() : file.filename();
  const std::string ending = inner.extension().string();
  if (ending == ".jsonl" || ending == ".ndjson" || ending == ".json") return InputFormat::jsonl;
  if (ending == ".csv") return InputFormat::csv;
  if (ending == ".tsv") return InputFormat::tsv;
  return InputFormat::automatic;
}

InputFormat input_format(const std::string& name) {
  if (name == "auto") return InputFormat::automatic;
  if (name == "jsonl") return InputFormat::jsonl;
  if (name == "csv") return InputFormat::csv;
  if (name == "tsv") return InputFormat::tsv;
  if (name == "beir") return InputFormat::beir;
  throw Error(ExitCode::usage, "format", cat("unknown format ", name), "choose auto, jsonl, csv, tsv or beir");
}

std::vector<WorkUnit> work_units(std::span<const fs::path> inputs, const InputOptions& options) {
  UnitList units(options);
  for (const fs::path& input : inputs) {
    const fs::file_type type = kind_of(input);
    if (type == fs::file_type::directory)
      units.add_folder(input);
    else if (type == fs::file_type::regular)
      units.add_file(input, input);
    else
      throw missing("this is not a regular file", "write what it gives to a file first", input);
  }
  std::vector<WorkUnit> all = units.take();
  const bool for_tables = !options.columns.empty() || options.header != Header::automatic;
  if (for_tables && std::none_of(all.begin(), all.end(),
                                 [](const WorkUnit& unit) { return unit.format == InputFormat::csv || unit.format == InputFormat::tsv; }))
    throw Error(ExitCode::usage, "columns", "columns or a header are for tables, and no input is one", "leave --columns and --header out")
        .at("file", inputs[0].string());
  return all;
}

std::unique_ptr<RecordReader> open_unit(const WorkUnit& unit, const InputOptions& options) {
  FieldMap map(options.source_field, unit.source);
  switch (unit.format) {
    case InputFormat::jsonl:
      return open_jsonl(unit.range.end > 0 ? LineReader(unit.file, unit.range) : LineReader::whole(unit.file), std::move(map));
    case InputFormat::csv:
      return open_table(LineReader::whole(unit.file), Separator::comma, options.columns, options.header, std::move(map));
    case InputFormat::tsv:
      return open_table(LineReader::whole(unit.file), Separator::tab, options.columns, options.header, std::move(map));
    case InputFormat::beir:
      return open_beir(unit.file, options.split);
    case InputFormat::automatic:
      break;
  }
  throw_internal(__FILE__, __LINE__, "unit.format", "a unit without format");
}

}  // namespace lodestone
