// Do the files of a model folder give the tokenizer they describe, and is each bad one refused in one line?
#include "data/text/tokenizer_spec.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

using Json = nlohmann::json;

constexpr const char* small_vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n##s\n";

/// A model folder that lives as long as the test.
class TokenizerFiles : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name, std::ios::binary) << text; }
  void write(const std::string& name, const Json& json) const { write(name, json.dump(1)); }

  static Json post_processor(const std::string& before, int before_id, const std::string& behind, int behind_id) {
    const auto step = [](const char* kind, const std::string& id) { return Json{{kind, {{"id", id}, {"type_id", 0}}}}; };
    const auto entry = [](const std::string& token, int id) { return Json{{"id", token}, {"ids", {id}}, {"tokens", {token}}}; };
    return {{"type", "TemplateProcessing"},
            {"single", {step("SpecialToken", before), step("Sequence", "A"), step("SpecialToken", behind)}},
            {"special_tokens", {{before, entry(before, before_id)}, {behind, entry(behind, behind_id)}}}};
  }

  static Json tokenizer_json() {
    Json added = Json::array();
    const std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    Json vocab = {{"hello", 5}, {"world", 6}, {"##s", 7}};
    for (size_t id = 0; id < tokens.size(); ++id) {
      vocab[tokens[id]] = id;
      added.push_back({{"id", id},
                       {"content", tokens[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
    }
    return {{"version", "1.0"},
            {"added_tokens", added},
            {"normalizer",
             {{"type", "BertNormalizer"},
              {"clean_text", true},
              {"handle_chinese_chars", true},
              {"strip_accents", nullptr},
              {"lowercase", true}}},
            {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
            {"post_processor", post_processor("[CLS]", 2, "[SEP]", 3)},
            {"model",
             {{"type", "WordPiece"},
              {"unk_token", "[UNK]"},
              {"continuing_subword_prefix", "##"},
              {"max_input_chars_per_word", 100},
              {"vocab", vocab}}}};
  }

  /// The error's parts as they are printed; "" if none is thrown.
  std::string refusal() const {
    try {
      Tokenizer::from_folder(folder_.path());
      return "";
    } catch (const Error& e) {
      EXPECT_EQ(e.exit_code(), ExitCode::usage);
      EXPECT_FALSE(e.remedy().empty());
      const std::string folder = folder_.path().string() + "/";
      std::string where = e.where();
      if (const size_t at = where.find(folder); at != std::string::npos) where.erase(at, folder.size());
      return e.code() + " " + e.what() + "; " + where;
    }
  }

  std::string refusal_of_vocabulary(const std::string& text) const {
    write("vocab.txt", text);
    return refusal();
  }

  std::string refusal_of_json(const std::function<void(Json&)>& change) const {
    Json json = tokenizer_json();
    change(json);
    write("tokenizer.json", json);
    return refusal();
  }

  test::TempDir folder_;
};

TEST_F(TokenizerFiles, BothKindsOfFolderGiveTheSameTokenizer) {
  write("vocab.txt", std::string(small_vocabulary));
  const Tokenizer from_lines = Tokenizer::from_folder(folder_.path());
  write("tokenizer.json", tokenizer_json());
  const Tokenizer from_json = Tokenizer::from_folder(folder_.path());
  EXPECT_EQ(from_lines.fingerprint(), from_json.fingerprint());
  EXPECT_EQ(Tokenizer::from_vocab(folder_ / "vocab.txt", {}).fingerprint(), from_json.fingerprint());
  EXPECT_EQ(read_tokenizer_folder(folder_.path()).options, TokenizerOptions{});
  EXPECT_EQ(from_json.vocab_size(), 8);
  EXPECT_EQ(from_json.token(7), "##s");
  EXPECT_TRUE(from_json.continues_word(7));
  EXPECT_FALSE(from_json.continues_word(1));
  EXPECT_EQ(from_json.pad_id(), 0);
  EXPECT_EQ(from_json.unk_id(), 1);
  EXPECT_EQ(from_json.cls_id(), 2);
  EXPECT_EQ(from_json.sep_id(), 3);
  EXPECT_EQ(from_json.mask_id(), 4);
  std::vector<int32_t> ids;
  from_json.encode("Hellos, [SEP]", ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{5, 7, 1, 3}));
}

TEST_F(TokenizerFiles, OptionsOfTokenizerConfigApplyToAVocabulary) {
  write("vocab.txt", std::string(small_vocabulary));
  write("tokenizer_config.json", Json{{"do_lower_case", false}, {"tokenize_chinese_chars", false}, {"tokenizer_class", "BertTokenizer"}});
  const TokenizerSpec spec = read_tokenizer_folder(folder_.path());
  EXPECT_FALSE(spec.options.lower_case);
  EXPECT_FALSE(spec.options.strip_accents) << "follows do_lower_case unless given";
  EXPECT_FALSE(spec.options.split_chinese_characters);
  write("tokenizer_config.json", Json{{"do_lower_case", false}, {"strip_accents", true}});
  EXPECT_TRUE(read_tokenizer_folder(folder_.path()).options.strip_accents);
}

TEST_F(TokenizerFiles, OptionsOfTokenizerJsonApplyToTheClassThatReadsThem) {
  write("tokenizer_config.json", Json{{"tokenizer_class", "PreTrainedTokenizerFast"}});
  Json json = tokenizer_json();
  json["normalizer"] = {
      {"type", "BertNormalizer"}, {"clean_text", false}, {"handle_chinese_chars", false}, {"strip_accents", true}, {"lowercase", false}};
  json["model"]["continuing_subword_prefix"] = "@@";
  json["model"]["max_input_chars_per_word"] = 7;
  write("tokenizer.json", json);
  const TokenizerOptions expected = {.clean_text = false,
                                     .lower_case = false,
                                     .strip_accents = true,
                                     .split_chinese_characters = false,
                                     .max_characters_per_word = 7,
                                     .continuing_prefix = "@@"};
  EXPECT_EQ(read_tokenizer_folder(folder_.path()).options, expected);
}

TEST_F(TokenizerFiles, SpecialTokensMayHaveOtherNamesAndMoreMayBeAdded) {
  write("vocab.txt", std::string("<pad>\n<unk>\n<s>\n</s>\n<mask>\nhello\n"));
  write("tokenizer_config.json", Json{{"pad_token", "<pad>"},
                                      {"unk_token", {{"content", "<unk>"}}},
                                      {"cls_token", "<s>"},
                                      {"sep_token", "</s>"},
                                      {"mask_token", "<mask>"},
                                      {"added_tokens_decoder", {{"6", {{"content", "<q>"}, {"special", true}, {"normalized", false}}}}}});
  const Tokenizer tokenizer = Tokenizer::from_folder(folder_.path());
  std::vector<int32_t> ids;
  tokenizer.encode("<s>hello<q>x", ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{2, 5, 6, 1}));
  EXPECT_EQ(tokenizer.vocab_size(), 7);
}

TEST_F(TokenizerFiles, VocabularyFaultsNameFileAndLine) {
  EXPECT_EQ(refusal(), "tokenizer the folder holds neither tokenizer.json nor vocab.txt; file=" + folder_.path().string());
  std::filesystem::create_directory(folder_ / "vocab.txt");
  EXPECT_EQ(refusal(), "missing this is not a regular file; file=vocab.txt");
  std::filesystem::remove(folder_ / "vocab.txt");
  EXPECT_EQ(refusal_of_vocabulary(""), "F41 the vocabulary is empty; file=vocab.txt");
  EXPECT_EQ(refusal_of_vocabulary("[PAD]\n[UNK]\nhello \n"), "F41 white space stands behind the token; file=vocab.txt line=3");
  EXPECT_EQ(refusal_of_vocabulary("[PAD]\r\n[UNK]\r\n"), "F41 the line ends in CR LF: every token would differ; file=vocab.txt line=1");
  EXPECT_EQ(refusal_of_vocabulary("[PAD]\na\rb\n"),
            "F41 a carriage return stands in the line, where Python would end it; file=vocab.txt line=2");
  EXPECT_EQ(refusal_of_vocabulary("[PAD]\n[UNK]"),
            "F41 the last line of the vocabulary does not end: the file may be cut off; file=vocab.txt line=2");
  EXPECT_EQ(refusal_of_vocabulary("[PAD]\na\xFF\n"), "F41 the token is not valid UTF-8; file=vocab.txt line=2");
  EXPECT_EQ(refusal_of_vocabulary("[PAD]\n[UNK]\n[CLS]\n[MASK]\nhello\n"),
            "F41 the vocabulary has no special token \"[SEP]\"; file=vocab.txt line=5");
  EXPECT_EQ(refusal_of_vocabulary(small_vocabulary), "");
}

TEST_F(TokenizerFiles, AVocabularyMayHoldOneEmptyLine) {  // that of bert-base-chinese does
  EXPECT_EQ(refusal_of_vocabulary(std::string(small_vocabulary) + "\nlast\n"), "");
  EXPECT_EQ(Tokenizer::from_folder(folder_.path()).vocab_size(), 10);
}

TEST_F(TokenizerFiles, OtherKindsOfTokenizerAreRefusedNamingWhatWorks) {
  EXPECT_EQ(refusal_of_json([](Json& j) { j["model"]["type"] = "BPE"; }),
            "tokenizer model.type is \"BPE\"; only WordPiece works; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) { j["model"].erase("type"); }),
            "tokenizer model.type is \"missing\"; only WordPiece works; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) {
              j["normalizer"] = {{"type", "NFC"}};
            }),
            "tokenizer normalizer.type is \"NFC\"; only BertNormalizer works; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) { j["normalizer"] = nullptr; }),
            "tokenizer normalizer.type is \"missing\"; only BertNormalizer works; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) { j["pre_tokenizer"]["type"] = "Whitespace"; }),
            "tokenizer pre_tokenizer.type is \"Whitespace\"; only BertPreTokenizer works; file=tokenizer.json");
}

