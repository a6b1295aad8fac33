// Do the record types of FlagEmbedding, LLM-Embedder and piccolo2 come through packing, the corpus and collating as they are?
#include <gtest/gtest.h>

#include <map>

#include "data/batches/collate.h"
#include "data/corpus/corpus_rows.h"
#include "data/plan/plan.h"
#include "tests/data/corpus/pack_support.h"

namespace lodestone {
namespace {

using test::words;

/// One record of each type, in a file a type, as those projects write them.
const std::map<std::string, std::string> files = {
    {"qa.jsonl",
     R"({"answers": ["forty two"], "query": "what is the answer", "query_id": 11, "pos": ["the answer is it"], "neg": ["no answer", "not it"], )"
     R"("pos_index": [5], "neg_index": [7, 8], "task": "qa", "teacher_scores": [-0.5, -3.0, -1.5]})"},
    {"chat.jsonl",
     R"({"history": ["Speaker 1: hi\nSpeaker 2: hello", "Speaker 1: bye", "Speaker 1: what"], "query": "Speaker 1: and now", "query_id": 3, )"
     R"("answers": ["so it goes"], "task": "chat", "teacher_scores": [-4.0, -1.0, -2.0]})"},
    {"lrlm.jsonl",
     R"({"query_id": 4, "query": "a chunk of text", "answers": ["that goes on"], "pos": [], "neg": ["chunk one", "chunk two"], "context": "c", )"
     R"("task": "lrlm", "teacher_scores": [-2.25, -2.5]})"},
    {"convsearch.jsonl",
     R"({"query": "and then", "answers": [], "pos_index": [54386775], "query_id": 0, "task": "convsearch", "pos": ["a passage"], )"
     R"("neg": ["another"], "neg_index": [9]})"},
    {"tool.jsonl", R"({"query": "fetch it", "qid": "49635", "pos": ["a tool", "its twin"], "neg": ["a hammer"], "task": "tool"})"},
    {"icl.jsonl",
     R"({"query": "x or y", "pos": ["x"], "pos_scores": [0.1], "neg": ["y"], "neg_score": [0.2], "teacher_scores": [-1, -2], "task": "icl"})"},
    {"nq.jsonl",
     R"({"query": "who", "pos": ["they"], "neg": ["it", "we"], "pos_scores": [30.5], "neg_scores": [25.0, 20.0], "prompt": "Given a question, answer.", "type": "normal"})"},
    {"sts.jsonl", R"({"query": "left", "pos": ["right"], "neg": ["up"], "prompt": "Retrieve similar text.", "type": "symmetric_sts"})"},
    {"arxiv-no_in_batch_neg.jsonl",
     R"({"query": "a title", "pos": ["its kin"], "neg": ["a stranger"], "category": "math", "prompt": "Identify it.", "type": "symmetric_clustering"})"},
    {"cosent.jsonl", R"({"text": "one", "text_pair": "two", "label": 0.75, "type": "cosent"})"},
    {"iflytek.jsonl", R"({"text": "one", "text_pos": "two", "text_neg": ["three", "four"], "type": "cls_contrast"})"},
};

class Schema : public ::testing::Test {
 protected:
  Schema() : corpus_(pack()), rows_(corpus_) {}

  Corpus pack() {
    std::vector<std::filesystem::path> inputs;
    inputs.reserve(files.size());
    for (const auto& [name, text] : files) inputs.push_back(test::write_text(dir_ / name, text + "\n"));
    test::pack_files(dir_ / "corpus", inputs);
    return Corpus::open(dir_ / "corpus");
  }
  int32_t source(const std::string& name) const {
    for (size_t s = 0; s < corpus_.sources().size(); ++s) {
      if (corpus_.sources()[s].name == name) return static_cast<int32_t>(s);
    }
    ADD_FAILURE() << "no source " << name;
    return 0;
  }
  int64_t row(const std::string& name) const { return corpus_.row_of(source(name), 0); }
  Batch collate(const CollateConfig& config, const std::string& name) {
    const std::vector<int64_t> ids = {row(name)};
    Batch batch;
    Collator(config, {101, 102, {}, {}, {{1}, {2}, {3}}}).collate(rows_, {.rows = ids}, batch);
    return batch;
  }
  static std::vector<int32_t> text(const Batch& batch, size_t b) {  // without [CLS] and [SEP]
    return {batch.ids.begin() + batch.offsets[b] + 1, batch.ids.begin() + batch.offsets[b + 1] - 1};
  }

