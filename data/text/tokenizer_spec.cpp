// Reads vocab.txt, tokenizer_config.json and tokenizer.json as Hugging Face does, and refuses what its programs would not read alike.
#include "data/text/tokenizer_spec.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include "core/error.h"
#include "data/files/durable.h"
#include "data/text/json_settings.h"
#include "data/text/special_tokens.h"
#include "data/text/vocabulary_file.h"

namespace lodestone {
namespace {

using Json = JsonSettings::Json;
namespace fs = std::filesystem;

/// Classes that are transformers' BertTokenizer, and those that take all from tokenizer.json.
constexpr std::array<std::string_view, 6> bert_classes = {"BertTokenizer",       "DistilBertTokenizer",  "ElectraTokenizer",
                                                          "MobileBertTokenizer", "SqueezeBertTokenizer", "LxmertTokenizer"};
constexpr std::array<std::string_view, 2> json_classes = {"PreTrainedTokenizerFast", "TokenizersBackend"};

enum class TokenizerClass : uint8_t { bert, json };

/// Of tokenizer_config.json, else of config.json, else the one that belongs to a BERT model.
TokenizerClass class_of(const JsonSettings& config, const fs::path& folder) {
  if (const auto map = config.root().find("auto_map"); map != config.root().end() && !map->is_null())
    throw config.error("auto_map", "names program code of its own", "use a BERT tokenizer");
  const JsonSettings model = JsonSettings::if_exists(folder / "config.json");
  std::optional<std::string> named = config.find<std::string>(config.root(), "", "tokenizer_class");
  const JsonSettings& file = named ? config : model;
  if (!named) named = model.find<std::string>(model.root(), "", "tokenizer_class");
  if (!named) return TokenizerClass::bert;
  if (std::find(json_classes.begin(), json_classes.end(), *named) != json_classes.end()) return TokenizerClass::json;
  std::string_view plain = *named;
  if (plain.ends_with("Fast")) plain.remove_suffix(4);
  if (std::find(bert_classes.begin(), bert_classes.end(), plain) != bert_classes.end()) return TokenizerClass::bert;
  throw file.error("tokenizer_class",
                   cat("is ", quoted_token(*named), "; only BertTokenizer and, with a tokenizer.json, PreTrainedTokenizerFast work"),
                   "use a BERT tokenizer");
}

/// What lower-cases, strips accents and splits Chinese as a BERT class does, whatever tokenizer.json says.
TokenizerOptions options_of(const JsonSettings& config) {
  TokenizerOptions o;
  o.lower_case = config.get(config.root(), "", "do_lower_case", true);
  o.strip_accents = config.get(config.root(), "", "strip_accents", o.lower_case);
  o.split_chinese_characters = config.get(config.root(), "", "tokenize_chinese_chars", true);
  return o;
}

TokenizerOptions options_of_json(const JsonSettings& json) {
  TokenizerOptions o;
  const Json& normalizer = json.typed("normalizer", "BertNormalizer");
  json.typed("pre_tokenizer", "BertPreTokenizer");
  const Json& model = json.typed("model", "WordPiece");
  o.clean_text = json.get(normalizer, "normalizer.", "clean_text", true);
  o.split_chinese_characters = json.get(normalizer, "normalizer.", "handle_chinese_chars", true);
  o.lower_case = json.get(normalizer, "normalizer.", "lowercase", true);
  o.strip_accents = json.get(normalizer, "normalizer.", "strip_accents", o.lower_case);
  o.continuing_prefix = json.get<std::string>(model, "model.", "continuing_subword_prefix", "##");
  if (o.continuing_prefix.empty())
    throw json.error("model.continuing_subword_prefix", "is empty: every token would continue a word", "use a BERT tokenizer: \"##\"");
  o.max_characters_per_word = json.get<int64_t>(model, "model.", "max_input_chars_per_word", 100);
  return o;
}

void read_json_vocabulary(const JsonSettings& json, TokenizerSpec& spec) {
  const Json& model = json.typed("model", "WordPiece");
  const auto vocabulary = model.find("vocab");
  if (vocabulary == model.end() || !vocabulary->is_object() || vocabulary->empty())
    throw json.error("model.vocab", "is missing or empty", "fetch the file again");
  for (const auto& [token, id] : vocabulary->items()) {
    const auto refuse = [&json, &token = token, &id = id](const std::string& what) {
      return json.error("model.vocab", cat("gives ", quoted_token(token), " the id ", id.dump(), what), "correct it");
    };
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(most_tokens))
      throw refuse(cat(": ids from 0 to ", most_tokens - 1, " work"));
    const auto at = id.get<size_t>();
    if (at >= spec.tokens.size()) spec.tokens.resize(at + 1);
    if (!spec.tokens[at].empty()) throw refuse(cat(", which ", quoted_token(spec.tokens[at]), " has too"));
    spec.tokens[at] = token;
  }
  spec.word_piece_tokens = std::ssize(spec.tokens);
}

Error not_framed(const JsonSettings& json) {
  return json.error("post_processor.single", "is not one token, the text, one token, all of token type 0",
                    "use a BERT tokenizer: [CLS] text [SEP]");
}

/// The three steps of a TemplateProcessing around a text.
const Json& single_of(const JsonSettings& json, const Json& post) {
  const auto is = [](const Json& step, const char* kind) {
    const auto at = step.find(kind);
    if (at == step.end() || !at->is_object()) return false;
    const auto type = at->find("type_id");
    return type != at->end() && *type == 0;
  };
  const auto single = post.find("single");
  if (single == post.end() || !single->is_array() || single->size() != 3) throw not_framed(json);
  if (!is((*single)[0], "SpecialToken") || !is((*single)[1], "Sequence") || !is((*single)[2], "SpecialToken")) throw not_framed(json);
  if (json.get<std::string>((*single)[1]["Sequence"], "post_processor.single.", "id", "") != "A") throw not_framed(json);
  return *single;
}

/// The token of a step, by its id.
std::string token_of(const JsonSettings& json, const Json& post, const Json& step, const TokenizerSpec& spec) {
  const auto id = json.get<std::string>(step["SpecialToken"], "post_processor.single.", "id", "");
  const auto tokens = json.get<Json>(post, "post_processor.", "special_tokens", Json::object());
  const auto entry = tokens.find(id);
  if (entry == tokens.end() || !entry->is_object()) throw not_framed(json);
  const auto ids = json.get<std::vector<int64_t>>(*entry, "post_processor.special_tokens.", "ids", {});
  if (ids.size() != 1 || ids[0] < 0 || ids[0] >= std::ssize(spec.tokens)) throw not_framed(json);
  return spec.tokens[static_cast<size_t>(ids[0])];
}

/// The tokens that tokenizer.json puts before and behind a text; none where it has no post_processor.
std::optional<std::pair<std::string, std::string>> framing_of(const JsonSettings& json, const TokenizerSpec& spec) {
  const auto at = json.root().find("post_processor");
  if (at == json.root().end() || at->is_null()) return std::nullopt;
  const Json& post = *at;
  const std::string type = post.is_object() ? json.get<std::string>(post, "post_processor.", "type", "missing") : "missing";
  if (type == "BertProcessing") {
    using Named = std::pair<std::string, int64_t>;
    const auto cls = json.get<Named>(post, "post_processor.", "cls", {}), sep = json.get<Named>(post, "post_processor.", "sep", {});
    for (const auto& [token, id] : {cls, sep})
      if (id < 0 || id >= std::ssize(spec.tokens) || spec.tokens[static_cast<size_t>(id)] != token)
        throw json.error("post_processor", cat("gives ", quoted_token(token), " the id ", id, ", the vocabulary does not"),
                         "make them agree");
    return std::pair(cls.first, sep.first);
  }
  if (type != "TemplateProcessing")
    throw json.error("post_processor.type", cat("is ", quoted_token(type), "; only TemplateProcessing and BertProcessing work"),
                     "use a BERT tokenizer: [CLS] text [SEP]");
  const Json& single = single_of(json, post);
  return std::pair(token_of(json, post, single[0], spec), token_of(json, post, single[2], spec));
}

/// Where Hugging Face keeps the end of a long text, or pads in front, its vectors are others than ours.
void refuse_left(const JsonSettings& config, const JsonSettings* json, const char* key, const char* section, const char* effect) {
  const auto given = config.find<std::string>(config.root(), "", key);
  if (given && *given == "left") throw config.error(key, cat("is \"left\": ", effect), "set it to \"right\"");
  if (given || json == nullptr) return;
  const auto at = json->root().find(section);
  if (at == json->root().end() || !at->is_object()) return;
  if (json->get<std::string>(*at, cat(section, "."), "direction", "Right") != "Right")
    throw json->error(cat(section, ".direction"), cat("is Left: ", effect), "set it to \"Right\"");
}

void refuse_other_encodings(const JsonSettings& config, const JsonSettings* json) {
  refuse_left(config, json, "truncation_side", "truncation", "Hugging Face keeps the end of a long text, this program its beginning");
  refuse_left(config, json, "padding_side", "padding", "the vector of a text would depend on its neighbours in a batch");
  if (config.get(config.root(), "", "split_special_tokens", false))
    throw config.error("split_special_tokens", "is true; only false works", "set it to false");
}

/// Two files that say different things of what some programs take from the one and some from the other.
void require_agreement(const JsonSettings& config, const char* key, bool in_json, const char* name_in_json) {
  const bool here = config.get(config.root(), "", key, in_json);
  if (here != in_json)
    throw config.error(key,
                       cat("is ", here ? "true" : "false", ", but tokenizer.json says ", name_in_json, "=", in_json ? "true" : "false"),
                       "make the two files agree");
}

void require_agreement(const JsonSettings& config, const TokenizerOptions& json) {
  require_agreement(config, "do_lower_case", json.lower_case, "normalizer.lowercase");
  require_agreement(config, "strip_accents", json.strip_accents, "normalizer.strip_accents");
  require_agreement(config, "tokenize_chinese_chars", json.split_chinese_characters, "normalizer.handle_chinese_chars");
}

/// What transformers 4 and tokenizers take from tokenizer.json, and transformers 5 does not.
void require_defaults(const JsonSettings& json, const TokenizerOptions& o) {
  const TokenizerOptions defaults;
  const char* const key = o.clean_text != defaults.clean_text                             ? "normalizer.clean_text"
                          : o.continuing_prefix != defaults.continuing_prefix             ? "model.continuing_subword_prefix"
                          : o.max_characters_per_word != defaults.max_characters_per_word ? "model.max_input_chars_per_word"
                                                                                          : nullptr;
  if (key != nullptr)
    throw json.error(key, "is not the default of transformers' BertTokenizer, which does not read it",
                     "set it to that, or tokenizer_class in tokenizer_config.json to \"PreTrainedTokenizerFast\"");
}

void require_unknown_token(const JsonSettings& json, const TokenizerSpec& spec) {
  const auto unknown = json.get<std::string>(json.typed("model", "WordPiece"), "model.", "unk_token", "[UNK]");
  if (unknown != spec.unk)
    throw json.error("model.unk_token", cat("is ", quoted_token(unknown), ", but tokenizer_config.json says ", quoted_token(spec.unk)),
                     "make the two files agree");
}

/// Everything from tokenizer.json but the names of padding and mask.
TokenizerSpec read_json_alone(const JsonSettings& json, const SpecialTokens& special, const fs::path& file) {
  TokenizerSpec spec;
  spec.options = options_of_json(json);
  read_json_vocabulary(json, spec);
  add_tokens_of_json(json, spec);
  special.set_names(spec);
  const auto framing = framing_of(json, spec);
  if (!framing)
    throw json.error("post_processor", "is missing: nothing would stand around a text", "use a BERT tokenizer: [CLS] text [SEP]");
  std::tie(spec.cls, spec.sep) = *framing;
  require_unknown_token(json, spec);
  require_special_tokens(file, VocabularyForm::json, spec);
  return spec;
}

TokenizerSpec read_by_json_class(const JsonSettings& json, const SpecialTokens& special, const fs::path& file) {
  refuse_other_encodings(special.config(), &json);
  TokenizerSpec spec = read_json_alone(json, special, file);
  require_agreement(special.config(), spec.options);
  special.add_to(spec, &json, SpecialTokens::Listed::beside_json);
  return spec;
}

TokenizerSpec read_by_bert_class(const JsonSettings& json, const SpecialTokens& special, const fs::path& file) {
  refuse_other_encodings(special.config(), &json);
  TokenizerSpec spec;
  const TokenizerOptions in_json = options_of_json(json);
  require_agreement(special.config(), in_json);
  require_defaults(json, in_json);
  spec.options = options_of(special.config());
  read_json_vocabulary(json, spec);
  special.set_names(spec);
  require_unknown_token(json, spec);
  require_special_tokens(file, VocabularyForm::json, spec);
  special.add_to(spec, &json, SpecialTokens::Listed::instead_of_json);
  const auto framing = framing_of(json, spec);
  if (!framing)
    throw json.error("post_processor", "is missing: transformers 4 puts nothing around a text, transformers 5 does",
                     "save the tokenizer again with transformers 5");
  if (*framing != std::pair(spec.cls, spec.sep))
    throw json.error("post_processor",
                     cat("puts ", quoted_token(framing->first), " and ", quoted_token(framing->second),
                         " around a text, but cls_token and sep_token are ", quoted_token(spec.cls), " and ", quoted_token(spec.sep)),
                     "make tokenizer_config.json agree");
  return spec;
}

TokenizerSpec read_lines(const SpecialTokens& special, const fs::path& file) {
  const JsonSettings& config = special.config();
  refuse_other_encodings(config, nullptr);
  if (!config.get(config.root(), "", "do_basic_tokenize", true))
    throw config.error("do_basic_tokenize", "is false; only true works", "use a model with BERT's basic tokenisation");
  TokenizerSpec spec;
  spec.tokens = read_vocabulary_lines(file);
  spec.word_piece_tokens = std::ssize(spec.tokens);
  spec.options = options_of(config);
  special.set_names(spec);
  require_special_tokens(file, VocabularyForm::lines, spec);
  special.add_to(spec, nullptr, SpecialTokens::Listed::instead_of_json);
  return spec;
}

}  // namespace

