// Are the files of a folder read as Hugging Face reads them, and does every way to read what is written from them give the same?
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/text/tokenizer_files.h"
#include "tests/support/golden_file.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

void write(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::binary) << text; }

/// The folders of tests/parity/tokenizer_folders.py.
class TokenizerFolders : public testing::Test {
 protected:
  static const Json& golden() {
    static const Json all = Json::parse(std::ifstream(test::golden_file("tokenizer_folders.json")));
    return all;
  }

  static const Json& named(const std::string& name) {
    for (const Json& one : golden()["cases"])
      if (one["name"] == name) return one;
    throw std::runtime_error("no case " + name);
  }

  static void write_folder(const Json& one, const fs::path& folder) {
    fs::create_directories(folder);
    Json files = golden()["files"];
    files["added_tokens.json"] = nullptr;
    for (const auto& [name, patch] : one["patches"].items()) files[name].merge_patch(patch);
    if (one.contains("vocab")) files["vocab.txt"] = one["vocab"];
    for (const Json& name : one["without"]) files.erase(name.get<std::string>());
    for (const auto& [name, content] : files.items()) {
      if (content.is_null()) continue;
      std::string text = content.is_array() ? "" : content.dump();
      if (content.is_array())
        for (const Json& line : content) text += line.get<std::string>() + "\n";
      write(folder / name, text);
    }
  }

  /// Calls `check` with the spec of each folder that is not refused, and with in("from"), its files, and the empty folder in("to").
  void for_each_accepted(const std::function<void(const TokenizerSpec&)>& check) const {
    for (const Json& one : golden()["cases"]) {
      if (!one["refused"].get<std::string>().empty()) continue;
      SCOPED_TRACE(one["name"].get<std::string>());
      for (const char* name : {"from", "to"}) fs::remove_all(in(name));
      write_folder(one, in("from"));
      fs::create_directory(in("to"));
      check(read_tokenizer_folder(in("from")));
    }
  }

  /// "from": a folder whose vocabulary has this token, in tokenizer.json; vocab.txt is as it was.
  void write_with_token(const char* token) const {
    fs::remove_all(in("from"));
    Json one = named("truncation_side right");
    one["patches"]["tokenizer.json"]["model"]["vocab"] = {{"[free3]", nullptr}, {token, 7}};
    write_folder(one, in("from"));
  }

  static std::vector<int32_t> framed(const Tokenizer& tokenizer, const std::string& text) {
    std::vector<int32_t> ids = {tokenizer.cls_id()};
    tokenizer.encode(text, ids);
    ids.push_back(tokenizer.sep_id());
    return ids;
  }

  fs::path in(const char* name) const { return memory_ / name; }

  test::TempDir memory_;
};

TEST_F(TokenizerFolders, GiveTheIdsOfTransformersOrAreRefusedNamingTheKey) {
  int64_t compared = 0;
  for (const Json& one : golden()["cases"]) {
    SCOPED_TRACE(one["name"].get<std::string>());
    const auto refused = one["refused"].get<std::string>();
    fs::remove_all(in("folder"));
    write_folder(one, in("folder"));
    try {
      const Tokenizer tokenizer = Tokenizer::from_folder(in("folder"));
      EXPECT_EQ(refused, "");
      for (size_t i = 0; i < golden()["texts"].size(); ++i, ++compared)
        EXPECT_EQ(framed(tokenizer, golden()["texts"][i]), one["ids"][i].get<std::vector<int32_t>>()) << golden()["texts"][i];
    } catch (const Error& error) {
      EXPECT_NE(refused, "") << error.code() << ' ' << error.what();
      EXPECT_EQ(error.exit_code(), ExitCode::usage);
      EXPECT_NE(std::string(error.what()).find(refused), std::string::npos) << error.what();
      EXPECT_FALSE(error.remedy().empty());
      EXPECT_NE(error.where().find("file="), std::string::npos);
    }
  }
  EXPECT_GT(compared, 500);
}

TEST_F(TokenizerFolders, AreWrittenSoThatEveryReadingIsTheSameTokenizer) {
  for_each_accepted([this](const TokenizerSpec& spec) {
    fs::copy_file(in("from") / "config.json", in("to") / "config.json");  // which may name the class
    write_tokenizer_files(in("from"), in("to"));
    EXPECT_NO_THROW(require_tokenizer_files(in("to"), fingerprint_of(spec)));
    EXPECT_TRUE(fs::exists(in("to") / "tokenizer.json"));
  });
}

TEST_F(TokenizerFolders, AreWrittenFromASpecWithoutFiles) {
  for_each_accepted([this](const TokenizerSpec& spec) {
    write_tokenizer_files(spec, 64, in("to"));
    EXPECT_NO_THROW(require_tokenizer_files(in("to"), fingerprint_of(spec)));
  });
}

TEST_F(TokenizerFolders, AVocabularyThatNoLinesHoldIsWrittenWithoutThem) {
  for (const char* token : {"the ", "the\u3000", "the\n", "a\nb", "a\rb"}) {
    SCOPED_TRACE(Json(token).dump());
    write_with_token(token);
    const TokenizerSpec spec = read_tokenizer_folder(in("from"));
    EXPECT_EQ(spec.tokens.at(7), token);
    fs::remove_all(in("to"));
    fs::create_directory(in("to"));
    write_tokenizer_files(in("from"), in("to"));
    EXPECT_FALSE(fs::exists(in("to") / "vocab.txt"));
    EXPECT_NO_THROW(require_tokenizer_files(in("to"), fingerprint_of(spec)));
    fs::create_directory(in("to") / "made");
    write_tokenizer_files(spec, 64, in("to") / "made");
    EXPECT_FALSE(fs::exists(in("to") / "made" / "vocab.txt"));
    EXPECT_NO_THROW(require_tokenizer_files(in("to") / "made", fingerprint_of(spec)));
  }
}