  test::TempDir dir_;
  Corpus corpus_;
  CorpusRows rows_;
};

TEST_F(Schema, SourcesAreTasksFilesAndTypes) {
  for (const char* name : {"qa", "chat", "lrlm", "convsearch", "tool", "icl", "nq/normal", "sts/symmetric_sts",
                           "arxiv-no_in_batch_neg/symmetric_clustering", "cosent/cosent", "iflytek/cls_contrast"}) {
    EXPECT_EQ(corpus_.sources()[static_cast<size_t>(source(name))].rows, 1) << name;
  }
  EXPECT_EQ(corpus_.sources().size(), files.size());
}

TEST_F(Schema, RecordsWithPositivesKeepScoresIdsAndAnswers) {
  PackedRow r;
  corpus_.read(row("qa"), r);
  EXPECT_EQ(r.teacher_scores, (std::vector<double>{-0.5, -3.0, -1.5}));
  EXPECT_EQ(corpus_.answers(row("qa")), std::vector<std::string>{"forty two"});
  EXPECT_EQ(r.query.document, document_hash("qa", text_hash("11")));
  EXPECT_EQ(r.negatives[1].document, document_hash("qa", text_hash("8")));
  corpus_.read(row("tool"), r);
  EXPECT_EQ(r.query.document, document_hash("tool", text_hash("49635")));
  EXPECT_TRUE(r.teacher_scores.empty());
  EXPECT_TRUE(corpus_.answers(row("convsearch")).empty());

  const Batch batch =
      collate({.group = 2, .select_positive = SelectPositive::first, .select_negative = SelectNegative::teacher_plus}, "qa");
  EXPECT_EQ(text(batch, 1), words("the answer is it"));
  EXPECT_EQ(text(batch, 2), words("not it"));
  EXPECT_EQ(batch.teacher_scores, (std::vector<double>{-0.5, -1.5}));
}

TEST_F(Schema, HistoriesAndChunksHaveThePositiveThatTheTeacherChose) {
  EXPECT_EQ(corpus_.answers(row("chat")), std::vector<std::string>{"so it goes"});
  const CollateConfig config{.group = 3, .select_positive = SelectPositive::teacher, .select_negative = SelectNegative::first};
  const Batch chat = collate(config, "chat");
  EXPECT_EQ(text(chat, 1), words("Speaker 1: bye"));
  EXPECT_EQ(text(chat, 2), words("Speaker 1: hi\nSpeaker 2: hello"));
  EXPECT_EQ(text(chat, 3), words("Speaker 1: what"));
  EXPECT_EQ(chat.teacher_scores, (std::vector<double>{-1, -4, -2}));
  const Batch lrlm = collate(config, "lrlm");
  EXPECT_EQ(text(lrlm, 1), words("chunk one"));
  EXPECT_EQ(lrlm.teacher_scores, (std::vector<double>{-2.25, -2.5, -2.5})) << "one negative is left, and taken twice";
  EXPECT_THROW(collate({.group = 2}, "chat"), Error) << "no positive to draw";
}

TEST_F(Schema, TeacherScoresWinOverScoresOfTheRetriever) {
  PackedRow r;
  corpus_.read(row("icl"), r);
  EXPECT_EQ(r.teacher_scores, (std::vector<double>{-1, -2}));
  corpus_.read(row("nq/normal"), r);
  EXPECT_EQ(r.teacher_scores, (std::vector<double>{30.5, 25, 20}));
  EXPECT_EQ(corpus_.prompts()[static_cast<size_t>(r.prompt)], "Given a question, answer.");
}

TEST_F(Schema, ScoredPairsHaveTheirScoreAndNoTeacher) { EXPECT_EQ(collate({}, "cosent/cosent").scores, std::vector<double>{0.75}); }

TEST_F(Schema, RowsAreReadWithoutIds) {
  for (int64_t row = 0; row < corpus_.rows(); ++row) {
    PackedRow whole, counts;
    const auto hashes = [](const std::vector<PackedText>& texts) {
      std::vector<uint64_t> all;
      all.reserve(texts.size());
      for (const PackedText& text : texts) all.push_back(text.text_hash);
      return all;
    };
    corpus_.read(row, whole);
    corpus_.read_without_ids(row, counts);
    EXPECT_EQ(hashes(counts.positives), hashes(whole.positives));
    EXPECT_EQ(hashes(counts.negatives), hashes(whole.negatives));
    for (const PackedText& text : counts.positives) EXPECT_TRUE(text.ids.empty());
    EXPECT_EQ(counts.teacher_scores, whole.teacher_scores);
    EXPECT_EQ(counts.source, whole.source);
    EXPECT_EQ(counts.prompt, whole.prompt);
    EXPECT_TRUE(counts.query.ids.empty());
  }
}

TEST_F(Schema, TraitsFollowTheNamesThatPackingGave) {
  const Plan plan({.global_batch = 1}, plan_sources(corpus_.sources()));
  for (const PlanSource& source : plan.sources()) {
    EXPECT_EQ(source.in_batch_negatives,
              source.name != "arxiv-no_in_batch_neg/symmetric_clustering" && source.name != "iflytek/cls_contrast")
        << source.name;
  }
}

}  // namespace
}  // namespace lodestone
