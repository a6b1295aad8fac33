#include "data/text/special_tokens.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

namespace lodestone {

namespace fs = std::filesystem;

namespace {

using Json = JsonSettings::Json;

/// A token that is to be recognised as written, as a file describes it.
struct Entry {
  const JsonSettings* file;
  std::string key;  // in messages
  Json token;
  int64_t id;
  const char* remedy = "set it to false";  // where it is not matched as written
};

bool is_added(const TokenizerSpec& spec, std::string_view content) {
  return std::any_of(spec.added.begin(), spec.added.end(), [&](const AddedToken& t) { return t.content == content; });
}

/// Tokens that are matched otherwise than as written are not supported.
void require_as_written(const Entry& entry, const std::string& content) {
  const JsonSettings& file = *entry.file;
  const std::string place = entry.key + ".";
  if (file.get(entry.token, place, "normalized", !file.get(entry.token, place, "special", false)))
    throw file.error(place + "normalized", cat("is true for ", quoted_token(content), "; only false works"), entry.remedy);
  if (file.get(entry.token, place, "single_word", false))
    throw file.error(place + "single_word", cat("is true for ", quoted_token(content), "; only false works"), entry.remedy);
}

/// Its id must be the one that Hugging Face would give it: by the vocabulary, else the number of tokens that there are.
void add_entry(const Entry& entry, std::unordered_map<std::string, int64_t>& ids, TokenizerSpec& spec) {
  const JsonSettings& file = *entry.file;
  const std::string place = entry.key + ".";
  const auto content = file.get<std::string>(entry.token, place, "content", "");
  if (content.empty()) throw file.error(entry.key, "has no content", "remove it");
  const auto known = ids.find(content);
  if (known == ids.end() && ids.size() != spec.tokens.size())
    throw file.error(entry.key, cat("adds ", quoted_token(content), " to a vocabulary with holes, where it would share an id"),
                     "give it one of the free ids in the vocabulary");
  const int64_t expected = known != ids.end() ? known->second : std::ssize(spec.tokens);
  if (entry.id != expected)
    throw file.error(place + "id", cat("is ", entry.id, " for ", quoted_token(content), ", but by the vocabulary it is ", expected),
                     "correct it");
  if (is_added(spec, content)) return;
  require_as_written(entry, content);
  if (ids.emplace(content, entry.id).second) spec.tokens.push_back(content);
  spec.added.push_back({content, static_cast<int32_t>(entry.id)});
}

void add_in_order(std::vector<Entry> entries, TokenizerSpec& spec) {
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.id < b.id; });
  std::unordered_map<std::string, int64_t> ids;
  for (const auto& [token, id] : ids_of(spec)) ids.emplace(token, id);
  for (const Entry& entry : entries) add_entry(entry, ids, spec);
}

std::vector<Entry> entries_of_json(const JsonSettings& json) {
  std::vector<Entry> entries;
  const auto added = json.get<std::vector<Json>>(json.root(), "", "added_tokens", {});
  for (size_t i = 0; i < added.size(); ++i) {
    const std::string key = cat("added_tokens[", i, "]");
    if (!added[i].is_object()) throw json.error(key, "is not an object", "correct it");
    entries.push_back({&json, key, added[i], json.get<int64_t>(added[i], key + ".", "id", -1)});
  }
  return entries;
}

std::vector<Entry> entries_of_config(const JsonSettings& config) {
  std::vector<Entry> entries;
  for (const auto& [id, token] : config.get<std::map<std::string, Json>>(config.root(), "", "added_tokens_decoder", {})) {
    const bool number = !id.empty() && id.size() < 9 && std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!number) throw config.error("added_tokens_decoder", cat("has the key ", quoted_token(id), ", which is no token id"), "correct it");
    const std::string key = cat("added_tokens_decoder.", id);
    if (!token.is_object()) throw config.error(key, "is not an object", "correct it");
    entries.push_back({&config, key, token, std::stoll(id)});
  }
  return entries;
}

/// added_tokens.json: {"token": id}. Those that are not among `special` are matched in normalised text.
std::vector<Entry> entries_of_list(const JsonSettings& list, const std::set<std::string>& special) {
  std::vector<Entry> entries;
  for (const auto& [content, id] : list.root().items()) {
    if (!id.is_number_integer()) throw list.error(quoted_token(content), "has no id", "correct it");
    entries.push_back({&list,
                       quoted_token(content),
                       {{"content", content}, {"special", special.contains(content)}},
                       id.get<int64_t>(),
                       "list it, with \"normalized\": false, in added_tokens_decoder of tokenizer_config.json instead"});
  }
  return entries;
}

/// A token's text, given as such or as an object with "content"; empty for anything else.
std::string content_of(const Json& value) {
  const Json* text = &value;
  if (value.is_object()) {
    const auto at = value.find("content");
    if (at == value.end()) return "";
    text = &*at;
  }
  return text->is_string() ? text->get<std::string>() : "";
}

}  // namespace

