// Reads JSON strictly: valid UTF-8, no key twice, bounded depth, one document. Writes it into new files.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.h"

namespace lodestone {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // keeps the order in which keys were set: for files we write

/// What becomes of a key that an object has twice.
enum class RepeatedKeys : uint8_t {
  refused,
  last_counts,  // as for the programs of Hugging Face
};

/// The document in `text`, of at most 64 levels: values of many more could not be copied or written, which recurses. Errors are
/// Error(exit_code, code) with the byte offset; the caller adds the file.
Json parse_strict_json(std::string_view text, ExitCode exit_code, const char* code, RepeatedKeys repeated = RepeatedKeys::refused);

/// An object read from a file of at most 16 MiB. Throws Error (checkpoint, "F42") naming the file.
Json read_json_object(const std::filesystem::path& path);

/// The value of `key` in `object`, or `fallback` when it is absent or null. Throws Error (checkpoint, "F42") naming file and key
/// when it has another type or (for integers) does not fit.
int64_t json_integer(const Json& object, const char* key, int64_t fallback, const std::filesystem::path& file);
double json_number(const Json& object, const char* key, double fallback, const std::filesystem::path& file);
bool json_flag(const Json& object, const char* key, bool fallback, const std::filesystem::path& file);
std::string json_string(const Json& object, const char* key, const std::string& fallback, const std::filesystem::path& file);

/// New file with this content, indented by two blanks.
void write_json(const std::filesystem::path& file, const OrderedJson& json);

}  // namespace lodestone
