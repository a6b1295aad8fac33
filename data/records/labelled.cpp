#include "data/records/labelled.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "data/files/durable.h"
#include "data/records/field_rows.h"

namespace lodestone {

namespace {

/// Labels of texts before they have numbers.
struct NamedTexts {
  std::vector<std::string> texts;
  std::vector<RowLabel> labels;

  void add(std::vector<std::string> more_texts, std::vector<RowLabel> more_labels) {
    std::ranges::move(more_texts, std::back_inserter(texts));
    std::ranges::move(more_labels, std::back_inserter(labels));
  }
};

/// Numbers labels from 0: as integers are ordered where all are, else as texts are.
class Numbers {
 public:
  void add(const NamedTexts& named) {
    for (const RowLabel& label : named.labels) {
      numbers_.emplace(label.text, 0);
      integers_ = integers_ && label.integer;
    }
  }
  /// The labels by number; to be called before number().
  std::vector<std::string> order() {
    std::vector<std::string> names;
    for (const auto& [name, number] : numbers_) names.push_back(name);
    if (integers_) std::ranges::sort(names, {}, [](const std::string& name) { return std::stoll(name); });
    for (size_t i = 0; i < names.size(); ++i) numbers_[names[i]] = static_cast<int64_t>(i);
    return names;
  }
  LabelledTexts number(NamedTexts&& named) const {
    LabelledTexts out{std::move(named.texts), {}};
    for (const RowLabel& label : named.labels) out.labels.push_back(numbers_.at(label.text));
    return out;
  }

 private:
  std::map<std::string, int64_t> numbers_;
  bool integers_ = true;
};

/// The file of a split of a folder, plain or .gz.
std::filesystem::path split_file(const std::filesystem::path& folder, const std::string& split) {
  const std::filesystem::path plain = folder / (split + ".jsonl"), packed = folder / (split + ".jsonl.gz");
  if (path_exists(plain)) return plain;
  if (path_exists(packed)) return packed;
  throw Error(ExitCode::data, "F32", cat("no ", split, ".jsonl"), "give a folder with train.jsonl and the split's file, or --split")
      .at("folder", folder.string());
}

/// Adds the rows of a file to the splits that they belong to: `own` where given, else the one that each row names.
void read_splits(const std::filesystem::path& file, const std::string* own, std::map<std::string, NamedTexts>& splits,
                 std::set<std::string>& ignored) {
  constexpr const char* text[] = {"text"};
  constexpr const char* label[] = {"label"};
  constexpr const char* split[] = {"split"};
  FieldRows rows(file);
  while (rows.next()) {
    std::vector<std::string> texts = rows.texts(rows.get(text));
    std::vector<RowLabel> labels = rows.labels(rows.get(label));
    if (texts.size() != 1 || labels.size() != 1) rows.refuse("a row of several texts or labels", "give each text a row");
    std::string name = own != nullptr ? *own : rows.texts(rows.get(split)).at(0);
    rows.note_ignored();
    splits[name].add(std::move(texts), std::move(labels));
  }
  for (std::string& name : rows.ignored()) ignored.insert(std::move(name));
}

}  // namespace

LabelledPairs read_labelled_pairs(const std::filesystem::path& file) {
  constexpr const char* first[] = {"sentence1", "sent1"};
  constexpr const char* second[] = {"sentence2", "sent2"};
  constexpr const char* label[] = {"labels", "label"};
  LabelledPairs pairs;
  FieldRows rows(file);
  while (rows.next()) {
    std::vector<std::string> one = rows.texts(rows.get(first)), other = rows.texts(rows.get(second));
    const std::vector<RowLabel> labels = rows.labels(rows.get(label));
    if (one.size() != other.size() || one.size() != labels.size())
      rows.refuse(cat(one.size(), " and ", other.size(), " texts with ", labels.size(), " labels"), "give lists of one length");
    for (const RowLabel& given : labels) {
      if (given.text != "0" && given.text != "1")
        rows.refuse(cat("the label ", given.text, " of a pair"), "give 1 to pairs that belong together and 0 to others");
      pairs.labels.push_back(given.text == "1");
    }
    rows.note_ignored();
    std::ranges::move(one, std::back_inserter(pairs.first));
    std::ranges::move(other, std::back_inserter(pairs.second));
  }
  const auto together = std::ranges::count(pairs.labels, 1);
  if (together == 0 || together == std::ssize(pairs.labels))
    rows.refuse_all(pairs.labels.empty() ? "no pairs" : cat("all ", pairs.labels.size(), " pairs have the label ", together > 0),
                    "give pairs with label 0 and pairs with label 1");
  pairs.ignored = rows.ignored();
  return pairs;
}

ClassificationSet read_classification(const std::filesystem::path& path, const std::string& split) {
  if (split == "train")
    throw Error(ExitCode::usage, "split", "the split that is evaluated is the one that is learned from", "give another --split");
  std::map<std::string, NamedTexts> splits;
  std::set<std::string> ignored;
  std::error_code unknown;
  if (std::filesystem::is_directory(path, unknown)) {
    for (const std::string& name : {std::string("train"), split}) read_splits(split_file(path, name), &name, splits, ignored);
  } else {
    read_splits(path, nullptr, splits, ignored);
  }
  Numbers numbers;
  for (const std::string& name : {std::string("train"), split}) {
    if (splits[name].texts.empty())
      throw Error(ExitCode::data, "F32", cat("no rows of the split ", name),
                  "give rows to learn from (train) and rows to evaluate, or --split")
          .at("file", path.string());
    numbers.add(splits[name]);
  }
  ClassificationSet set;
  set.labels = numbers.order();
  set.train = numbers.number(std::move(splits["train"]));
  set.test = numbers.number(std::move(splits[split]));
  set.ignored.assign(ignored.begin(), ignored.end());
  if (std::ranges::count(set.train.labels, set.train.labels[0]) == std::ssize(set.train.labels))
    throw Error(ExitCode::data, "F32", cat("all labels of the split train are ", set.labels[static_cast<size_t>(set.train.labels[0])]),
                "a classifier needs two labels")
        .at("file", path.string());
  return set;
}

ClusteringSets read_clustering(const std::filesystem::path& file) {
  constexpr const char* sentences[] = {"sentences"};
  constexpr const char* label[] = {"labels", "label"};
  std::vector<NamedTexts> sets;
  std::optional<bool> lists;
  FieldRows rows(file);
  while (rows.next()) {
    const Field& texts = rows.get(sentences);
    std::vector<RowLabel> labels = rows.labels(rows.get(label));
    const bool list = texts.kind == Field::Kind::texts;
    std::vector<std::string> own = rows.texts(texts);
    if (own.size() != labels.size()) rows.refuse(cat(own.size(), " texts with ", labels.size(), " labels"), "give lists of one length");
    if (lists.value_or(list) != list) rows.refuse("a row of lists among rows of texts", "give every row a set, or every row a text");
    if (list || sets.empty()) sets.emplace_back();
    lists = list;
    rows.note_ignored();
    sets.back().add(std::move(own), std::move(labels));
  }
  if (sets.empty()) rows.refuse_all("no sets", "give rows with sentences and labels");
  ClusteringSets out;
  for (NamedTexts& set : sets) {
    Numbers numbers;
    numbers.add(set);
    numbers.order();
    out.sets.push_back(numbers.number(std::move(set)));
  }
  out.ignored = rows.ignored();
  return out;
}

}  // namespace lodestone
