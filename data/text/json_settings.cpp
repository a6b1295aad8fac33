#include "data/text/json_settings.h"

#include "data/files/durable.h"
#include "data/files/strict_json.h"
#include "data/text/vocabulary_file.h"

namespace lodestone {

namespace fs = std::filesystem;

std::string quoted_token(std::string_view token) {
  std::string out = "\"";
  for (const char c : token.substr(0, 60)) out += c >= ' ' && c <= '~' ? c : '?';
  return out + "\"";
}

JsonSettings::JsonSettings(fs::path file) : file_(std::move(file)) {
  try {
    root_ = parse_strict_json(read_tokenizer_text(file_), ExitCode::usage, "tokenizer", RepeatedKeys::last_counts);
  } catch (Error& error) {
    error.at("file", file_.string());
    throw;
  }
  if (!root_.is_object()) throw error("", "is not a JSON object", "fetch the file again");
}

JsonSettings JsonSettings::if_exists(const fs::path& file) {
  if (path_exists(file)) return JsonSettings(file);
  return {file, Json::object()};
}

const JsonSettings::Json& JsonSettings::typed(const char* key, const char* type) const {
  const auto at = root_.find(key);
  const bool object = at != root_.end() && at->is_object();
  const std::string found = object ? get<std::string>(*at, cat(key, "."), "type", "missing") : "missing";
  if (found != type)
    throw error(cat(key, ".type"), cat("is ", quoted_token(found), "; only ", type, " works"),
                "use a BERT tokenizer: BertNormalizer, BertPreTokenizer, WordPiece");
  return *at;
}

}  // namespace lodestone
