#include "tests/campaigns/targets.h"

#include <algorithm>
#include <iterator>

#include "data/cleaning/dedup.h"
#include "data/cleaning/rules.h"
#include "data/files/strict_json.h"
#include "data/records/answers.h"
#include "data/records/beir.h"
#include "data/records/labelled.h"
#include "launch/config/config.h"
#include "launch/inference/embedder.h"
#include "launch/inference/scorer.h"
#include "tests/data/checkpoints/training_state.h"
#include "tests/data/corpus/corpus_content.h"
#include "tests/data/corpus/pack_support.h"
#include "tests/support/gzip.h"
#include "tests/support/tiny_folder.h"
#include "tests/support/tiny_reranker_folder.h"

namespace lodestone::test {

namespace {

namespace fs = std::filesystem;

constexpr int few_turns = 2;  // of what makes a tokenizer, which takes milliseconds

/// Every regular file below a folder.
std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().filename() != "README.md") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::string json_lines() {
  std::string text;
  for (int i = 0; i < 12; ++i)
    text += cat(R"({"query": "número )", i, R"( \u00e9\ud83d\ude00", "pos": ["answer )", i, R"(", "other"], "neg": ["not )", i,
                R"("], "teacher_scores": [1, 2.5, 1e-)", i, R"(], "answers": ["yes"], "prompt": "P: ", "query_id": )", i, R"(, "label": )",
                i, "}\n");
  return text;
}

std::string table(char separator) {
  std::string text = cat("sentence1", separator, "sentence2", separator, "score\n");
  for (int i = 0; i < 12; ++i) text += cat("\"a red, \"\"", i, "\"\" stone\"", separator, "the river", separator, 0.25 * i, "\n");
  return text;
}

/// What a record reader gives, bad rows among it as their messages.
std::string records_of(const fs::path& file) {
  std::string all;
  const InputOptions options;
  for (const WorkUnit& unit : work_units(std::vector{file}, options)) {
    const auto reader = open_unit(unit, options);
    Record record;
    for (bool more = true; more;) {
      try {
        more = reader->next(record);
      } catch (const BadRow& row) {
        all += cat(row.what(), '\n');
        continue;
      }
      if (!more) break;
      all += record.query;
      for (const std::string_view text : record.positives) all += cat('+', text);
      for (const std::string_view text : record.negatives) all += cat('-', text);
      for (const double score : record.teacher_scores) all += cat(' ', score);
      all += cat(' ', record.score, ' ', record.label, '\n');
    }
  }
  return all;
}

Target records(const fs::path& folder, const std::string& name, const std::string& text, Proof proof = Proof::none) {
  const fs::path file = write_text(folder / name, text);
  return {name, {file}, proof, [file] { return records_of(file); }};
}

/// What filter and dedup say of rows, bad ones among them.
Target cleaning(const fs::path& folder) {
  const fs::path rows = write_text(folder / "rows.jsonl", json_lines()), words = write_text(folder / "words.txt", "casino\nfree money\n"),
                 domains = write_text(folder / "domains.txt", "bad.example\n*.worse.example\n");
  return {"cleaning",
          {rows, words, domains},
          Proof::none,
          [=] {
            Rules rules(TextFields({}), Script::latin);
            for (RowRule rule :
                 {script_rule(0.3), empty_rule(), same_texts_rule(), max_characters_rule(60), special_characters_rule(0.5),
                  digits_rule(0.5), repeated_lines_rule(0.5), blocked_domains_rule(std::make_shared<DomainList>(domains), "prompt"),
                  blocked_words_rule(std::make_shared<WordList>(words, rules.letters()))})
              rules.add(std::move(rule));
            Deduplicator dedup(TextFields({}), Sameness::words, NearSettings{0.5, 2, folder});
            std::string all;
            JsonLines lines(LineReader::whole(rows));
            for (bool more = true; more;) {
              try {
                more = lines.next();
                if (more) all += cat(rules.judge(lines.fields()), ' ', dedup.judge(lines.fields()).reason, '\n');
              } catch (const Error& error) {
                if (error.exit_code() != ExitCode::data) throw;
                all += cat(error.what(), '\n');
              }
            }
            return all;
          },
          few_turns};
}

Target beir(const fs::path& folder) {
  fs::create_directories(folder / "qrels");
  std::string queries, corpus, judgements = "query-id\tcorpus-id\tscore\n";
  for (int i = 0; i < 6; ++i) {
    queries += cat(R"({"_id": "q)", i, R"(", "text": "red )", i, "\"}\n");
    corpus += cat(R"({"_id": "d)", i, R"(", "title": "river", "text": "stone )", i, "\"}\n");
    judgements += cat('q', i, "\td", 5 - i, '\t', 1 + i % 2, '\n');
  }
  write_text(folder / "queries.jsonl", queries);
  write_text(folder / "corpus.jsonl", corpus);
  write_text(folder / "qrels/test.tsv", judgements);
  return {"BEIR folder", files_below(folder), Proof::none, [folder] {
            const BeirSet set = read_beir(folder, "test", BeirDocuments::all);
            std::string all;
            for (size_t q = 0; q < set.queries.size(); ++q) {
              all += set.queries[q];
              for (const auto& [document, grade] : set.judgements[q]) all += cat(' ', document, '=', grade);
            }
            for (const std::string& text : set.documents) all += text;
            for (const std::string& line : judgement_warnings(set)) all += line;
            return all;
          }};
}