const char* name_of(TokenizerReading reading) {
  switch (reading) {
    case TokenizerReading::auto_tokenizer:
      return "AutoTokenizer";
    case TokenizerReading::tokenizer_json:
      return "tokenizer.json alone";
    case TokenizerReading::vocabulary:
      return "vocab.txt";
  }
  throw_internal(__FILE__, __LINE__, "reading", "no such reading of a tokenizer");
}

std::vector<TokenizerReading> tokenizer_readings(const fs::path& folder) {
  std::vector<TokenizerReading> readings = {TokenizerReading::auto_tokenizer};
  const bool json = path_exists(folder / "tokenizer.json");
  if (json) readings.push_back(TokenizerReading::tokenizer_json);
  const JsonSettings config = JsonSettings::if_exists(folder / "tokenizer_config.json");
  if (path_exists(folder / "vocab.txt") && (!json || class_of(config, folder) == TokenizerClass::bert))
    readings.push_back(TokenizerReading::vocabulary);
  return readings;
}

TokenizerSpec read_tokenizer_folder(const fs::path& folder, TokenizerReading reading) {
  const fs::path json_file = folder / "tokenizer.json", vocabulary = folder / "vocab.txt";
  const bool has_json = path_exists(json_file);
  if (!has_json && !path_exists(vocabulary))
    throw Error(ExitCode::usage, "tokenizer", "the folder holds neither tokenizer.json nor vocab.txt", "name a BERT model folder")
        .at("file", folder.string());
  const SpecialTokens special(folder);
  const TokenizerClass kind = class_of(special.config(), folder);
  if (!has_json && kind == TokenizerClass::json)
    throw special.config().error("tokenizer_class", "needs a tokenizer.json, which is not there", "set it to \"BertTokenizer\"");
  if (!has_json || reading == TokenizerReading::vocabulary) return read_lines(special, vocabulary);
  const JsonSettings json(json_file);
  if (reading == TokenizerReading::tokenizer_json) return read_json_alone(json, special, json_file);
  return kind == TokenizerClass::json ? read_by_json_class(json, special, json_file) : read_by_bert_class(json, special, json_file);
}