TEST_F(TokenizerFiles, BadTokenizerJsonIsRefused) {
  write("tokenizer.json", std::string("{\n \"a\": 1,\n oops"));
  EXPECT_EQ(
      refusal(),
      "tokenizer this is not valid JSON (parse error at line 3, column 2: syntax error while parsing object key - invalid literal; last "
      "read: '1,<U+000A> o'; expected string literal); offset=13 file=tokenizer.json");
  write("tokenizer.json", std::string("{\"a\": 1e999}"));
  EXPECT_EQ(refusal(), "tokenizer this is not valid JSON (number overflow parsing '1e999'); file=tokenizer.json");
  write("tokenizer.json", "{\"a\": " + std::string(100000, '[') + std::string(100000, ']') + "}");
  EXPECT_EQ(refusal(), "tokenizer nested deeper than 64 levels; file=tokenizer.json");
  write("tokenizer.json", "{\"a\": 1, " + tokenizer_json().dump().substr(1, std::string::npos));
  EXPECT_EQ(refusal(), "");
  write("tokenizer.json", "{\"model\": 1, " + tokenizer_json().dump().substr(1, std::string::npos));
  EXPECT_EQ(refusal(), "") << "of equal keys the last counts";
  write("tokenizer.json", std::string("[]"));
  EXPECT_EQ(refusal(), "tokenizer the file is not a JSON object; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) { j["model"]["vocab"] = Json::object(); }),
            "tokenizer model.vocab is missing or empty; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) { j["model"]["vocab"]["hello"] = 6; }),
            "tokenizer model.vocab gives \"world\" the id 6, which \"hello\" has too; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) { j["model"]["vocab"]["hello"] = 1.5; }),
            "tokenizer model.vocab gives \"hello\" the id 1.5: ids from 0 to 16777215 work; file=tokenizer.json");
  for (const Json& bad : {Json("many"), Json(1.5), Json(1e300), Json(UINT64_MAX)})
    EXPECT_EQ(refusal_of_json([&](Json& j) { j["model"]["max_input_chars_per_word"] = bad; }),
              "tokenizer model.max_input_chars_per_word is not a whole number of 64 bits; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) { j["normalizer"]["lowercase"] = 1; }),
            "tokenizer normalizer.lowercase is not true or false; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) {
              j["added_tokens"].push_back({{"id", 8}, {"content", "new"}});
            }),
            "tokenizer added_tokens[5].normalized is true for \"new\"; only false works; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) { j["added_tokens"][0]["single_word"] = true; }),
            "tokenizer added_tokens[0].single_word is true for \"[PAD]\"; only false works; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) { j["added_tokens"][0]["id"] = 3; }),
            "tokenizer added_tokens[0].id is 3 for \"[PAD]\", but by the vocabulary it is 0; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) { j["model"]["vocab"].erase("[MASK]"), j["model"]["vocab"]["x"] = 4, j["added_tokens"].erase(4); }),
            "F41 the vocabulary has no special token \"[MASK]\"; file=tokenizer.json");
  EXPECT_EQ(refusal_of_json([](Json& j) { j["model"]["continuing_subword_prefix"] = ""; }),
            "tokenizer model.continuing_subword_prefix is empty: every token would continue a word; file=tokenizer.json");
}

