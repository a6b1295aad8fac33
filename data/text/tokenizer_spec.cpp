// Reads vocab.txt, tokenizer_config.json and tokenizer.json, and refuses what would not give the same ids as Hugging Face.
#include "data/text/tokenizer_spec.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "data/files/durable.h"
#include "data/files/utf8.h"

namespace lodestone {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr int64_t most_tokens = 1 << 24;

std::string read_text(const fs::path& file) {
  std::error_code none;
  const std::uintmax_t size = fs::file_size(file, none);
  std::string text(none ? 0 : size, '\0');
  std::ifstream in(file, std::ios::binary);
  if (none || !in.read(text.data(), static_cast<std::streamsize>(text.size())))
    throw Error(ExitCode::usage, "tokenizer", "cannot read the tokenizer's file", "check its name and permissions")
        .at("file", file.string());
  return text;
}

Error vocabulary_error(const std::string& what, std::string remedy) { return Error(ExitCode::usage, "F41", what, std::move(remedy)); }

/// A token as it may be printed: control characters and bytes beyond ASCII stay out of messages.
std::string quoted(std::string_view token) {
  std::string out = "\"";
  for (const char c : token.substr(0, 60)) out += c >= ' ' && c <= '~' ? c : '?';
  return out + "\"";
}

/// A JSON file, and complaints about its values: each names file and key.
class JsonFile {
 public:
  explicit JsonFile(fs::path file) : file_(std::move(file)) {
    const std::string text = read_text(file_);
    try {
      root_ = Json::parse(text);
    } catch (const Json::parse_error& e) {
      const auto until = text.begin() + static_cast<std::ptrdiff_t>(std::min(e.byte, text.size()));
      throw Error(ExitCode::usage, "tokenizer", "not valid JSON", "fetch the file again")
          .at("file", file_.string())
          .at("line", 1 + std::count(text.begin(), until, '\n'))
          .at("offset", e.byte);
    } catch (const Json::exception& e) {  // a number beyond all range
      throw Error(ExitCode::usage, "tokenizer", cat("not valid JSON: ", e.what()), "correct the file").at("file", file_.string());
    }
    if (!root_.is_object()) throw error("", "is not a JSON object", "fetch the file again");
  }

  Error error(const std::string& key, const std::string& what, const std::string& remedy) const {
    return Error(ExitCode::usage, "tokenizer", cat(key.empty() ? "the file" : key, " ", what), remedy).at("file", file_.string());
  }
  const Json& root() const { return root_; }
  /// The value of `key` in `object`, whose own name in messages is `place`; `fallback` if it is missing or null.
  template <class T>
  T get(const Json& object, const std::string& place, const char* key, T fallback) const {
    const auto at = object.find(key);
    if (at == object.end() || at->is_null()) return fallback;
    try {
      if constexpr (std::is_same_v<T, bool>) {
        if (!at->is_boolean()) throw error(place + key, "is not true or false", "correct it");
      }
      return at->template get<T>();
    } catch (const Json::exception&) {
      throw error(place + key, "has the wrong type", "correct it");
    }
  }
  /// The object under `key`, whose "type" must be `type`.
  const Json& typed(const char* key, const char* type) const {
    const auto at = root_.find(key);
    const bool object = at != root_.end() && at->is_object();
    const std::string found = object ? get<std::string>(*at, cat(key, "."), "type", "missing") : "missing";
    if (found != type)
      throw error(cat(key, ".type"), cat("is ", quoted(found), "; only ", type, " works"),
                  "use a BERT tokenizer: BertNormalizer, BertPreTokenizer, WordPiece");
    return *at;
  }

