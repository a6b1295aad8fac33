#include "data/text/tokenizer_files.h"

#include <algorithm>
#include <optional>
#include <span>

#include "data/files/durable.h"
#include "data/files/strict_json.h"
#include "data/text/vocabulary_file.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr int64_t usual_max_length = 512;  // of a folder that does not say

/// Sorted by id.
std::vector<AddedToken> added_of(const TokenizerSpec& spec) {
  std::vector<AddedToken> added = spec.added;
  std::sort(added.begin(), added.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return added;
}

OrderedJson added_entry(const AddedToken& token) {
  return {{"content", token.content}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false},          {"normalized", false},  {"special", true}};
}

OrderedJson template_step(const char* kind, const std::string& id, int type) { return {{kind, {{"id", id}, {"type_id", type}}}}; }

OrderedJson post_processor(const TokenizerSpec& spec) {
  OrderedJson post;
  post["type"] = "TemplateProcessing";
  post["single"] = {template_step("SpecialToken", spec.cls, 0), template_step("Sequence", "A", 0),
                    template_step("SpecialToken", spec.sep, 0)};
  post["pair"] = post["single"];
  post["pair"].push_back(template_step("Sequence", "B", 1));
  post["pair"].push_back(template_step("SpecialToken", spec.sep, 1));
  for (const std::string& token : {spec.cls, spec.sep}) {
    OrderedJson& entry = post["special_tokens"][token];
    entry["id"] = token;
    entry["ids"] = OrderedJson::array({std::find(spec.tokens.begin(), spec.tokens.end(), token) - spec.tokens.begin()});
    entry["tokens"] = OrderedJson::array({token});
  }
  return post;
}

OrderedJson tokenizer_json(const TokenizerSpec& spec) {
  const TokenizerOptions& options = spec.options;
  OrderedJson json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = OrderedJson::array();
  for (const AddedToken& token : added_of(spec)) {
    OrderedJson entry = {{"id", token.id}};
    entry.update(added_entry(token));
    json["added_tokens"].push_back(std::move(entry));
  }
  json["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", options.clean_text},
                        {"handle_chinese_chars", options.split_chinese_characters},
                        {"strip_accents", options.strip_accents},
                        {"lowercase", options.lower_case}};
  json["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  json["post_processor"] = post_processor(spec);
  json["decoder"] = {{"type", "WordPiece"}, {"prefix", options.continuing_prefix}, {"cleanup", true}};
  OrderedJson& model = json["model"];
  model["type"] = "WordPiece";
  model["unk_token"] = spec.unk;
  model["continuing_subword_prefix"] = options.continuing_prefix;
  model["max_input_chars_per_word"] = options.max_characters_per_word;
  OrderedJson::object_t vocabulary;  // filled as a plain list: operator[] would search it for every token
  vocabulary.reserve(spec.tokens.size());
  for (size_t id = 0; id < static_cast<size_t>(spec.word_piece_tokens); ++id)
    if (!spec.tokens[id].empty()) vocabulary.emplace_back(spec.tokens[id], id);
  model["vocab"] = std::move(vocabulary);
  return json;
}

OrderedJson special_tokens_map(const TokenizerSpec& spec) {
  return {{"unk_token", spec.unk}, {"sep_token", spec.sep}, {"pad_token", spec.pad}, {"cls_token", spec.cls}, {"mask_token", spec.mask}};
}

/// Whether tokenizer_config.json lists the added tokens where they are those that it names.
enum class Listed : uint8_t { if_more, always };

OrderedJson tokenizer_config(const TokenizerSpec& spec, int64_t max_seq_length, Listed listed) {
  const TokenizerOptions& o = spec.options;
  const TokenizerOptions bert = {
      .lower_case = o.lower_case, .strip_accents = o.strip_accents, .split_chinese_characters = o.split_chinese_characters};
  OrderedJson json = special_tokens_map(spec);
  json["do_lower_case"] = o.lower_case;
  json["strip_accents"] = o.strip_accents;
  json["tokenize_chinese_chars"] = o.split_chinese_characters;
  json["model_max_length"] = max_seq_length;
  json["tokenizer_class"] = o == bert ? "BertTokenizer" : "PreTrainedTokenizerFast";
  if (json["tokenizer_class"] != "BertTokenizer") json["model_input_names"] = {"input_ids", "token_type_ids", "attention_mask"};
  const auto named = {&spec.cls, &spec.sep, &spec.pad, &spec.unk, &spec.mask};
  const std::vector<AddedToken> added = added_of(spec);
  const bool more = std::any_of(added.begin(), added.end(), [&](const AddedToken& token) {
    return std::none_of(named.begin(), named.end(), [&](const std::string* name) { return *name == token.content; });
  });
  if (more || listed == Listed::always)
    for (const AddedToken& token : added) json["added_tokens_decoder"][std::to_string(token.id)] = added_entry(token);
  return json;
}

