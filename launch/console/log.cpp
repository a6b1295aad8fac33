#include "launch/console/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <system_error>

#include "comm/require_same.h"
#include "comm/terminal.h"
#include "data/files/durable.h"
#include "data/files/open_error.h"
#include "data/files/utf8.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

/// What the system refused, where nobody nearer to it said it better.
Error system_failure(const std::system_error& failure) {
  const auto* at = dynamic_cast<const fs::filesystem_error*>(&failure);
  const int code = failure.code().value();
  const std::string reason = system_reason(code);
  Error error(ExitCode::storage, "F37", reason, "check the storage and the permissions, then run again");
  if (is_used_up(code))
    error = used_up_error(code);
  else if (code == EAGAIN && at == nullptr)
    error = Error(ExitCode::resource, "F15", "no thread can be started", "raise the limit of processes (ulimit -u), or use fewer threads");
  else if (is_full(code))
    error = Error(ExitCode::storage, "F19", reason, "free space or raise the quota");
  else if (is_bad_name(code) || code == EILSEQ || code == ENOTDIR)
    error = Error(ExitCode::usage, "missing", reason, "check the path");
  if (at != nullptr) error.at("file", at->path1().string());
  return error;
}

}  // namespace

Error as_error(const std::exception& exception) {
  if (const auto* error = dynamic_cast<const Error*>(&exception)) return *error;
  if (dynamic_cast<const std::bad_alloc*>(&exception) != nullptr)
    return Error(ExitCode::resource, "F14", "out of memory", "use fewer ranks per host, or a smaller batch or chunk");
  if (dynamic_cast<const std::length_error*>(&exception) != nullptr)
    return Error(ExitCode::resource, "F14", "more memory is asked for than there can be", "use a smaller batch or chunk");
  if (const auto* failure = dynamic_cast<const std::system_error*>(&exception)) return system_failure(*failure);
  return Error(ExitCode::internal, "internal", exception.what(), "report this with the command that caused it");
}

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : utf8_name(text)) {
    const auto u = static_cast<unsigned char>(c);
    if (u < 0x20 || u == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", u);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out;
}

namespace {

/// A message may quote what it found in a file: the middle of a long one is left out.
std::string shortened(std::string text) {
  constexpr size_t most = 600, end = 200;
  if (text.size() > most) text.replace(most - end, text.size() - most, " ... ");
  return text;
}

}  // namespace

std::string error_line(const Error& error) {
  std::string line = cat("error: ", error.code(), ' ', shortened(error.what()));
  if (!error.where().empty()) line += cat("; ", error.where());
  if (!error.remedy().empty()) line += cat("; do: ", error.remedy());
  return printable(line);
}

std::string error_line(const Error& error, int rank, const std::string& host) {
  Error placed = error;
  if (!names_ranks(error)) placed.at("rank", rank).at("host", host);
  return error_line(placed);
}

void print_line(const std::string& line) {
  const std::string text = cat(line_start(STDERR_FILENO), line, '\n');
  std::cout.flush();
  std::cerr << text << std::flush;  // one write: lines of other threads and ranks come before or behind it
}

void print_warning(const std::string& text) { print_line(cat("warning: ", printable(text))); }

void print_warnings(std::span<const std::string> lines) {
  for (const std::string& line : lines) print_warning(line);
}

namespace {

/// The step of a record; none where it has none, as something else may have written the line.
std::optional<int64_t> step_of(const nlohmann::json& record) {
  if (!record.is_object() || !record.contains("step") || !record["step"].is_number_integer()) return std::nullopt;
  return record["step"].get<int64_t>();
}

/// Keeps the records of steps below keep_steps, and whole lines only. Throws Error (storage): nothing is lost then.
void drop_later_records(const fs::path& path, int64_t keep_steps) {
  if (!path_exists(path)) return;
  std::ifstream in(path);
  if (!in) throw open_error("cannot read the metrics file", path, errno);
  std::string kept, line;
  while (std::getline(in, line)) {
    const auto record = nlohmann::json::parse(line, nullptr, false);
    if (const auto step = step_of(record); step && *step < keep_steps) kept += line + '\n';
  }
  if (in.bad()) throw storage_error("F37", "cannot read the metrics file", path, errno);
  write_file_atomically(path, kept);
}

}  // namespace

MetricsFile::MetricsFile(const fs::path& dir, int64_t keep_steps) {
  const fs::path path = dir / "metrics.jsonl";
  std::error_code unknown;
  if (path_exists(path) && !fs::is_regular_file(path, unknown))
    throw Error(ExitCode::storage, "F21", "the metrics file is no regular file", "remove it").at("file", path.string());
  if (keep_steps >= 0) drop_later_records(path, keep_steps);
  file_ = std::fopen(path.c_str(), "a");
  if (file_ == nullptr) throw open_error("cannot write the metrics file", path, errno);
}

MetricsFile::~MetricsFile() {
  if (file_ != nullptr) std::fclose(file_);
}

MetricsFile::MetricsFile(MetricsFile&& other) noexcept : file_(std::exchange(other.file_, nullptr)), lost_(other.lost_) {}

MetricsFile& MetricsFile::operator=(MetricsFile&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(lost_, other.lost_);
  return *this;
}

void MetricsFile::write(int64_t step, std::span<const std::pair<std::string, double>> values,
                        const std::vector<std::pair<std::string, std::span<const double>>>& lists) {
  if (file_ == nullptr) return;
  const auto number = [](double value) {
    char text[32] = "null";
    if (std::isfinite(value)) std::snprintf(text, sizeof text, "%.9g", value);
    return std::string(text);
  };
  std::string record = cat("{\"step\":", step);
  for (const auto& [key, value] : values) record += cat(",\"", key, "\":", number(value));
  for (const auto& [key, list] : lists) {
    record += cat(",\"", key, "\":[");
    for (size_t i = 0; i < list.size(); ++i) record += cat(i == 0 ? "" : ",", number(list[i]));
    record += ']';
  }
  record += "}\n";
  if (std::fwrite(record.data(), 1, record.size(), file_) != record.size() || std::fflush(file_) != 0) {
    std::clearerr(file_);
    ++lost_;
  }
}

std::vector<std::pair<int64_t, double>> metric_history(const fs::path& dir, const std::string& key) {
  std::vector<std::pair<int64_t, double>> history;
  std::ifstream in(dir / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    const auto record = nlohmann::json::parse(line, nullptr, false);
    if (const auto step = step_of(record); step && record.contains(key) && record[key].is_number())
      history.emplace_back(*step, record[key]);
  }
  return history;
}

double now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string duration_text(double seconds) {
  const auto s = std::llround(std::max(0.0, seconds));
  if (s < 60) return cat(s, "s");
  const auto two = [](long long v) { return cat(v < 10 ? "0" : "", v); };
  if (s < 3600) return cat(s / 60, "m", two(s % 60), "s");
  return cat(s / 3600, "h", two(s / 60 % 60), "m");
}

void write_status(const fs::path& dir, std::string_view state, int exit_code, int64_t step, const std::string& error_text) {
  nlohmann::ordered_json status{{"state", state}, {"exit_code", exit_code}, {"step", step}};
  if (!error_text.empty()) status["error"] = error_text;
  try {
    write_file_atomically(dir / "status.json", status.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  } catch (const Error&) {  // the exit code says it too
  }
}

std::string recorded_state(const fs::path& dir) {
  std::ifstream in(dir / "status.json");
  const auto status = nlohmann::json::parse(in, nullptr, false);
  return status.is_object() && status.contains("state") && status["state"].is_string() ? status["state"].get<std::string>() : std::string();
}

}  // namespace lodestone