TEST_F(TokenizerFiles, WhatStandsAroundATextIsOneTokenEachOfTypeNought) {
  const std::string refused =
      "tokenizer post_processor.single is not one token, the text, one token, all of token type 0; file=tokenizer.json";
  const auto with_single = [&](const std::function<void(Json&)>& change) {
    return refusal_of_json([&](Json& j) { change(j["post_processor"]["single"]); });
  };
  EXPECT_EQ(with_single([](Json&) {}), "");
  EXPECT_EQ(with_single([](Json& single) { single = {1, 2, 3}; }), refused);
  EXPECT_EQ(with_single([](Json& single) { single = {{"a", 1}, {"b", 2}, {"c", 3}}; }), refused);
  EXPECT_EQ(with_single([](Json& single) { single.erase(2); }), refused);
  EXPECT_EQ(with_single([](Json& single) { single[1]["Sequence"]["id"] = "B"; }), refused);
  EXPECT_EQ(with_single([](Json& single) { single[1]["Sequence"] = "A"; }), refused);
  EXPECT_EQ(with_single([](Json& single) { single[0]["SpecialToken"]["id"] = "[PAD]"; }), refused) << "not among special_tokens";
  for (const char* kind : {"SpecialToken", "Sequence"})
    for (const Json& type : {Json(1), Json("0"), Json(nullptr)})
      EXPECT_EQ(with_single([&](Json& single) {
                  for (Json& step : single)
                    if (step.contains(kind)) step[kind]["type_id"] = type;
                }),
                refused)
          << kind << ' ' << type;
}