 private:
  fs::path file_;
  Json root_;
};

/// Ids of the tokens read so far, each once.
using Ids = std::unordered_map<std::string, int32_t>;

Ids ids_of(const TokenizerSpec& spec) {
  Ids ids;
  for (size_t id = 0; id < spec.tokens.size(); ++id) ids.emplace(spec.tokens[id], static_cast<int32_t>(id));
  return ids;
}

void read_lines(const fs::path& file, TokenizerSpec& spec) {
  const std::string text = read_text(file);
  if (text.empty()) throw vocabulary_error("the vocabulary is empty", "fetch the file again").at("file", file.string());
  std::unordered_map<std::string_view, int64_t> lines;
  const std::string_view all = text;
  for (size_t begin = 0; begin < all.size();) {
    const int64_t line = static_cast<int64_t>(lines.size()) + 1;
    const auto refuse = [&](const std::string& what, const std::string& remedy) {
      return vocabulary_error(what, remedy).at("file", file.string()).at("line", line);
    };
    const size_t end = all.find('\n', begin);
    if (end == std::string_view::npos)
      throw refuse("the last line of the vocabulary does not end: the file may be cut off",
                   "fetch the file again, or add a newline if it is whole");
    const std::string_view token = all.substr(begin, end - begin);
    if (token.ends_with('\r')) throw refuse("the line ends in CR LF: every token would differ", "convert the file to LF");
    if (validate_utf8(token)) throw refuse("the token is not valid UTF-8", "fetch the file again");
    const auto [first, fresh] = lines.emplace(token, line);
    if (!fresh) throw refuse(cat("the token ", quoted(token), " occurs twice, first on line ", first->second), "remove one of the lines");
    if (line > most_tokens) throw refuse("more tokens than this program takes", "check that this file is a vocabulary");
    spec.tokens.emplace_back(token);
    begin = end + 1;
  }
  spec.word_piece_tokens = static_cast<int64_t>(spec.tokens.size());
}

void check_special_tokens(const fs::path& file, const TokenizerSpec& spec) {
  const Ids ids = ids_of(spec);
  for (const std::string* token : {&spec.pad, &spec.unk, &spec.cls, &spec.sep, &spec.mask})
    if (!ids.contains(*token))
      throw vocabulary_error(cat("the vocabulary has no special token ", quoted(*token)),
                             "add it, or name the tokens used instead in tokenizer_config.json")
          .at("file", file.string())
          .at("line", spec.word_piece_tokens);
}

/// Adds a token that is recognised as written. Its id must be the one that Hugging Face would give it.
void add_token(const JsonFile& file, const std::string& key, const Json& token, int64_t id, const Ids& ids, TokenizerSpec& spec) {
  const std::string place = key + ".";
  const auto content = file.get<std::string>(token, place, "content", "");
  if (content.empty()) throw file.error(key, "has no content", "remove it");
  if (file.get(token, place, "normalized", !file.get(token, place, "special", false)))
    throw file.error(place + "normalized", cat("is true for ", quoted(content), "; only false works"), "set it to false");
  if (file.get(token, place, "single_word", false))
    throw file.error(place + "single_word", cat("is true for ", quoted(content), "; only false works"), "set it to false");
  const auto known = ids.find(content);
  const int64_t expected = known != ids.end() ? known->second : static_cast<int64_t>(spec.tokens.size());
  if (id != expected)
    throw file.error(place + "id", cat("is ", id, " for ", quoted(content), ", but by the vocabulary it is ", expected), "correct it");
  if (std::any_of(spec.added.begin(), spec.added.end(), [&](const AddedToken& t) { return t.content == content; })) return;
  if (known == ids.end()) spec.tokens.push_back(content);
  spec.added.push_back({content, static_cast<int32_t>(id)});
}

/// A token's text, given as such or as an object with "content".
std::string token_name(const JsonFile& config, const Json& object, const char* key, std::string fallback) {
  const auto at = object.find(key);
  if (at != object.end() && at->is_object()) return config.get<std::string>(*at, cat(key, "."), "content", fallback);
  return config.get<std::string>(object, "", key, std::move(fallback));
}

void read_special_names(const JsonFile& config, TokenizerSpec& spec) {
  spec.cls = token_name(config, config.root(), "cls_token", spec.cls);
  spec.sep = token_name(config, config.root(), "sep_token", spec.sep);
  spec.pad = token_name(config, config.root(), "pad_token", spec.pad);
  spec.unk = token_name(config, config.root(), "unk_token", spec.unk);
  spec.mask = token_name(config, config.root(), "mask_token", spec.mask);
}

void add_special_tokens(TokenizerSpec& spec) {
  const Ids ids = ids_of(spec);
  for (const std::string* token : {&spec.pad, &spec.unk, &spec.cls, &spec.sep, &spec.mask})
    if (std::none_of(spec.added.begin(), spec.added.end(), [&](const AddedToken& t) { return t.content == *token; }))
      spec.added.push_back({*token, ids.at(*token)});
}

TokenizerSpec read_vocabulary_folder(const fs::path& folder) {
  TokenizerSpec spec;
  const fs::path vocabulary = folder / "vocab.txt", config_file = folder / "tokenizer_config.json";
  read_lines(vocabulary, spec);
  if (path_exists(config_file)) {
    const JsonFile config(config_file);
    const Json& root = config.root();
    const auto name = config.get<std::string>(root, "", "tokenizer_class", "BertTokenizer");
    const auto known = {"BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast"};
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw config.error("tokenizer_class", cat("is ", quoted(name), "; only BertTokenizer works without a tokenizer.json"),
                         "save the folder with its tokenizer.json");
    if (!config.get(root, "", "do_basic_tokenize", true))
      throw config.error("do_basic_tokenize", "is false; only true works", "use a model with BERT's basic tokenisation");
    spec.options.lower_case = config.get(root, "", "do_lower_case", true);
    spec.options.strip_accents = config.get(root, "", "strip_accents", spec.options.lower_case);
    spec.options.split_chinese_characters = config.get(root, "", "tokenize_chinese_chars", true);
    read_special_names(config, spec);
    const auto decoder = config.get<std::map<std::string, Json>>(root, "", "added_tokens_decoder", {});
    std::map<int64_t, Json> by_id;
    for (const auto& [id, token] : decoder) {
      const bool number = !id.empty() && id.size() < 9 && std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; });
      if (!number) throw config.error("added_tokens_decoder", cat("has the key ", quoted(id), ", which is no token id"), "correct it");
      by_id[std::stoll(id)] = token;
    }
    const Ids ids = ids_of(spec);
    for (const auto& [id, token] : by_id) add_token(config, cat("added_tokens_decoder.", id), token, id, ids, spec);
  }
  check_special_tokens(vocabulary, spec);
  add_special_tokens(spec);
  return spec;
}

