// Do the prompts of published models stand literally before the texts they belong to?
#include "data/text/instructions.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>

#include "data/batches/collate.h"
#include "tests/data/batches/fake_rows.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

struct Sides {
  std::string query, passage;
};

/// As published: the model cards of bge-*-zh and bge-*-en, and the task table of LLM-Embedder.
const std::map<std::string, Sides> published = {
    {"none", {"", ""}},
    {"bge_zh", {"为这个句子生成表示以用于检索相关文章：", ""}},
    {"bge_en", {"Represent this sentence for searching relevant passages: ", ""}},
    {"llm_embedder_qa", {"Represent this query for retrieving relevant documents: ", "Represent this document for retrieval: "}},
    {"llm_embedder_convsearch", {"Encode this query and context for searching relevant passages: ", "Encode this passage for retrieval: "}},
    {"llm_embedder_chat", {"Embed this dialogue to find useful historical dialogues: ", "Embed this historical dialogue for retrieval: "}},
    {"llm_embedder_lrlm",
     {"Embed this text chunk for finding useful historical chunks: ", "Embed this historical text chunk for retrieval: "}},
    {"llm_embedder_icl",
     {"Convert this example into vector to look for useful examples: ", "Convert this example into vector for retrieval: "}},
    {"llm_embedder_tool",
     {"Transform this user request for fetching helpful tool descriptions: ", "Transform this tool description for retrieval: "}},
};

TEST(Instructions, AreThePublishedOnes) {
  EXPECT_EQ(instructions().size(), published.size());
  for (const auto& [name, sides] : published) {
    EXPECT_EQ(instruction(name).query, sides.query) << name;
    EXPECT_EQ(instruction(name).passage, sides.passage) << name;
  }
}

TEST(Instructions, OfOtherNamesAreRefusedWithTheList) {
  try {
    (void)instruction("bge");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(cat(error.what(), "; do: ", error.remedy()),
              "there is no instruction \"bge\"; do: use one of none, bge_zh, bge_en, llm_embedder_qa, llm_embedder_convsearch, "
              "llm_embedder_chat, "
              "llm_embedder_lrlm, llm_embedder_icl, llm_embedder_tool, or give the prompts themselves");
  }
}

/// A vocabulary of the characters of all prompts, so that ids spell texts out.
Tokenizer spelling_tokenizer(const test::TempDir& dir) {
  std::set<std::string> characters;
  for (const auto& [name, sides] : published) {
    for (const std::string& text : {sides.query, sides.passage}) {
      for (size_t i = 0; i < text.size();) {
        const size_t bytes = static_cast<unsigned char>(text[i]) < 0x80 ? 1 : 3;
        std::string c = text.substr(i, bytes);
        if (bytes == 1) c[0] = static_cast<char>(std::tolower(c[0]));
        if (c != " ") characters.insert(c);
        i += bytes;
      }
    }
  }
  std::ofstream vocab(dir / "vocab.txt");
  vocab << "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (const std::string& c : characters) vocab << c << "\n##" << c << '\n';
  vocab.close();
  return Tokenizer::from_vocab(dir / "vocab.txt", {});
}

std::string spelt(const Tokenizer& tokenizer, const Batch& batch, size_t text) {
  std::string result;
  for (int64_t i = batch.offsets[text]; i < batch.offsets[text + 1]; ++i) {
    const std::string& token = tokenizer.token(batch.ids[static_cast<size_t>(i)]);
    result += token.starts_with("##") ? token.substr(2) : token;
  }
  return result;
}

std::string without_spaces(std::string text) {
  std::erase(text, ' ');
  for (char& c : text) c = static_cast<char>(static_cast<unsigned char>(c) < 0x80 ? std::tolower(c) : c);
  return text;
}

TEST(Instructions, StandLiterallyBeforeQueriesAndPassages) {
  const test::TempDir dir;
  const Tokenizer tokenizer = spelling_tokenizer(dir);
  std::vector<int32_t> query, passage;
  tokenizer.encode("a query", query);
  tokenizer.encode("a text", passage);
  const test::FakeRows rows({{.query = query, .positives = {passage}}});
  const std::vector<int64_t> ids = {0};
  for (const auto& [name, sides] : published) {
    Batch batch;
    Collator({}, make_framing(tokenizer, instruction(name).query, instruction(name).passage, {})).collate(rows, {.rows = ids}, batch);
    EXPECT_EQ(spelt(tokenizer, batch, 0), "[CLS]" + without_spaces(sides.query) + "aquery[SEP]");
    EXPECT_EQ(spelt(tokenizer, batch, 1), "[CLS]" + without_spaces(sides.passage) + "atext[SEP]");
  }
}

TEST(Instructions, OfARowReplaceTheTasksAndStandOnPassagesOfSymmetricSources) {
  const test::FakeRows rows({{.query = {1}, .positives = {{2}}},
                             {.query = {3}, .positives = {{4}}, .prompt = 0},
                             {.query = {5}, .positives = {{6}}, .source = 1},
                             {.query = {7}, .positives = {{8}}, .source = 1, .prompt = 0}},
                            {"of the row"});
  Framing framing{101, 102, {20}, {30}, {{40, 41}}};
  framing.prompted_sources = {0, 1};
  const std::vector<int64_t> ids = {0, 1, 2, 3};
  Batch batch;
  Collator collator({}, framing);
  collator.collate(rows, {.rows = ids}, batch);
  EXPECT_EQ(batch.ids, (std::vector<int32_t>{101, 20, 1, 102, 101, 40, 41, 3,   102, 101, 20, 5,   102, 101, 40, 41, 7,  102,  // queries
                                             101, 30, 2, 102, 101, 30, 4,  102, 101, 20,  6,  102, 101, 40,  41, 8,  102}));   // passages
  EXPECT_EQ(collator.tokens(rows, 3, 0), 10);
  EXPECT_THROW(Collator({.passage_max_len = 4}, framing), Error) << "the row's prompt leaves no room on passages";
}

}  // namespace
}  // namespace lodestone