TEST_F(TokenizerFiles, BadTokenizerConfigIsRefused) {
  write("vocab.txt", std::string(small_vocabulary));
  write("tokenizer_config.json", Json{{"tokenizer_class", "XLMRobertaTokenizer"}});
  EXPECT_EQ(refusal(),
            "tokenizer tokenizer_class is \"XLMRobertaTokenizer\"; only BertTokenizer and, with a tokenizer.json, PreTrainedTokenizerFast "
            "work; file=tokenizer_config.json");
  write("tokenizer_config.json", Json{{"do_basic_tokenize", false}});
  EXPECT_EQ(refusal(), "tokenizer do_basic_tokenize is false; only true works; file=tokenizer_config.json");
  write("tokenizer_config.json", Json{{"added_tokens_decoder", {{"x", {{"content", "<q>"}}}}}});
  EXPECT_EQ(refusal(), "tokenizer added_tokens_decoder has the key \"x\", which is no token id; file=tokenizer_config.json");
  write("tokenizer_config.json", Json{{"sep_token", "</s>"}});
  EXPECT_EQ(refusal(), "F41 the vocabulary has no special token \"</s>\"; file=vocab.txt line=8");
}

TEST_F(TokenizerFiles, AConfigThatContradictsTokenizerJsonIsRefused) {
  write("tokenizer.json", tokenizer_json());
  write("tokenizer_config.json", Json{{"do_lower_case", true}, {"strip_accents", nullptr}});
  EXPECT_EQ(refusal(), "");
  write("tokenizer_config.json", Json{{"do_lower_case", false}});
  EXPECT_EQ(refusal(), "tokenizer do_lower_case is false, but tokenizer.json says normalizer.lowercase=true; file=tokenizer_config.json");
  write("tokenizer_config.json", Json{{"unk_token", "<unk>"}});
  EXPECT_EQ(refusal(), "tokenizer model.unk_token is \"[UNK]\", but tokenizer_config.json says \"<unk>\"; file=tokenizer.json");
}

}  // namespace
}  // namespace lodestone