void require_pairs(const fs::path& folder) {
  const JsonSettings config = JsonSettings::if_exists(folder / "tokenizer_config.json");
  constexpr const char* types = "token_type_ids";
  const std::string list_them = cat("have model_input_names list input_ids, ", types, " and attention_mask");
  const auto named = config.get<std::string>(config.root(), "", "tokenizer_class", "");
  const auto inputs = config.find<std::vector<std::string>>(config.root(), "", "model_input_names");
  if (inputs ? std::find(inputs->begin(), inputs->end(), types) == inputs->end() : named.starts_with("DistilBert"))
    throw config.error(inputs ? "model_input_names" : "tokenizer_class",
                       cat("leaves out ", types, ", which tell the texts of a pair apart"), list_them);
  if (!inputs && class_of(config, folder) == TokenizerClass::json)
    throw config.error("model_input_names",
                       cat("is missing: transformers 5 then leaves out ", types, ", which tell the texts of a pair apart"), list_them);
  if (!path_exists(folder / "tokenizer.json")) return;
  const JsonSettings json(folder / "tokenizer.json");
  const auto post = json.root().find("post_processor");
  if (post == json.root().end() || !post->is_object() ||
      json.get<std::string>(*post, "post_processor.", "type", "") != "TemplateProcessing")
    return;
  Json expected = single_of(json, *post);
  expected.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  expected.push_back(expected[2]);
  expected[4]["SpecialToken"]["type_id"] = 1;
  if (json.get<Json>(*post, "post_processor.", "pair", nullptr) != expected)
    throw json.error("post_processor.pair", "is not [CLS] first [SEP] second [SEP] with token types 0 0 0 1 1", "correct it");
}

