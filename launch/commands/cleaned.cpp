#include "launch/commands/cleaned.h"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <sstream>

#include "data/files/durable.h"
#include "data/files/utf8.h"
#include "data/records/inputs.h"
#include "launch/config/input_options.h"
#include "launch/console/log.h"

namespace lodestone {

namespace fs = std::filesystem;

const char* const cleaning_options_help =
    "  --dropped FILE        where dropped rows go, as {\"reason\": .., \"file\": .., \"line\": .., \"row\": THE ROW}\n"
    "  --report FILE.json    the counts that are printed, by reason and source\n"
    "  --fields A,B,...      the texts of a row: a query and its passages (default: those that training reads, `lodestone pack --help`)\n"
    "  --source-field NAME   the field that names a row's source; default: source, else task, else the file's name\n"
    "  --on-bad-row POLICY   fail, or skip:N to drop up to N rows that cannot be read (default fail)\n";

namespace {

constexpr double progress_period_s = 0.25, plain_period_s = 5;
constexpr int64_t rows_between_looks = 256;
constexpr size_t most_sources_printed = 12;

Error usage(const char* code, const std::string& what, const char* remedy, const fs::path& file) {
  return Error(ExitCode::usage, code, what, remedy).at("file", file.string());
}

void require_json_lines(const fs::path& input) {
  std::error_code failure;
  const fs::file_type type = fs::status(input, failure).type();
  if (type == fs::file_type::not_found) throw usage("missing", "no such file", "check the path", input);
  if (failure) throw usage("missing", failure.message(), "check the path and its permissions", input);
  if (type != fs::file_type::regular) throw usage("missing", "this is not a regular file", "give files of JSON lines", input);
  const InputFormat format = format_by_name(input);
  if (format != InputFormat::jsonl && format != InputFormat::automatic)
    throw usage("format", "this is no file of JSON lines", "write its rows as JSON lines first", input);
}

fs::path whole_path(const fs::path& path) {
  std::error_code failure;
  const fs::path whole = fs::weakly_canonical(path, failure);
  return failure ? path : whole;
}

/// "unique" of "unique/".
fs::path without_slash(const fs::path& path) { return path.has_filename() || path.empty() ? path : path.parent_path(); }

/// Two outputs, or an output and an input, must not be one file.
void require_apart(std::vector<fs::path> outputs, const std::vector<fs::path>& inputs) {
  std::erase_if(outputs, [](const fs::path& path) { return path.empty(); });
  for (auto at = outputs.begin(); at != outputs.end(); ++at) {
    for (const fs::path& input : inputs)
      if (whole_path(*at) == whole_path(input)) throw usage("usage", "the output is an input", "choose another name", *at);
    if (std::any_of(outputs.begin(), at, [&](const fs::path& other) { return whole_path(other) == whole_path(*at); }))
      throw usage("usage", "two outputs have this name", "choose another name for one of them", *at);
    if (path_exists(*at)) throw usage("exists", "the output exists", "choose another name or remove it", *at);
  }
}

std::string stem(const fs::path& file) {
  const fs::path inner = file.extension() == ".gz" ? file.stem() : file;
  return utf8_name(inner.stem().string());
}

std::string percent(int64_t part, int64_t whole) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f %%", whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
  return text;
}

std::string table_line(const std::string& name, int64_t rows, int64_t of) {
  char text[64];
  std::snprintf(text, sizeof text, "  %12lld %9s  ", static_cast<long long>(rows), percent(rows, of).c_str());
  return text + printable(name) + '\n';
}

}  // namespace

std::vector<std::string> cleaning_option_names() {
  return {"--output", "--dropped", "--report", "--fields", "--source-field", "--on-bad-row"};
}

