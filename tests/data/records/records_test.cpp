// Is every record format understood, and every bad row refused in one exact line?
#include "data/records/records.h"

#include <gtest/gtest.h>

#include "data/records/inputs.h"
#include "tests/data/corpus/pack_support.h"

namespace lodestone {
namespace {

using test::error_of;
using test::TempDir;
using test::write_text;

/// What reading all of a file's records gives: their number, or the first error.
std::string read_all(const std::filesystem::path& file, const std::filesystem::path& hidden, const InputOptions& options = {}) {
  int rows = 0;
  const std::string error = error_of(
      [&] {
        const std::vector<std::filesystem::path> files{file};
        for (const WorkUnit& unit : work_units(files, options)) {
          const auto reader = open_unit(unit, options);
          for (Record record; reader->next(record);) ++rows;
        }
      },
      hidden);
  return error == "no error" ? cat(rows, " rows") : error;
}

struct Case {
  const char* name;
  std::string text;
  const char* expected;
  friend std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
};

class BadJsonl : public ::testing::TestWithParam<Case> {};

TEST_P(BadJsonl, IsRefusedInOneLine) {
  const TempDir dir;
  EXPECT_EQ(read_all(write_text(dir / "a.jsonl", GetParam().text), dir.path()), GetParam().expected);
}

#define LODE_CORRECT "; do: correct the row"
#define LODE_TWICE " file=a.jsonl line=1 offset=0; do: keep one of the two fields"
const std::string good = "{\"query\": \"q\", \"pos\": [\"p\"]}\n";  // 29 bytes

INSTANTIATE_TEST_SUITE_P(
    Rows, BadJsonl,
    ::testing::Values(
        Case{"NotJson", good + "{\"query\": \"q\", pos: 1}\n", "3 F30 not valid JSON; file=a.jsonl line=2 offset=44" LODE_CORRECT},
        Case{"DocumentOverSeveralLines", "[\n  {\"query\": \"q\"}\n]\n",
             "3 F30 a JSON document over several lines where JSON lines belong; file=a.jsonl line=1 offset=0; do: write one object a line, "
             "for example with jq -c '.[]' FILE"},
        Case{"NotAnObject", good + "[1, 2]\n", "3 F30 not a JSON object; file=a.jsonl line=2 offset=29" LODE_CORRECT},
        Case{"TwoObjects", "{\"query\": \"q\", \"pos\": \"p\"} {}\n", "3 F30 not valid JSON; file=a.jsonl line=1 offset=27" LODE_CORRECT},
        Case{"NaN", "{\"query\": \"q\", \"pos\": \"p\", \"score\": NaN}\n",
             "3 F30 not valid JSON; file=a.jsonl line=1 offset=36" LODE_CORRECT},
        Case{"HugeNumber", "{\"query\": \"q\", \"pos\": \"p\", \"score\": 1e999}\n",
             "3 F30 not a number that JSON or a 64-bit float can hold; file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"DuplicateKey", "{\"query\": \"q\", \"pos\": \"p\", \"query\": \"r\"}\n",
             "3 F30 a field given twice; field=query file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"NestedTooDeep", "{\"query\": \"q\", \"x\": " + std::string(100, '[') + std::string(100, ']') + "}\n",
             "3 F30 nested deeper than 64 levels; file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"LastLineCut", good + "{\"query\": \"q\", \"pos\": [\"p",
             "3 F32 the last line is cut: it has no end and is not a whole JSON object; file=a.jsonl line=2 offset=54" LODE_CORRECT},
        Case{"InvalidUtf8", good + "{\"query\": \"q\xC0\xAF\", \"pos\": \"p\"}\n",
             "3 F31 not valid UTF-8; file=a.jsonl line=2 offset=41" LODE_CORRECT},
        Case{"SurrogateBytes", "{\"query\": \"\xED\xA0\x80\", \"pos\": \"p\"}\n",
             "3 F31 not valid UTF-8; file=a.jsonl line=1 offset=11" LODE_CORRECT},
        Case{"LowSurrogateAlone", "{\"query\": \"a\\udc00\", \"pos\": \"p\"}\n",
             "3 F31 a bad escape or half of a surrogate pair; file=a.jsonl line=1 offset=17" LODE_CORRECT},
        Case{"HighSurrogateAlone", "{\"query\": \"a\\ud800\", \"pos\": \"p\"}\n",
             "3 F31 a bad escape or half of a surrogate pair; file=a.jsonl line=1 offset=18" LODE_CORRECT},
        Case{"NulCharacter", "{\"query\": \"a\\u0000b\", \"pos\": \"p\"}\n",
             "3 F31 a NUL character in a text; field=query file=a.jsonl line=1 offset=0; do: remove it"},
        Case{"ByteOrderMark", "\xEF\xBB\xBF" + good,
             "3 F31 the file starts with a byte order mark; file=a.jsonl line=1 offset=0; do: remove its first three bytes: tail -c +4 "
             "FILE > NEW"},
        Case{"NoQuery", "{\"pos\": \"p\"}\n",
             "3 F30 the row names no query; file=a.jsonl line=1 offset=0; do: give it as one of query, anchor, sentence1, text, question"},
        Case{"NoPositive", "{\"query\": \"q\"}\n",
             "3 F30 the row names no positive; file=a.jsonl line=1 offset=0; do: give it as one of pos, positive, positives, text_pos, "
             "sentence2, text_pair, answer"},
        Case{"TextWithALabel", "{\"text\": \"q\", \"label\": 3}\n",
             "3 F30 the row names no positive; file=a.jsonl line=1 offset=0; do: give it as one of pos, positive, positives, text_pos, "
             "sentence2, text_pair, answer"},
        Case{"TextWithAScore", "{\"text\": \"q\", \"score\": 3}\n",
             "3 F30 the row names no positive; file=a.jsonl line=1 offset=0; do: give it as one of pos, positive, positives, text_pos, "
             "sentence2, text_pair, answer"},
        Case{"EmptyPositives", "{\"query\": \"q\", \"pos\": []}\n",
             "3 F30 no positive, and no teacher scores to choose one by; field=pos file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"EmptyQuery", "{\"query\": \"\", \"pos\": \"p\"}\n",
             "3 F30 empty text; field=query file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"BlankNegative", "{\"query\": \"q\", \"pos\": \"p\", \"neg\": [\"n\", \" \\n\"]}\n",
             "3 F30 empty text; field=neg file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"QueryIsANumber", "{\"query\": 5, \"pos\": \"p\"}\n",
             "3 F30 not a text; field=query file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"QueryIsAList", "{\"query\": [\"q\"], \"pos\": \"p\"}\n",
             "3 F30 a list where a text belongs; field=query file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"MixedPositives", "{\"query\": \"q\", \"pos\": [\"p\", 1]}\n",
             "3 F30 neither a text nor a list of texts; field=pos file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"ScoreIsAText", "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"score\": \"5\"}\n",
             "3 F30 not a number; field=score file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"LabelOfAPairIsAText", "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"label\": \"neutral\"}\n",
             "3 F30 not a number; field=label file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"ClassIsNotAnInteger", "{\"query\": \"a\", \"pos\": \"b\", \"label\": 1.5}\n",
             "3 F30 a class label is an integer from 0; field=label file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"TooFewTeacherScores", "{\"query\": \"a\", \"pos\": \"b\", \"neg\": [\"c\"], \"teacher_scores\": [1]}\n",
             "3 F30 1 numbers for 2 positives and negatives; field=teacher_scores file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"ScoresOfPositivesOnly", "{\"query\": \"a\", \"pos\": [\"b\"], \"neg\": [\"c\"], \"pos_scores\": [1]}\n",
             "3 F30 positives have scores but negatives have none; field=neg_scores file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"TeacherScoresAreTexts", "{\"query\": \"a\", \"pos\": \"b\", \"teacher_scores\": [\"1\"]}\n",
             "3 F30 not a list of numbers; field=teacher_scores file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"TooManyDocumentIds", "{\"query\": \"a\", \"pos\": \"b\", \"pos_index\": [1, 2]}\n",
             "3 F30 2 document ids for 1 texts; field=pos_index file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"DocumentIdsAreNoIntegers", "{\"query\": \"a\", \"pos\": \"b\", \"pos_index\": [1.5]}\n",
             "3 F30 neither texts nor integers, as document ids are; field=pos_index file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"SeveralQueryIds", "{\"query\": \"a\", \"pos\": \"b\", \"query_id\": [1, 2]}\n",
             "3 F30 2 document ids for 1 texts; field=query_id file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"QueryIdIsNoId", "{\"query\": \"a\", \"pos\": \"b\", \"qid\": true}\n",
             "3 F30 neither texts nor integers, as document ids are; field=qid file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"HistoryWithoutScores", good + "{\"query\": \"a\", \"history\": [\"b\", \"c\"]}\n",
             "3 F30 no positive, and no teacher scores to choose one by; field=pos file=a.jsonl line=2 offset=29" LODE_CORRECT},
        Case{"TooManyScoresOfAHistory", "{\"query\": \"a\", \"history\": [\"b\", \"c\"], \"teacher_scores\": [1, 2, 3]}\n",
             "3 F30 3 numbers for 2 positives and negatives; field=teacher_scores file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"HistoryIsNoList", "{\"query\": \"a\", \"history\": 7, \"teacher_scores\": [1]}\n",
             "3 F30 neither a text nor a list of texts; field=history file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"EmptyHistory", "{\"query\": \"a\", \"history\": [], \"teacher_scores\": []}\n",
             "3 F30 the row names no positive; file=a.jsonl line=1 offset=0; do: give it as one of pos, positive, positives, text_pos, "
             "sentence2, text_pair, answer"},
        Case{"NoScoresForTexts", "{\"query\": \"a\", \"pos\": [\"b\"], \"teacher_scores\": []}\n",
             "3 F30 0 numbers for 1 positives and negatives; field=teacher_scores file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"TooFewScoresOfNegatives",
             "{\"query\": \"a\", \"pos\": [\"b\"], \"neg\": [\"c\", \"d\"], \"pos_scores\": [1], \"neg_score\": [2]}\n",
             "3 F30 1 numbers for 2 negatives; field=neg_score file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"AnswersAreNumbers", "{\"query\": \"a\", \"pos\": \"b\", \"answers\": [1, 2]}\n",
             "3 F30 neither a text nor a list of texts; field=answers file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"PromptIsAList", "{\"query\": \"a\", \"pos\": \"b\", \"prompt\": [\"p\"]}\n",
             "3 F30 a list where a text belongs; field=prompt file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"ScoreOfSeveralPairs", "{\"query\": \"a\", \"pos\": [\"b\", \"c\"], \"score\": 1}\n",
             "3 F30 a score of a pair, but 2 positives; field=score file=a.jsonl line=1 offset=0" LODE_CORRECT},
        Case{"TwoQueries", "{\"query\": \"a\", \"anchor\": \"b\", \"pos\": \"c\"}\n",
             "3 F30 two names for one part of a row: query and anchor; field=anchor" LODE_TWICE},
        Case{"TwoPositives", "{\"query\": \"a\", \"positives\": [\"b\"], \"pos\": \"c\"}\n",
             "3 F30 two names for one part of a row: pos and positives; field=positives" LODE_TWICE},
        Case{"AnswerBesideAPositive", "{\"question\": \"a\", \"positive\": \"b\", \"answer\": \"c\"}\n",
             "3 F30 two names for one part of a row: positive and answer; field=answer" LODE_TWICE},
        Case{"TwoNegatives", "{\"query\": \"a\", \"pos\": \"b\", \"neg\": [], \"negatives\": [\"c\"]}\n",
             "3 F30 two names for one part of a row: neg and negatives; field=negatives" LODE_TWICE},
        Case{"TwoScores", "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"score\": 1, \"similarity\": 2}\n",
             "3 F30 two names for one part of a row: score and similarity; field=similarity" LODE_TWICE},
        Case{"TwoQueryIds", "{\"query\": \"a\", \"pos\": \"b\", \"query_id\": 1, \"qid\": 2}\n",
             "3 F30 two names for one part of a row: query_id and qid; field=qid" LODE_TWICE},
        Case{"TwoScoresOfNegatives",
             "{\"query\": \"a\", \"pos\": \"b\", \"neg\": [\"c\"], \"pos_scores\": [1], \"neg_scores\": [1], \"neg_score\": [2]}\n",
             "3 F30 two names for one part of a row: neg_scores and neg_score; field=neg_score" LODE_TWICE},
        Case{"SecondNameIsNull", "{\"query\": \"a\", \"anchor\": null, \"pos\": \"c\"}\n", "1 rows"},
        Case{"EmptyFile", "", "3 F32 the file is empty; file=a.jsonl; do: remove it from the inputs"}),
    [](const auto& info) { return info.param.name; });

TEST(Jsonl, RefusesALineOfMoreThan16MiB) {
  const TempDir dir;
  const auto file = write_text(dir / "a.jsonl", good + "{\"query\": \"" + std::string(size_t{17} << 20, 'x'));
  EXPECT_EQ(read_all(file, dir.path()),
            "3 F32 a line of more than 16 MiB; file=a.jsonl line=2 offset=29; do: split the record or check that the file is text with "
            "line ends");
}

TEST(Jsonl, RefusesASparseFileOfTwoGiBInBoundedMemory) {
  const TempDir dir;
  const auto file = write_text(dir / "a.jsonl", "");
  std::filesystem::resize_file(file, uintmax_t{2} << 30);
  EXPECT_EQ(
      read_all(file, dir.path()),
      "3 F32 a line of more than 16 MiB; file=a.jsonl line=1 offset=0; do: split the record or check that the file is text with line ends");
}

TEST(Jsonl, CountsLinesFromTheStartOfTheFileInEveryUnit) {
  const TempDir dir;
  InputOptions options;
  options.unit_bytes = 100;
  std::string text;
  for (int i = 0; i < 20; ++i) text += good;
  EXPECT_EQ(
      read_all(write_text(dir / "a.jsonl", text + "{}\n"), dir.path(), options),
      "3 F30 the row names no query; file=a.jsonl line=21 offset=580; do: give it as one of query, anchor, sentence1, text, question");
}

Record first_record(const std::filesystem::path& file, const InputOptions& options, std::unique_ptr<RecordReader>& reader) {
  const std::vector<std::filesystem::path> files{file};
  reader = open_unit(work_units(files, options)[0], options);
  Record record;
  EXPECT_TRUE(reader->next(record));
  return record;
}

TEST(Jsonl, UnderstandsTheFieldsInUse) {
  const TempDir dir;
  std::unique_ptr<RecordReader> reader;
  const auto read = [&](const char* text, const InputOptions& options = {}) {
    return first_record(write_text(dir / "set.jsonl", text), options, reader);
  };
  using Texts = std::vector<std::string_view>;

  Record r = read(R"({"anchor": "a", "positive": "b", "negative_1": "c", "negative_2": "d", "extra": {"x": [true]}})");
  EXPECT_EQ(r.query, "a");
  EXPECT_EQ(r.positives, Texts{"b"});
  EXPECT_EQ(r.negatives, (Texts{"c", "d"}));
  EXPECT_FALSE(r.source.has_value());
  EXPECT_EQ(reader->ignored_fields(), std::set<std::string>{"extra"});

  r = read(R"({"text": "a", "text_pos": "b", "text_neg": ["c", "d"], "type": "retri_contrast"})");
  EXPECT_EQ(r.negatives, (Texts{"c", "d"}));
  EXPECT_EQ(r.source, "set/retri_contrast");

  r = read(R"({"text": "a", "source": "wiki", "pos": null, "title": "t"})");
  EXPECT_EQ(r.query, "a");
  EXPECT_TRUE(r.positives.empty());
  EXPECT_EQ(r.source, "wiki");

  r = read(R"({"text": "a", "text_pair": "b", "label": 3, "type": "cosent"})", {.source_field = "type"});
  EXPECT_EQ(r.score, 3);
  EXPECT_EQ(r.label, -1);
  EXPECT_EQ(r.source, "cosent");

  r = read(R"({"query": "a", "history": ["b", "c"], "teacher_scores": [-1.5, -2], "task": "chat", "answers": ["x"], "pos": null})");
  EXPECT_TRUE(r.positives.empty());
  EXPECT_EQ(r.negatives, (Texts{"b", "c"}));
  EXPECT_EQ(r.teacher_scores, (std::vector<double>{-1.5, -2}));
  EXPECT_EQ(r.source, "chat");

  r = read(
      R"({"query": "a", "pos": ["b"], "neg": [], "pos_scores": [2], "neg_scores": [], "prompt": "Say: ", "pos_index": ["7"], "source": "mine"})");
  EXPECT_EQ(r.teacher_scores, std::vector<double>{2});
  EXPECT_EQ(r.prompt, "Say: ");
  EXPECT_EQ(r.positive_documents, std::vector<uint64_t>{text_hash("7")});
  EXPECT_EQ(r.source, "mine");
}

TEST(Records, OnlyNumberedNamesBesideTheNegativesAreNegatives) {
  const TempDir dir;
  std::unique_ptr<RecordReader> reader;
  using Texts = std::vector<std::string_view>;
  Record r =
      first_record(write_text(dir / "a.jsonl", R"({"query": "a", "positive": "b", "negative": "c", "negative_id": "d-17",)"
                                               R"( "negative_score": 0.5, "negative_2x": "e", "negative_": "f", "negative_10": "g"})"),
                   {}, reader);
  EXPECT_EQ(r.negatives, (Texts{"c", "g"}));
  EXPECT_EQ(reader->ignored_fields(), (std::set<std::string>{"negative_", "negative_2x", "negative_id", "negative_score"}));
  r = first_record(write_text(dir / "a.csv", "query,positive,negative_1,negative_score\na,b,c,0.73\n"), {}, reader);
  EXPECT_EQ(r.negatives, Texts{"c"});
  EXPECT_EQ(reader->ignored_fields(), std::set<std::string>{"negative_score"});
}

TEST(Table, ReadsQuotedFieldsCommasAndLineEnds) {
  const TempDir dir;
  std::unique_ptr<RecordReader> reader;
  const Record r =
      first_record(write_text(dir / "a.csv", "anchor,positive,negative_1,note\r\n\"a, \"\"b\"\"\nc\",\"p\",,x\r\n"), {}, reader);
  EXPECT_EQ(r.query, "a, \"b\"\nc");
  EXPECT_EQ(r.positives, std::vector<std::string_view>{"p"});
  EXPECT_TRUE(r.negatives.empty());
}

TEST(Table, ReadsTabsAndTakesStrayQuotesLiterally) {
  const TempDir dir;
  std::unique_ptr<RecordReader> reader;
  const Record r = first_record(write_text(dir / "a.tsv", "\"say\" it\t\"whole \"\"field\"\"\"\t0.25\n"),
                                {.columns = {"sentence1", "sentence2", "score"}}, reader);
  EXPECT_EQ(r.query, "\"say\" it");
  EXPECT_EQ(r.positives, std::vector<std::string_view>{"whole \"field\""});
  EXPECT_EQ(r.score, 0.25);
}

TEST(Table, AFirstLineThatMayBeAHeaderIsNoRowUnlessThatIsSaid) {
  const TempDir dir;
  const InputOptions named{.columns = {"sentence1", "sentence2"}};
  InputOptions with = named, without = named, nameless;
  with.header = Header::yes;
  without.header = nameless.header = Header::no;
  const std::string remedy = "file=a.csv; do: say --header yes to pass over it, or --header no to read it as a row";
  auto file = write_text(dir / "a.csv", "premise,hypothesis\na man sleeps,a man rests\n");
  EXPECT_EQ(read_all(file, dir.path(), named),
            "2 columns the first line may be a header (premise, hypothesis), and columns are named too; " + remedy);
  EXPECT_EQ(read_all(file, dir.path(), with), "1 rows");
  EXPECT_EQ(read_all(file, dir.path(), without), "2 rows");
  EXPECT_EQ(read_all(file, dir.path(), nameless),
            "2 columns a table without a header line whose columns have no names; file=a.csv; do: name them, for example --columns "
            "sentence1,sentence2,score");
  file = write_text(dir / "a.csv", "sentence1,sentence2\ncat,dog\n");
  EXPECT_EQ(read_all(file, dir.path(), named),
            "2 columns the first line may be a header (sentence1, sentence2), and columns are named too; " + remedy);
  EXPECT_EQ(read_all(file, dir.path(), {}), "1 rows");
  EXPECT_EQ(read_all(write_text(dir / "a.csv", "cat,dog\nred,blue\n"), dir.path(), named), "2 rows") << "words all alike";
  EXPECT_EQ(read_all(write_text(dir / "a.csv", "a man,a dog\nred,blue\n"), dir.path(), named), "2 rows");
  EXPECT_EQ(read_all(write_text(dir / "a.jsonl", good), dir.path(), named),
            "2 columns columns or a header are for tables, and no input is one; file=a.jsonl; do: leave --columns and --header out");
}

class BadCsv : public ::testing::TestWithParam<Case> {};

TEST_P(BadCsv, IsRefusedInOneLine) {
  const TempDir dir;
  EXPECT_EQ(read_all(write_text(dir / "a.csv", GetParam().text), dir.path()), GetParam().expected);
}

const std::string header = "sentence1,sentence2,score\n";  // 26 bytes

INSTANTIATE_TEST_SUITE_P(
    Rows, BadCsv,
    ::testing::Values(
        Case{"NoHeader", "a,b,1\n",
             "2 columns no column is a query: the first line is no header, or its names are unknown; file=a.csv; do: name the columns, for "
             "example --columns "
             "sentence1,sentence2,score"},
        Case{"DoubleColumn", "query,pos,pos\n", "2 columns two columns have one name; file=a.csv field=pos; do: rename one"},
        Case{"TooFewFields", header + "a,b,1\nc,d\n", "3 F30 2 fields where the header has 3; file=a.csv line=3 offset=32" LODE_CORRECT},
        Case{"ScoreIsNoNumber", header + "a,b,high\n", "3 F30 not a number; field=score file=a.csv line=2 offset=26" LODE_CORRECT},
        Case{"ScoreIsNaN", header + "a,b,nan\n", "3 F30 not a number; field=score file=a.csv line=2 offset=26" LODE_CORRECT},
        Case{"ScoreIsEmpty", header + "a,b,\n", "3 F30 not a number; field=score file=a.csv line=2 offset=26" LODE_CORRECT},
        Case{"EmptyText", header + "a,,1\n", "3 F30 empty text; field=sentence2 file=a.csv line=2 offset=26" LODE_CORRECT},
        Case{"InvalidUtf8", header + "a,\xFF,1\n", "3 F31 not valid UTF-8; file=a.csv line=2 offset=28" LODE_CORRECT},
        Case{"TextBehindQuotes", header + "\"a\"b,c,1\n",
             "3 F30 text behind the closing quote of a field; file=a.csv line=2 offset=26" LODE_CORRECT},
        Case{"QuotesNotClosed", header + "a,\"b,1\nc,d,2\n",
             "3 F32 a quoted field is not closed before the end of the file; file=a.csv line=2 offset=26; do: close the quotes"},
        Case{"EmptyFile", "", "3 F32 the file is empty; file=a.csv; do: remove it from the inputs"}),
    [](const auto& info) { return info.param.name; });

TEST(Inputs, AreRefusedWhenMissingUnknownOrEmpty) {
  const TempDir dir;
  EXPECT_EQ(read_all(dir / "none.jsonl", dir.path()), "2 missing no such file or folder; file=none.jsonl; do: check the path");
  EXPECT_EQ(read_all(write_text(dir / "a.parquet", "x"), dir.path()),
            "2 format cannot tell the format by the file's name; file=a.parquet; do: name it with --format jsonl, csv, tsv or beir");
  std::filesystem::create_directory(dir / "empty");
  EXPECT_EQ(read_all(dir / "empty", dir.path()),
            "3 F32 the folder holds no .jsonl, .csv or .tsv file; file=empty; do: name another folder");
}

TEST(Inputs, KeepTheNoInBatchNegativesMarkOfAFolder) {
  const TempDir dir;
  std::filesystem::create_directories(dir / "in" / std::filesystem::path("topics-no_in_batch_neg"));
  write_text(dir / "in/topics-no_in_batch_neg/a.jsonl", good);
  write_text(dir / "in/b.jsonl", good);
  const std::vector<std::filesystem::path> inputs{dir / "in"};
  const auto units = work_units(inputs, {});
  ASSERT_EQ(units.size(), 2u);
  EXPECT_EQ(units[0].source, "b");
  EXPECT_EQ(units[1].source, "a-no_in_batch_neg");
}

TEST(Fields, ThatAreIgnoredAreNamedUntilThereAreVeryMany) {
  FieldMap map("", "file");
  Record record;
  const auto read = [&](int64_t row) {
    const std::string name = cat("n", row);
    std::vector<Field> fields(3);
    fields[0] = {.name = "query", .kind = Field::Kind::text, .texts = {"a"}, .numbers = {}, .integers = {}};
    fields[1] = {.name = "pos", .kind = Field::Kind::text, .texts = {"b"}, .numbers = {}, .integers = {}};
    fields[2] = {.name = name, .kind = Field::Kind::text, .texts = {"c"}, .numbers = {}, .integers = {}};
    map.map(fields, record);
  };
  for (int64_t row = 0; row < 1000; ++row) read(row);
  EXPECT_EQ(map.ignored_fields().size(), 1000u);
  EXPECT_FALSE(map.ignored_fields().contains(std::string(more_ignored)));
  for (int64_t row = 0; row < 1500; ++row) read(row);
  EXPECT_EQ(map.ignored_fields().size(), 1001u);
  EXPECT_EQ(*map.ignored_fields().rbegin(), more_ignored);
}

}  // namespace
}  // namespace lodestone