TokenizerSpec read_vocabulary(const fs::path& vocab_txt, const TokenizerOptions& options) {
  TokenizerSpec spec;
  spec.options = options;
  spec.tokens = read_vocabulary_lines(vocab_txt);
  spec.word_piece_tokens = std::ssize(spec.tokens);
  require_special_tokens(vocab_txt, VocabularyForm::lines, spec);
  const TokenIds ids = ids_of(spec);
  for (const std::string* token : {&spec.pad, &spec.unk, &spec.cls, &spec.sep, &spec.mask}) spec.added.push_back({*token, ids.at(*token)});
  return spec;
}

uint64_t fingerprint_of(const TokenizerSpec& spec) {
  const TokenizerOptions& o = spec.options;
  std::string all = cat("wordpiece 1 ", o.clean_text, o.lower_case, o.strip_accents, o.split_chinese_characters, ' ',
                        o.max_characters_per_word, ' ', spec.word_piece_tokens, ' ', spec.tokens.size());
  const auto add = [&all](std::string_view part) { all.append(1, '\0').append(part); };
  for (const std::string* part : {&o.continuing_prefix, &spec.cls, &spec.sep, &spec.pad, &spec.unk, &spec.mask}) add(*part);
  for (const std::string& token : spec.tokens) add(token);
  std::vector<std::string_view> added;
  for (const AddedToken& token : spec.added) added.push_back(token.content);
  std::sort(added.begin(), added.end());
  for (const std::string_view token : added) add(token);
  return XXH64(all.data(), all.size(), 0);
}

}  // namespace lodestone