std::string text_of(const LabelledTexts& labelled) {
  std::string all;
  for (size_t i = 0; i < labelled.texts.size(); ++i) all += cat(labelled.texts[i], '=', labelled.labels[i], '\n');
  return all;
}

/// What `eval` and `grade` read beside BEIR folders and records.
std::vector<Target> labelled(const fs::path& folder) {
  std::string pairs, classes, sets, answers;
  for (int i = 0; i < 8; ++i) {
    pairs += cat(R"({"sentence1": "red )", i, R"(", "sentence2": "stone \u00e9", "label": )", i % 2, "}\n");
    classes += cat(R"({"text": "river )", i, R"(", "label": )", i % 3, R"(, "split": ")", i % 4 < 2 ? "train" : "test", "\"}\n");
    sets += cat(R"({"sentences": ["cat )", i, R"(", "dog"], "labels": ["a", )", i % 2 == 0 ? R"("b")" : R"("a")", "]}\n");
    answers += cat(R"({"prediction": "The Moon )", i, R"(.", "answers": ["moon", "sun"], "log_probabilities": [-0.)", i, ", -2.5e0]}\n");
  }
  const fs::path of_pairs = write_text(folder / "pairs.jsonl", pairs), of_classes = write_text(folder / "classes.jsonl", classes),
                 of_sets = write_text(folder / "sets.jsonl", sets), of_answers = write_text(folder / "answers.jsonl", answers);
  return {{"labelled pairs",
           {of_pairs},
           Proof::none,
           [of_pairs] {
             const LabelledPairs read = read_labelled_pairs(of_pairs);
             std::string all;
             for (size_t i = 0; i < read.first.size(); ++i) all += cat(read.first[i], read.second[i], int{read.labels[i]});
             return all;
           }},
          {"classes",
           {of_classes},
           Proof::none,
           [of_classes] {
             const ClassificationSet read = read_classification(of_classes, "test");
             return text_of(read.train) + text_of(read.test);
           }},
          {"sets",
           {of_sets},
           Proof::none,
           [of_sets] {
             std::string all;
             for (const LabelledTexts& set : read_clustering(of_sets).sets) all += text_of(set);
             return all;
           }},
          {"answers", {of_answers}, Proof::none, [of_answers] {
             const GeneratedAnswers read = read_answers(of_answers);
             std::string all = cat(read.log_probability, ' ', read.tokens);
             for (const std::string& text : read.predictions) all += text;
             return all;
           }}};
}

Target corpus(const fs::path& folder) {
  pack_files(folder / "corpus", {write_text(folder / "rows.jsonl", json_lines())});
  return {"corpus", files_below(folder / "corpus"), Proof::all, [path = folder / "corpus"] { return content(Corpus::open(path)); }};
}

Target checkpoint(const fs::path& folder) {
  ParamLayout layout;
  layout.add("a.weight", {6, 8}, Decay::yes);
  layout.add("b.bias", {5}, Decay::no);
  TrainingState<float> state(6, layout);
  save(folder, 1, state, 2);
  return {"checkpoint", files_below(folder / "checkpoint-1"), Proof::all, [folder, layout] {
            const CheckpointManifest manifest = verify_checkpoint(folder / "checkpoint-1");
            TrainingState<float> loaded = load<float>(folder / "checkpoint-1", layout);
            std::string all;
            for (const std::vector<float>* values : {&loaded.params, &loaded.m, &loaded.v})
              for (const float value : *values) all += cat(value, ' ');
            for (const auto& [name, text] : manifest.documents) all += name + text;
            return all;
          }};
}

enum class Class : uint8_t { as_written, json };

/// Has transformers take all of tokenizer.json.
void set_class(const fs::path& folder, Class of_tokenizer) {
  if (of_tokenizer == Class::as_written) return;
  const fs::path file = folder / "tokenizer_config.json";
  OrderedJson config = OrderedJson::parse(read_text(file));
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["model_input_names"] = {"input_ids", "token_type_ids", "attention_mask"};
  write_text(file, config.dump());
}

constexpr std::string_view texts[] = {"red river stones", "Cat, dog & MOON \xc3\xa9\xe6\xb0\xb4", ""};