void read_json_vocabulary(const JsonFile& file, const Json& model, TokenizerSpec& spec) {
  const auto vocabulary = model.find("vocab");
  if (vocabulary == model.end() || !vocabulary->is_object() || vocabulary->empty())
    throw file.error("model.vocab", "is missing or empty", "fetch the file again");
  spec.tokens.resize(vocabulary->size());
  std::vector<bool> given(vocabulary->size());
  for (const auto& [token, id] : vocabulary->items()) {
    if (!id.is_number_integer() || id < 0 || id >= spec.tokens.size() || given[id.get<size_t>()])
      throw Error(file.error("model.vocab",
                             cat("gives ", quoted(token), " the id ", id.dump(), ": ids must be 0 to ", spec.tokens.size() - 1,
                                 ", each once (does a token occur twice?)"),
                             "correct it"));
    given[id.get<size_t>()] = true;
    spec.tokens[id.get<size_t>()] = token;
  }
  spec.word_piece_tokens = static_cast<int64_t>(spec.tokens.size());
}

/// tokenizer.json decides; a tokenizer_config.json that contradicts it is refused, because other programs follow that one.
void compare(const JsonFile& config, const char* key, bool fallback, bool in_json, const char* name_in_json) {
  const bool here = config.get(config.root(), "", key, fallback);
  if (here != in_json)
    throw config.error(key,
                       cat("is ", here ? "true" : "false", ", but tokenizer.json says ", name_in_json, "=", in_json ? "true" : "false"),
                       "make the two files agree");
}

TokenizerSpec read_json_folder(const fs::path& folder) {
  const JsonFile file(folder / "tokenizer.json");
  TokenizerSpec spec;
  TokenizerOptions& o = spec.options;
  const Json& normalizer = file.typed("normalizer", "BertNormalizer");
  file.typed("pre_tokenizer", "BertPreTokenizer");
  const Json& model = file.typed("model", "WordPiece");
  o.clean_text = file.get(normalizer, "normalizer.", "clean_text", true);
  o.split_chinese_characters = file.get(normalizer, "normalizer.", "handle_chinese_chars", true);
  o.lower_case = file.get(normalizer, "normalizer.", "lowercase", true);
  o.strip_accents = file.get(normalizer, "normalizer.", "strip_accents", o.lower_case);
  o.continuing_prefix = file.get<std::string>(model, "model.", "continuing_subword_prefix", "##");
  o.max_characters_per_word = file.get<int64_t>(model, "model.", "max_input_chars_per_word", 100);
  read_json_vocabulary(file, model, spec);
  const auto added = file.get<std::vector<Json>>(file.root(), "", "added_tokens", {});
  const Ids ids = ids_of(spec);
  for (size_t i = 0; i < added.size(); ++i) {
    const std::string key = cat("added_tokens[", i, "]");
    if (!added[i].is_object()) throw file.error(key, "is not an object", "correct it");
    add_token(file, key, added[i], file.get<int64_t>(added[i], key + ".", "id", -1), ids, spec);
  }
  if (const fs::path config_file = folder / "tokenizer_config.json"; path_exists(config_file)) {
    const JsonFile config(config_file);
    read_special_names(config, spec);
    compare(config, "do_lower_case", o.lower_case, o.lower_case, "normalizer.lowercase");
    compare(config, "strip_accents", o.strip_accents, o.strip_accents, "normalizer.strip_accents");
    compare(config, "tokenize_chinese_chars", o.split_chinese_characters, o.split_chinese_characters, "normalizer.handle_chinese_chars");
  }
  const auto unknown = file.get<std::string>(model, "model.", "unk_token", "[UNK]");
  if (unknown != spec.unk)
    throw file.error("model.unk_token", cat("is ", quoted(unknown), ", but tokenizer_config.json says ", quoted(spec.unk)),
                     "make the two files agree");
  check_special_tokens(folder / "tokenizer.json", spec);
  return spec;
}

}  // namespace

TokenizerSpec read_tokenizer_folder(const fs::path& folder) {
  if (path_exists(folder / "tokenizer.json")) return read_json_folder(folder);
  if (path_exists(folder / "vocab.txt")) return read_vocabulary_folder(folder);
  throw Error(ExitCode::usage, "tokenizer", "the folder holds neither tokenizer.json nor vocab.txt", "name a BERT model folder")
      .at("file", folder.string());
}

TokenizerSpec read_vocabulary(const fs::path& vocab_txt, const TokenizerOptions& options) {
  TokenizerSpec spec;
  spec.options = options;
  read_lines(vocab_txt, spec);
  check_special_tokens(vocab_txt, spec);
  add_special_tokens(spec);
  return spec;
}

}  // namespace lodestone
