// A JSON file of a tokenizer, and complaints about its values: each names file and key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/error.h"

namespace lodestone {

/// A token as it may be printed: control characters and bytes beyond ASCII stay out of messages.
std::string quoted_token(std::string_view token);

class JsonSettings {
 public:
  using Json = nlohmann::json;

  /// Reads an object. Throws Error (usage, "tokenizer") naming the file, and the line of what is no JSON.
  explicit JsonSettings(std::filesystem::path file);
  /// The same, or an object without keys where there is no such file.
  static JsonSettings if_exists(const std::filesystem::path& file);

  Error error(const std::string& key, const std::string& what, const std::string& remedy) const {
    return Error(ExitCode::usage, "tokenizer", cat(key.empty() ? "the file" : key, " ", what), remedy).at("file", file_.string());
  }
  const Json& root() const { return root_; }
  /// The value of `key` in `object`, whose own name in messages is `place`; empty if it is missing or null.
  template <class T>
  std::optional<T> find(const Json& object, const std::string& place, const char* key) const {
    const auto at = object.find(key);
    if (at == object.end() || at->is_null()) return std::nullopt;
    try {
      if constexpr (std::is_same_v<T, bool>) {
        if (!at->is_boolean()) throw error(place + key, "is not true or false", "correct it");
      }
      if constexpr (std::is_same_v<T, int64_t>) {
        if (!at->is_number_integer() || (at->is_number_unsigned() && at->template get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)))
          throw error(place + key, "is not a whole number of 64 bits", "correct it");
      }
      return at->template get<T>();
    } catch (const Json::exception&) {
      throw error(place + key, "has the wrong type", "correct it");
    }
  }
  template <class T>
  T get(const Json& object, const std::string& place, const char* key, T fallback) const {
    return find<T>(object, place, key).value_or(std::move(fallback));
  }
  /// The object under `key`, whose "type" must be `type`.
  const Json& typed(const char* key, const char* type) const;

 private:
  JsonSettings(std::filesystem::path file, Json root) : file_(std::move(file)), root_(std::move(root)) {}

  std::filesystem::path file_;
  Json root_;
};

}  // namespace lodestone
