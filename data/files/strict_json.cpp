#include "data/files/strict_json.h"

#include <set>
#include <vector>

#include "data/files/durable.h"

namespace lodestone {

namespace {

constexpr int max_depth = 64;
constexpr size_t max_file_bytes = size_t{16} << 20;
constexpr const char* correct = "correct the file, or fetch it again";

const Json* present(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

[[noreturn]] void wrong_type(const char* key, const char* expected, const Json& value, const std::filesystem::path& file) {
  throw Error(ExitCode::checkpoint, "F42", cat("\"", key, "\" must be ", expected, ", not ", value.type_name()), correct)
      .at("file", file.string());
}

/// What the library says, without its own name of the error.
std::string reason(const Json::exception& error) {
  const std::string_view text = error.what();
  const size_t end = text.find("] ");
  return std::string(end == std::string_view::npos ? text : text.substr(end + 2));
}

}  // namespace

Json parse_strict_json(std::string_view text, ExitCode exit_code, const char* code, RepeatedKeys repeated) {
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > max_depth) throw Error(exit_code, code, cat("nested deeper than ", max_depth, " levels"), correct);
    if (repeated == RepeatedKeys::last_counts) return true;
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw Error(exit_code, code, cat("the key \"", parsed.get<std::string>(), "\" occurs twice"), correct);
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const Json::parse_error& error) {
    throw Error(exit_code, code, cat("this is not valid JSON (", reason(error), ")"), correct).at("offset", error.byte);
  } catch (const Json::exception& error) {  // e.g. a number out of range
    throw Error(exit_code, code, cat("this is not valid JSON (", reason(error), ")"), correct);
  }
}

Json read_json_object(const std::filesystem::path& path) {
  const std::string text = read_text_file(path, max_file_bytes, ExitCode::checkpoint);
  try {
    Json json = parse_strict_json(text, ExitCode::checkpoint, "F42");
    if (!json.is_object()) throw Error(ExitCode::checkpoint, "F42", cat("a JSON object is needed, not ", json.type_name()), correct);
    return json;
  } catch (Error& error) {
    error.at("file", path.string());
    throw;
  }
}

int64_t json_integer(const Json& object, const char* key, int64_t fallback, const std::filesystem::path& file) {
  const Json* value = present(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_number_integer()) wrong_type(key, "an integer", *value, file);
  if (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    throw Error(ExitCode::checkpoint, "F42", cat("\"", key, "\" is too large"), correct).at("file", file.string());
  return value->get<int64_t>();
}

double json_number(const Json& object, const char* key, double fallback, const std::filesystem::path& file) {
  const Json* value = present(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_number()) wrong_type(key, "a number", *value, file);
  return value->get<double>();
}

bool json_flag(const Json& object, const char* key, bool fallback, const std::filesystem::path& file) {
  const Json* value = present(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) wrong_type(key, "true or false", *value, file);
  return value->get<bool>();
}

std::string json_string(const Json& object, const char* key, const std::string& fallback, const std::filesystem::path& file) {
  const Json* value = present(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) wrong_type(key, "a string", *value, file);
  return value->get<std::string>();
}

void write_json(const std::filesystem::path& file, const OrderedJson& json) { write_new_file(file, json.dump(2) + "\n"); }

}  // namespace lodestone
