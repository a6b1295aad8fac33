// Is a BEIR folder read as it stands, for evaluation and for training?
#include "data/records/beir.h"

#include <gtest/gtest.h>

#include "tests/data/corpus/pack_support.h"

namespace lodestone {
namespace {

using test::error_of;
using test::TempDir;
using test::write_text;
using Judged = std::vector<std::pair<int64_t, double>>;

class Beir : public ::testing::Test {
 protected:
  Beir() {
    std::filesystem::create_directories(dir_ / "set/qrels");
    write_text(dir_ / "set/queries.jsonl", R"({"_id": "q1", "text": "first query"}
{"_id": "q2", "text": "second query", "metadata": {}}
{"_id": "q3", "text": "not judged"}
)");
    write_text(dir_ / "set/corpus.jsonl", R"({"_id": "d1", "title": "Title", "text": "text one"}
{"_id": "d2", "title": "", "text": "text two"}
{"_id": "d3", "text": "text three"}
)");
    write_text(dir_ / "set/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq2\td2\t1\nq2\td1\t2\nq1\td1\t0\nq1\td2\t1\n");
  }
  std::string error(const std::string& split = "test") {
    return error_of([&] { read_beir(dir_ / "set", split, BeirDocuments::all); }, dir_.path());
  }
  TempDir dir_;
};

TEST_F(Beir, GivesJudgedQueriesAndAllDocuments) {
  const BeirSet set = read_beir(dir_ / "set", "test", BeirDocuments::all);
  EXPECT_EQ(set.query_ids, (std::vector<std::string>{"q1", "q2"}));
  EXPECT_EQ(set.queries[1], "second query");
  EXPECT_EQ(set.documents, (std::vector<std::string>{"Title text one", "text two", "text three"}));
  EXPECT_EQ(set.judgements[0], (Judged{{0, 0}, {1, 1}}));
  EXPECT_EQ(set.judgements[1], (Judged{{0, 2}, {1, 1}}));
  EXPECT_EQ(read_beir(dir_ / "set", "test", BeirDocuments::judged).document_ids, (std::vector<std::string>{"d1", "d2"}));
}

TEST_F(Beir, IsPackedAsOneRowPerPositive) {
  PackOptions options;
  options.input.split = "test";
  test::pack_files(dir_ / "c", {dir_ / "set"}, options);
  const Corpus corpus = Corpus::open(dir_ / "c");
  ASSERT_EQ(corpus.rows(), 3);
  EXPECT_EQ(corpus.sources()[0].name, "set");
  PackedRow row;
  corpus.read(2, row);
  EXPECT_EQ(row.query.document, document_hash("set", text_hash("q2")));
  ASSERT_EQ(row.positives.size(), 1u);
  EXPECT_EQ(row.positives[0].document, document_hash("set", text_hash("d2")));
  EXPECT_EQ(row.positives[0].text_hash, text_hash("text two"));
}

TEST_F(Beir, NeverTakesAnotherSplitsJudgements) {
  EXPECT_EQ(error("train"), "3 F32 no judgements qrels/train.tsv; there are: test; file=set; do: choose one with --split");
  std::filesystem::remove(dir_ / "set/qrels/test.tsv");
  EXPECT_EQ(error("test"), "3 F32 no judgements qrels/test.tsv; file=set; do: add the file");
}

TEST_F(Beir, AsksWhichJudgementsAreMeant) {
  write_text(dir_ / "set/qrels/dev.tsv", "q1\td1\t1\n");
  EXPECT_EQ(error("train"), "3 F32 no judgements qrels/train.tsv; there are: dev, test; file=set; do: choose one with --split");
}

TEST_F(Beir, CountsARepeatedJudgementOnceWithItsLastGrade) {
  write_text(dir_ / "set/qrels/test.tsv", "q2\td2\t0\nq2\td1\t2\nq1\td2\t1\nq2\td2\t1\nq1\td2\t1\n");
  for (const BeirDocuments documents : {BeirDocuments::all, BeirDocuments::judged}) {
    const BeirSet set = read_beir(dir_ / "set", "test", documents);
    EXPECT_EQ(set.judgements[0], (Judged{{1, 1}}));
    EXPECT_EQ(set.judgements[1], (Judged{{0, 2}, {1, 1}}));
    EXPECT_EQ(judgement_warnings(set),
              std::vector<std::string>{cat("2 judgements of ", (dir_ / "set/qrels/test.tsv").string(),
                                           " stand there again (the first in line 4) and count once; 1 of them with another grade: "
                                           "the last one counts")});
  }
  const auto reader = open_beir(dir_ / "set", "test");
  int rows = 0;
  for (Record record; reader->next(record);) ++rows;
  EXPECT_EQ(rows, 3) << "a repeated judgement is no second row";
  EXPECT_EQ(reader->warnings().size(), 1u);
}

TEST_F(Beir, KeepsJudgementsOfDocumentsThatTheCorpusLacksForEvaluation) {
  write_text(dir_ / "set/qrels/test.tsv", "q1\td2\t1\nq1\td9\t1\nq2\td8\t2\n");
  const BeirSet set = read_beir(dir_ / "set", "test", BeirDocuments::all);
  EXPECT_EQ(set.judgements[0], (Judged{{-1, 1}, {1, 1}}));
  EXPECT_EQ(set.judgements[1], (Judged{{-1, 2}}));
  EXPECT_EQ(judgement_warnings(set),
            std::vector<std::string>{cat("2 judgements of ", (dir_ / "set/qrels/test.tsv").string(),
                                         " are of documents that the corpus lacks (the first in line 2) and count as never found")});
}

TEST_F(Beir, SkipsAFirstLineWithoutAGradeWhateverItSays) {
  for (const char* header : {"query_id\tdoc_id\trelevance\n", "qid\tdid\tlabel\n", "query\titer\tdocument\tgrade\n", ""}) {
    write_text(dir_ / "set/qrels/test.tsv", cat(header, "q1\td2\t1\nq2\td1\t2\n"));
    const BeirSet set = read_beir(dir_ / "set", "test", BeirDocuments::all);
    EXPECT_EQ(set.judgements, (std::vector<Judged>{{{1, 1}}, {{0, 2}}})) << header;
    EXPECT_TRUE(judgement_warnings(set).empty());
  }
  write_text(dir_ / "set/qrels/test.tsv", "q1\td2\t1\nq2\td1\tgrade\n");
  EXPECT_EQ(
      error(),
      "3 F30 not query-id, corpus-id and a numeric score between tabs; file=set/qrels/test.tsv line=2 offset=8; do: correct the line");
  write_text(dir_ / "set/qrels/test.tsv", "q1\td2\t1\nq2\td1\tnan\n");
  EXPECT_NE(error(), "no error") << "a grade that is no finite number";
}

TEST_F(Beir, KnowsQueriesThatAreDocuments) {
  write_text(dir_ / "set/queries.jsonl", "{\"_id\": \"q1\", \"text\": \"a\"}\n{\"_id\": \"d3\", \"text\": \"text three\"}\n");
  write_text(dir_ / "set/qrels/test.tsv", "q1\td2\t1\nd3\td1\t1\n");
  EXPECT_EQ(own_documents(read_beir(dir_ / "set", "test", BeirDocuments::all)), (std::vector<int64_t>{-1, 2}));
}

TEST_F(Beir, RefusesWhatDoesNotFit) {
  write_text(dir_ / "set/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td9\t1\n");
  EXPECT_EQ(error_of([&] { read_beir(dir_ / "set", "test", BeirDocuments::judged); }, dir_.path()),
            "3 F30 a judgement of an unknown document; file=set/qrels/test.tsv line=2 offset=25; do: remove the line or add the text");
  write_text(dir_ / "set/qrels/test.tsv", "q7\td1\t1\n");
  EXPECT_EQ(error(), "3 F30 a judgement of an unknown query; file=set/qrels/test.tsv line=1 offset=0; do: remove the line or add the text");
  write_text(dir_ / "set/qrels/test.tsv", "q1 d1 1\n");
  EXPECT_EQ(
      error(),
      "3 F30 not query-id, corpus-id and a numeric score between tabs; file=set/qrels/test.tsv line=1 offset=0; do: correct the line");
  write_text(dir_ / "set/qrels/test.tsv", "query-id\tcorpus-id\tscore\n");
  EXPECT_EQ(error(), "3 F32 the file holds no judgements; file=set/qrels/test.tsv; do: choose another with --split");
  write_text(dir_ / "set/qrels/test.tsv", "q1\td1\t1\n");
  write_text(dir_ / "set/corpus.jsonl", "{\"_id\": \"d1\", \"text\": \"a\"}\n{\"_id\": \"d1\", \"text\": \"b\"}\n");
  EXPECT_EQ(error(), "3 F30 an id given twice; file=set/corpus.jsonl id=d1; do: remove one of the two");
  write_text(dir_ / "set/corpus.jsonl", "{\"_id\": \"d1\"}\n");
  EXPECT_EQ(error(), "3 F30 a line without _id and text; file=set/corpus.jsonl line=1 offset=0; do: correct the line");
  write_text(dir_ / "set/corpus.jsonl", "{\"_id\": 4, \"text\": \"a\"}\n");
  EXPECT_EQ(error(), "3 F30 not a text; field=_id file=set/corpus.jsonl line=1 offset=0; do: correct the line");
  std::filesystem::remove(dir_ / "set/corpus.jsonl");
  EXPECT_EQ(error(), "3 F32 a BEIR folder without corpus.jsonl; file=set; do: add the file");
}

}  // namespace
}  // namespace lodestone
