#include "data/text/tokenizer_files.h"

#include <map>

#include "data/files/durable.h"
#include "data/files/strict_json.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr size_t max_vocab_bytes = size_t{256} << 20;
constexpr const char* special_tokens[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

std::vector<std::string> read_vocabulary(const fs::path& file) {
  const std::string text = read_text_file(file, max_vocab_bytes, ExitCode::checkpoint);
  std::vector<std::string> tokens;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string token = text.substr(begin, end - begin);
    if (token.ends_with('\r')) token.pop_back();
    tokens.push_back(std::move(token));
    begin = end + 1;
  }
  return tokens;
}

std::map<std::string, size_t> special_ids(const std::vector<std::string>& tokens, const fs::path& file) {
  std::map<std::string, size_t> ids;
  for (size_t i = 0; i < tokens.size(); ++i)
    for (const char* special : special_tokens)
      if (tokens[i] == special) ids.emplace(special, i);
  for (const char* special : special_tokens)
    if (!ids.contains(special))
      throw Error(ExitCode::usage, "F41", cat("the vocabulary lacks the special token ", special), "use a BERT vocabulary")
          .at("file", file.string());
  return ids;
}

OrderedJson template_step(const char* kind, const char* id, int type) { return {{kind, {{"id", id}, {"type_id", type}}}}; }

OrderedJson tokenizer_json(const std::vector<std::string>& tokens, const std::map<std::string, size_t>& ids,
                           const TokenizerOptions& options) {
  OrderedJson json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = OrderedJson::array();
  std::map<size_t, std::string> by_id;
  for (const auto& [token, id] : ids) by_id[id] = token;
  for (const auto& [id, token] : by_id)
    json["added_tokens"].push_back({{"id", id},
                                    {"content", token},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", true}});
  json["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", true},
                        {"handle_chinese_chars", options.split_chinese_characters},
                        {"strip_accents", options.strip_accents},
                        {"lowercase", options.lower_case}};
  json["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  OrderedJson& post = json["post_processor"];
  post["type"] = "TemplateProcessing";
  post["single"] = {template_step("SpecialToken", "[CLS]", 0), template_step("Sequence", "A", 0),
                    template_step("SpecialToken", "[SEP]", 0)};
  post["pair"] = post["single"];
  post["pair"].push_back(template_step("Sequence", "B", 1));
  post["pair"].push_back(template_step("SpecialToken", "[SEP]", 1));
  for (const char* token : {"[CLS]", "[SEP]"}) {
    OrderedJson& entry = post["special_tokens"][token];
    entry["id"] = token;
    entry["ids"] = OrderedJson::array({ids.at(token)});
    entry["tokens"] = OrderedJson::array({token});
  }
  json["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  OrderedJson& model = json["model"];
  model["type"] = "WordPiece";
  model["unk_token"] = "[UNK]";
  model["continuing_subword_prefix"] = "##";
  model["max_input_chars_per_word"] = options.max_characters_per_word;
  OrderedJson::object_t vocabulary;  // filled as a plain list: operator[] would search it for every token
  vocabulary.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) vocabulary.emplace_back(tokens[i], i);
  model["vocab"] = std::move(vocabulary);
  return json;
}

OrderedJson special_tokens_map() {
  return {{"unk_token", "[UNK]"}, {"sep_token", "[SEP]"}, {"pad_token", "[PAD]"}, {"cls_token", "[CLS]"}, {"mask_token", "[MASK]"}};
}

OrderedJson tokenizer_config(const TokenizerOptions& options, int64_t max_seq_length) {
  OrderedJson json = special_tokens_map();
  json["do_lower_case"] = options.lower_case;
  json["strip_accents"] = options.strip_accents;
  json["tokenize_chinese_chars"] = options.split_chinese_characters;
  json["model_max_length"] = max_seq_length;
  json["tokenizer_class"] = "BertTokenizer";
  return json;
}

/// What tokenizer_config.json says, in the form of the tokenizer's options.
TokenizerOptions read_options(const fs::path& file) {
  TokenizerOptions options;
  if (!path_exists(file)) return options;
  const Json json = read_json_object(file);
  options.lower_case = json_flag(json, "do_lower_case", true, file);
  options.strip_accents = json_flag(json, "strip_accents", options.lower_case, file);
  options.split_chinese_characters = json_flag(json, "tokenize_chinese_chars", true, file);
  return options;
}

void write_if_missing(const fs::path& file, const OrderedJson& json) {
  if (!path_exists(file)) write_new_file(file, json.dump(2) + "\n");
}

void complete(const fs::path& folder, const TokenizerOptions& options, int64_t max_seq_length) {
  const fs::path vocab = folder / "vocab.txt";
  const std::vector<std::string> tokens = read_vocabulary(vocab);
  write_if_missing(folder / "tokenizer.json", tokenizer_json(tokens, special_ids(tokens, vocab), options));
  write_if_missing(folder / "tokenizer_config.json", tokenizer_config(options, max_seq_length));
  write_if_missing(folder / "special_tokens_map.json", special_tokens_map());
}

}  // namespace

void write_tokenizer_files(const fs::path& source, const fs::path& to) {
  for (const char* name : {"vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"})
    if (path_exists(source / name)) copy_file_durably(source / name, to / name);
  if (path_exists(to / "vocab.txt"))
    complete(to, read_options(to / "tokenizer_config.json"), 512);
  else if (!path_exists(to / "tokenizer.json"))
    throw Error(ExitCode::checkpoint, "missing", "the model folder has neither vocab.txt nor tokenizer.json", "add the model's vocabulary")
        .at("file", source.string());
}

void write_tokenizer_files(const fs::path& vocab_txt, const TokenizerOptions& options, int64_t max_seq_length, const fs::path& to) {
  copy_file_durably(vocab_txt, to / "vocab.txt");
  complete(to, options, max_seq_length);
}

}  // namespace lodestone