/// A line for each id of WordPiece's vocabulary; that of a hole is empty. Nothing where a token fits no line: tokenizer.json says all.
std::optional<std::string> vocabulary_lines(const TokenizerSpec& spec) {
  const auto tokens = std::span(spec.tokens).first(static_cast<size_t>(spec.word_piece_tokens));
  if (!std::all_of(tokens.begin(), tokens.end(), fits_a_line)) return std::nullopt;
  std::string text;
  for (const std::string& token : tokens) text.append(token).append(1, '\n');
  return text;
}

void write_missing(const TokenizerSpec& spec, int64_t max_seq_length, const fs::path& to) {
  if (!path_exists(to / "tokenizer.json")) write_json(to / "tokenizer.json", tokenizer_json(spec));
  if (path_exists(to / "tokenizer_config.json")) return;  // a map beside it would be asked before it
  write_json(to / "tokenizer_config.json", tokenizer_config(spec, max_seq_length, Listed::if_more));
  if (!path_exists(to / "special_tokens_map.json")) write_json(to / "special_tokens_map.json", special_tokens_map(spec));
}

/// Whether the files of a folder, read so, are this tokenizer.
bool gives(const fs::path& folder, TokenizerReading reading, uint64_t fingerprint) {
  try {
    return fingerprint_of(read_tokenizer_folder(folder, reading)) == fingerprint;
  } catch (const Error&) {
    return false;
  }
}

/// Makes vocab.txt anew, or leaves it out where a token fits no line; and where that is not enough, as special tokens stood in
/// tokenizer.json alone, has tokenizer_config.json list them.
void make_vocabulary_agree(const TokenizerSpec& spec, const fs::path& to) {
  fs::remove(to / "vocab.txt");
  const std::optional<std::string> lines = vocabulary_lines(spec);
  if (!lines) return;
  write_new_file(to / "vocab.txt", *lines);
  if (gives(to, TokenizerReading::vocabulary, fingerprint_of(spec))) return;
  OrderedJson config = OrderedJson::object();
  if (const fs::path file = to / "tokenizer_config.json"; path_exists(file)) config = OrderedJson::parse(read_tokenizer_text(file));
  OrderedJson complete = tokenizer_config(spec, usual_max_length, Listed::always);
  for (const char* kept : {"model_max_length", "tokenizer_class"})
    if (config.contains(kept)) complete.erase(kept);
  config.update(complete);
  fs::remove(to / "tokenizer_config.json");
  write_json(to / "tokenizer_config.json", config);
}

}  // namespace

void write_tokenizer_files(const fs::path& source, const fs::path& to) {
  const TokenizerSpec spec = read_tokenizer_folder(source);
  const std::vector<TokenizerReading> readings = tokenizer_readings(source);
  for (const char* name : {"vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"})
    if (path_exists(source / name)) copy_file_durably(source / name, to / name);
  for (const TokenizerReading reading : readings) {
    if (gives(source, reading, fingerprint_of(spec))) continue;
    if (reading == TokenizerReading::vocabulary)
      make_vocabulary_agree(spec, to);
    else
      fs::remove(to / "tokenizer.json");  // written below
  }
  write_missing(spec, usual_max_length, to);
}

void write_tokenizer_files(const TokenizerSpec& spec, int64_t max_seq_length, const fs::path& to) {
  if (const std::optional<std::string> lines = vocabulary_lines(spec)) write_new_file(to / "vocab.txt", *lines);
  write_missing(spec, max_seq_length, to);
}

bool is_told_twice(const fs::path& folder, uint64_t fingerprint) {
  return path_exists(folder / "vocab.txt") && path_exists(folder / "tokenizer.json") &&
         gives(folder, TokenizerReading::auto_tokenizer, fingerprint) && gives(folder, TokenizerReading::vocabulary, fingerprint);
}

void require_tokenizer_files(const fs::path& folder, uint64_t fingerprint) {
  for (const TokenizerReading reading : tokenizer_readings(folder))
    if (fingerprint_of(read_tokenizer_folder(folder, reading)) != fingerprint)
      throw Error(ExitCode::internal, "export",
                  cat("the tokenizer of the written folder is another one to a program that reads it by ", name_of(reading)),
                  "report this with the command that caused it")
          .at("file", folder.string());
}

}  // namespace lodestone