TEST_F(TokenizerFolders, WhereAFileAloneSaysSomethingElseItIsMadeAnew) {
  write_folder(named("no configuration"), in("from"));  // tokenizer.json alone keeps capitals
  const uint64_t meant = Tokenizer::from_folder(in("from")).fingerprint();
  EXPECT_THROW(require_tokenizer_files(in("from"), meant), Error);
  fs::create_directory(in("to"));
  write_tokenizer_files(in("from"), in("to"));
  require_tokenizer_files(in("to"), meant);
  EXPECT_TRUE(read_tokenizer_folder(in("to"), TokenizerReading::tokenizer_json).options.lower_case);
}

TEST_F(TokenizerFolders, FilesThatAgreeAreCopiedByteForByte) {
  write_folder(named("truncation_side right"), in("from"));
  fs::create_directory(in("to"));
  write_tokenizer_files(in("from"), in("to"));
  for (const char* name : {"vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}) {
    const auto bytes = [&](const fs::path& folder) {
      std::ifstream file(folder / name, std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(file), {});
    };
    EXPECT_EQ(bytes(in("from")), bytes(in("to"))) << name;
  }
}

TEST_F(TokenizerFolders, AVocabularyFileThatTokenizerJsonContradictsIsNoReadingOfIt) {
  write_folder(named("truncation_side right"), in("from"));
  const uint64_t meant = Tokenizer::from_folder(in("from")).fingerprint();
  EXPECT_TRUE(is_told_twice(in("from"), meant));
  write(in("from") / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");  // cut
  EXPECT_FALSE(is_told_twice(in("from"), meant));
  EXPECT_EQ(Tokenizer::from_folder(in("from")).fingerprint(), meant);
  EXPECT_THROW(require_tokenizer_files(in("from"), meant), Error);
  fs::create_directory(in("to"));
  write_tokenizer_files(in("from"), in("to"));
  require_tokenizer_files(in("to"), meant);
}

TEST_F(TokenizerFolders, PairsNeedTokenTypesAndTheFramingOfBert) {
  Json one = named("truncation_side right");
  const auto refusal = [&](const char* file, const Json& patch) -> std::string {
    fs::remove_all(in("folder"));
    Json patched = one;
    patched["patches"][file].merge_patch(patch);
    write_folder(patched, in("folder"));
    try {
      require_pairs(in("folder"));
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), "tokenizer");
      return error.what();
    }
  };
  const Json with_types = {{"model_input_names", {"input_ids", "token_type_ids", "attention_mask"}}};
  EXPECT_EQ(refusal("tokenizer_config.json", Json::object()), "");
  EXPECT_EQ(refusal("tokenizer_config.json", with_types), "");
  EXPECT_EQ(refusal("tokenizer_config.json", {{"model_input_names", {"input_ids", "attention_mask"}}}),
            "model_input_names leaves out token_type_ids, which tell the texts of a pair apart");
  EXPECT_EQ(refusal("tokenizer_config.json", {{"tokenizer_class", "DistilBertTokenizer"}}),
            "tokenizer_class leaves out token_type_ids, which tell the texts of a pair apart");
  EXPECT_EQ(refusal("tokenizer_config.json", {{"tokenizer_class", "PreTrainedTokenizerFast"}}),
            "model_input_names is missing: transformers 5 then leaves out token_type_ids, which tell the texts of a pair apart");
  const auto with = [](const char* key, const Json& value) -> Json { return {{"post_processor", {{key, value}}}}; };
  for (const char* of_class : {"BertTokenizer", "PreTrainedTokenizerFast"}) {  // transformers 4 reads the template for both
    one["patches"]["tokenizer_config.json"] = with_types;
    one["patches"]["tokenizer_config.json"]["tokenizer_class"] = of_class;
    EXPECT_EQ(refusal("tokenizer.json", Json::object()), "");
    EXPECT_EQ(refusal("tokenizer.json", with("pair", golden()["files"]["tokenizer.json"]["post_processor"]["single"])),
              "post_processor.pair is not [CLS] first [SEP] second [SEP] with token types 0 0 0 1 1");
    for (const Json& single : {Json({1, 2, 3}), Json(7), Json("x"), Json({{"a", 1}, {"b", 2}, {"c", 3}})})
      EXPECT_EQ(refusal("tokenizer.json", with("single", single)),
                "post_processor.single is not one token, the text, one token, all of token type 0");
  }
}

TEST_F(TokenizerFolders, HolesHaveNoTextAndKeepTheIdsBehindThem) {
  write_folder(named("a repeated line, the earlier one is forgotten"), in("folder"));
  const TokenizerSpec spec = read_tokenizer_folder(in("folder"));
  const Tokenizer tokenizer(spec);
  EXPECT_EQ(tokenizer.vocab_size(), static_cast<int64_t>(golden()["files"]["vocab.txt"].size()));
  EXPECT_EQ(tokenizer.token(7), "") << "the first of two lines";
  std::vector<int32_t> ids;
  tokenizer.encode("the", ids);
  ASSERT_EQ(ids.size(), 1u);
  EXPECT_EQ(tokenizer.token(ids[0]), "the");
  EXPECT_GT(ids[0], 7);
}

}  // namespace
}  // namespace lodestone
