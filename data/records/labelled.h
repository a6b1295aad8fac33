// Labelled texts: pairs, splits and sets with labels, in the columns that MTEB's data sets have. For evaluation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lodestone {

// All are JSON lines, plain or .gz. A label is an integer or a text. Fields that mean nothing here are named in `ignored`, sorted. Readers
// throw Error (data): F30, F31 with file and line, F32 where there is too little to evaluate; and as LineReader does.

/// Pairs that belong together (1) or do not (0).
struct LabelledPairs {
  std::vector<std::string> first, second;
  std::vector<uint8_t> labels;
  std::vector<std::string> ignored = {};
};
/// Rows of `sentence1` (or `sent1`), `sentence2` (`sent2`) and `labels` (`label`), each a pair, or lists of one length that hold many. Both
/// labels occur.
LabelledPairs read_labelled_pairs(const std::filesystem::path& file);

/// Texts with the numbers of their labels.
struct LabelledTexts {
  std::vector<std::string> texts;
  std::vector<int64_t> labels;
};

struct ClassificationSet {
  LabelledTexts train, test;        // labels are numbered alike: from 0, as integers or else as texts are ordered
  std::vector<std::string> labels;  // by number
  std::vector<std::string> ignored = {};
};
/// Rows of `text` and `label`: those of PATH/train.jsonl and PATH/SPLIT.jsonl where PATH is a folder, else those of the file whose `split`
/// is train, and SPLIT. Two labels occur in train; none need occur in both.
ClassificationSet read_classification(const std::filesystem::path& path, const std::string& split);

struct ClusteringSets {
  std::vector<LabelledTexts> sets;  // labels are numbered in each by itself
  std::vector<std::string> ignored = {};
};
/// Rows of `sentences` and `labels`, each a set as two lists of one length; or each row a text and its label, all one set.
ClusteringSets read_clustering(const std::filesystem::path& file);

}  // namespace lodestone