TokenIds ids_of(const TokenizerSpec& spec) {
  TokenIds ids;
  for (size_t id = 0; id < spec.tokens.size(); ++id)
    if (!spec.tokens[id].empty()) ids.emplace(spec.tokens[id], static_cast<int32_t>(id));
  return ids;
}

void require_special_tokens(const fs::path& file, VocabularyForm form, const TokenizerSpec& spec) {
  const TokenIds ids = ids_of(spec);
  for (const std::string* token : {&spec.pad, &spec.unk, &spec.cls, &spec.sep, &spec.mask}) {
    if (ids.contains(*token)) continue;
    Error missing(ExitCode::usage, "F41", cat("the vocabulary has no special token ", quoted_token(*token)),
                  "add it, or name the tokens used instead in tokenizer_config.json");
    missing.at("file", file.string());
    if (form == VocabularyForm::lines) missing.at("line", spec.word_piece_tokens);
    throw missing;
  }
}

void add_tokens_of_json(const JsonSettings& json, TokenizerSpec& spec) { add_in_order(entries_of_json(json), spec); }

SpecialTokens::SpecialTokens(const fs::path& folder)
    : config_(JsonSettings::if_exists(folder / "tokenizer_config.json")),
      map_(JsonSettings::if_exists(folder / "special_tokens_map.json")),
      added_(JsonSettings::if_exists(folder / "added_tokens.json")),
      has_list_(config_.root().contains("added_tokens_decoder")) {}

SpecialTokens::Value SpecialTokens::value_of(const std::string& key) const {
  for (const JsonSettings* file : {&map_, &config_}) {
    if (file == &map_ && has_list_) continue;
    const auto at = file->root().find(key);
    if (at != file->root().end() && !at->is_null()) return {file, &*at};
  }
  return {&config_, nullptr};
}

void SpecialTokens::set_name(const char* key, std::string& name) const {
  const Value found = value_of(key);
  if (found.value == nullptr) return;
  name = content_of(*found.value);
  if (name.empty()) throw found.file->error(key, "names no token", "correct it");
}

void SpecialTokens::set_names(TokenizerSpec& spec) const {
  set_name("cls_token", spec.cls);
  set_name("sep_token", spec.sep);
  set_name("pad_token", spec.pad);
  set_name("unk_token", spec.unk);
  set_name("mask_token", spec.mask);
}

void SpecialTokens::add_named(TokenizerSpec& spec) const {
  const TokenIds ids = ids_of(spec);
  const auto add = [&](const JsonSettings& file, const std::string& key, const Json& value) {
    const std::string content = content_of(value);
    if (content.empty()) throw file.error(key, "names no token", "correct it");
    if (is_added(spec, content)) return;
    const auto known = ids.find(content);
    if (known == ids.end())
      throw file.error(key, cat("names ", quoted_token(content), ", which the vocabulary lacks"),
                       "add it to the vocabulary or, with its id, to added_tokens_decoder of tokenizer_config.json");
    if (value.is_object()) {
      Entry special{&file, key, value, known->second};
      special.token["special"] = true;
      require_as_written(special, content);
    }
    spec.added.push_back({content, known->second});
  };
  std::set<std::string> keys;
  for (const JsonSettings* file : {&map_, &config_})
    for (const auto& [key, value] : file->root().items())
      if (key.ends_with("_token") && !content_of(value).empty() && (file == &config_ || !has_list_)) keys.insert(key);
  for (const std::string& key : keys)
    if (const Value found = value_of(key); found.value != nullptr) add(*found.file, key, *found.value);
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"})
    if (const Value found = value_of(key); found.value != nullptr)
      for (const Json& value : *found.value) add(*found.file, key, value);
  for (const std::string* token : {&spec.pad, &spec.unk, &spec.cls, &spec.sep, &spec.mask})
    if (!is_added(spec, *token)) spec.added.push_back({*token, ids.at(*token)});
}

void SpecialTokens::add_to(TokenizerSpec& spec, const JsonSettings* json, Listed listed) const {
  std::vector<Entry> entries;
  const auto take = [&entries](std::vector<Entry> more) { std::move(more.begin(), more.end(), std::back_inserter(entries)); };
  if (has_list_) take(entries_of_config(config_));
  if (json != nullptr && (!has_list_ || listed == Listed::beside_json)) take(entries_of_json(*json));
  if (!has_list_) {
    std::set<std::string> special = {spec.cls, spec.sep, spec.pad, spec.unk, spec.mask};
    for (const char* key : {"bos_token", "eos_token"})  // additional_special_tokens are for transformers 4 alone
      if (const Value found = value_of(key); found.value != nullptr) special.insert(content_of(*found.value));
    take(entries_of_list(added_, special));
  }
  add_in_order(std::move(entries), spec);
  add_named(spec);
  if (json == nullptr || !has_list_) return;
  for (const Entry& entry : entries_of_json(*json))
    if (const std::string content = content_of(entry.token); !is_added(spec, content))
      throw json->error(entry.key, cat("adds ", quoted_token(content), ", which added_tokens_decoder of tokenizer_config.json lacks"),
                        "make the two files agree");
}

}  // namespace lodestone