Target embedder(const fs::path& folder, const std::string& name, Class of_tokenizer) {
  const TinyFolder made;
  fs::copy(made.path(), folder / "model", fs::copy_options::recursive);
  set_class(folder / "model", of_tokenizer);
  return {name, files_below(folder / "model"), Proof::none,
          [path = folder / "model"] {
            const auto backend = make_backend({.kind = BackendKind::reference});
            LoadedModel model(path, {.chunk_tokens = 64}, *backend);
            std::string all = model.prompt("query");
            std::vector<float> vectors(std::size(texts) * static_cast<size_t>(model.embedder().embedding()));
            Exec exec = model.exec();
            model.embedder().embed(exec, texts, all, vectors);
            for (const float value : vectors) all += cat(value, ' ');
            return all;
          },
          few_turns};
}

Target reranker(const fs::path& folder, const std::string& name, Class of_tokenizer) {
  const TinyRerankerFolder made;
  fs::copy(made.path(), folder / "reranker", fs::copy_options::recursive);
  set_class(folder / "reranker", of_tokenizer);
  return {name, files_below(folder / "reranker"), Proof::none,
          [path = folder / "reranker"] {
            const auto backend = make_backend({.kind = BackendKind::reference});
            LoadedReranker model(path, {.chunk_tokens = 64}, *backend);
            const TextPair pairs[] = {{texts[0], texts[1]}, {texts[1], texts[0]}};
            float scores[std::size(pairs)];
            Exec exec = model.exec();
            model.scorer().score(exec, pairs, scores);
            return cat(scores[0], ' ', scores[1]);
          },
          few_turns};
}

Target vocabulary(const fs::path& folder) {
  std::string words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (const char* word : {"red", "river", "stone", "##s", "cat", "dog", "moon", "&", ",", "\xe6\xb0\xb4", "e"}) words += cat(word, '\n');
  write_text(folder / "vocab.txt", words);
  write_text(folder / "tokenizer_config.json",
             R"({"tokenizer_class": "BertTokenizer", "do_lower_case": true, "strip_accents": null, "tokenize_chinese_chars": true,
                 "model_max_length": 128, "cls_token": "[CLS]", "added_tokens_decoder": {"4": {"content": "[MASK]", "lstrip": true,
                 "normalized": false, "rstrip": false, "single_word": false, "special": true}}})");
  return {"vocabulary", files_below(folder), Proof::none,
          [folder] {
            const Tokenizer tokenizer = Tokenizer::from_folder(folder);
            std::vector<int32_t> ids;
            for (const std::string_view text : texts) tokenizer.encode(text, ids);
            std::string all = cat(tokenizer.fingerprint(), ' ', read_max_length(folder, 512));
            for (const int32_t id : ids) all += cat(' ', id);
            return all;
          },
          few_turns};
}

/// Recipes of this repository, each with its small form on top.
std::vector<Target> configurations(const fs::path& folder) {
  std::vector<Target> targets;
  for (const char* name : {"conan-finetune", "gte-finetune", "bge-retromae", "bge-reranker", "llm-embedder"}) {
    const std::vector<fs::path> files = {folder / cat(name, ".yaml"), folder / cat(name, "-small.yaml")};
    for (const fs::path& file : files) fs::copy_file(fs::path(LODE_TEST_DATA) / ".." / "configs" / file.filename(), file);
    targets.push_back({name, files, Proof::none, [files] {
                         const RunConfig config = read_run_config(files, {});
                         return cat(config.tasks.size(), ' ', config.train.steps, ' ', config.optim.learning_rate);
                       }});
  }
  return targets;
}

}  // namespace

std::vector<Target> make_targets(const fs::path& folder) {
  const auto room = [&](const char* name) {
    fs::create_directories(folder / name);
    return folder / name;
  };
  std::vector<Target> targets = configurations(room("configurations"));
  targets.push_back(records(room("records"), "rows.jsonl", json_lines()));
  targets.push_back(records(room("records"), "rows.jsonl.gz", gzip(json_lines()), Proof::flips));
  targets.push_back(records(room("records"), "pairs.csv", table(',')));
  targets.push_back(records(room("records"), "pairs.tsv", table('\t')));
  targets.push_back(cleaning(room("cleaning")));
  targets.push_back(beir(room("beir")));
  for (Target& target : labelled(room("labelled"))) targets.push_back(std::move(target));
  targets.push_back(vocabulary(room("vocabulary")));
  targets.push_back(embedder(room("embedder"), "embedder folder", Class::as_written));
  targets.push_back(reranker(room("scorer"), "reranker folder", Class::as_written));
  targets.push_back(embedder(room("embedder-json"), "embedder by its json", Class::json));
  targets.push_back(reranker(room("scorer-json"), "reranker by its json", Class::json));
  targets.push_back(corpus(room("packed")));
  targets.push_back(checkpoint(room("run")));
  return targets;
}

}  // namespace lodestone::test