Cleaning::Cleaning(const World& world, const Options& given, std::string command, std::span<const std::string> arguments)
    : command_(std::move(command)),
      arguments_(arguments.begin(), arguments.end()),
      inputs_(given.positional().begin(), given.positional().end()),
      out_(without_slash(given.text("--output", ""))),
      report_(given.text("--report", "")),
      source_field_(given.text("--source-field", "")),
      allowed_bad_rows_(allowed_bad_rows(given)),
      start_s_(now_s()) {
  if (world.size() > 1) given.refuse("it works in one process: start it without mpirun");
  if (out_.empty()) given.refuse("--output is missing");
  for (const fs::path& input : inputs_) require_json_lines(input);
  const fs::path dropped = given.text("--dropped", "");
  require_apart({out_, dropped, report_}, inputs_);
  if (!report_.empty()) check_writable(report_.has_parent_path() ? report_.parent_path() : fs::path("."));
  if (!dropped.empty()) dropped_.emplace(dropped);
}

CleaningPass::Settings Cleaning::settings() const { return {source_field_, allowed_bad_rows_}; }

void Cleaning::run(const RowJudge& judge, Tally& tally, const std::function<LineWriter&(size_t)>& to) {
  std::error_code ignored;
  int64_t total = 0;
  for (const fs::path& input : inputs_) total += static_cast<int64_t>(fs::file_size(input, ignored));
  Progress progress(command_, total, true);
  double shown_s = start_s_, printed_s = start_s_;
  int64_t looks = 0;
  const auto tick = [&](int64_t consumed) {
    if (++looks % rows_between_looks != 0) return;
    const double now = now_s();
    if (now - shown_s < progress_period_s) return;
    shown_s = now;
    const bool plain = now - printed_s > plain_period_s;
    if (plain) printed_s = now;
    progress.show(read_bytes_ + consumed, {cat(tally.rows(), " rows"), cat(percent(tally.kept(), tally.rows()), " kept")},
                  plain ? Progress::Plain::print : Progress::Plain::skip);
  };
  CleaningPass pass(settings(), judge, tally, dropped_ ? &*dropped_ : nullptr);
  for (size_t i = 0; i < inputs_.size(); ++i) {
    pass.run(inputs_[i], stem(inputs_[i]), to(i), tick);
    read_bytes_ += static_cast<int64_t>(fs::file_size(inputs_[i], ignored));
  }
  if (tally.rows() == 0) throw Error(ExitCode::data, "F39", "the inputs hold no rows", "check the inputs").at("file", inputs_[0].string());
}

void Cleaning::finish_side_files(const Tally& tally, const OrderedJson& more) {
  if (dropped_) dropped_->publish();
  if (report_.empty()) return;
  OrderedJson report{{"command", command_}, {"arguments", OrderedJson::array()}};
  for (const std::string& argument : arguments_) report["arguments"].push_back(utf8_name(argument));
  report.update(more);
  report.update(tally.json());
  write_file_atomically(report_, report.dump(2) + "\n");
}

void Cleaning::print_summary(const Tally& tally) const {
  const double seconds = std::max(now_s() - start_s_, 1e-3);
  std::ostringstream out;
  char rate[64];
  std::snprintf(rate, sizeof rate, "%.1f MB/s", static_cast<double>(read_bytes_) / 1e6 / seconds);
  out << command_ << ": " << tally.kept() << " of " << tally.rows() << " rows kept (" << percent(tally.kept(), tally.rows()) << ") in "
      << duration_text(seconds) << ", " << rate << ": " << printable(out_.string()) << '\n';
  out << "dropped          rows      share  for\n";
  for (const std::string& reason : tally.reasons()) out << table_line(reason, tally.dropped(reason), tally.rows());
  std::vector<std::pair<int64_t, std::string>> sources;
  for (const auto& [name, source] : tally.sources()) sources.emplace_back(-source.rows, name);
  std::sort(sources.begin(), sources.end());
  out << "kept             rows      share  of source\n";
  for (size_t i = 0; i < std::min(sources.size(), most_sources_printed); ++i) {
    const Tally::Source& source = tally.sources().at(sources[i].second);
    out << table_line(sources[i].second, source.kept, source.rows);
  }
  if (sources.size() > most_sources_printed)
    out << "  and " << sources.size() - most_sources_printed << " more sources, which --report has\n";
  std::cout << out.str() << std::flush;
}

}  // namespace lodestone
