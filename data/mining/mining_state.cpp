#include "data/mining/mining_state.h"

#include <map>

#include "data/files/safetensors.h"

namespace lodestone {

namespace {

using Score = MiningState::Score;
using Row = MiningState::Row;

/// Every member of a list's records as a column of its own.
template <class T, class Record>
std::vector<T> column(const std::vector<Record>& records, T Record::*member) {
  std::vector<T> values;
  values.reserve(records.size());
  for (const Record& r : records) values.push_back(r.*member);
  return values;
}

template <class T>
std::vector<T> read_column(const SafetensorsReader& file, const char* name, const char* dtype) {
  const StoredTensor* tensor = file.find(name);
  if (tensor == nullptr || tensor->dtype != dtype)
    throw Error(ExitCode::checkpoint, "F22", "the mining state is not as written", "an older checkpoint is used where there is one")
        .at("file", file.path().string())
        .at("tensor", name);
  std::vector<T> values(static_cast<size_t>(tensor->count));
  file.read_bytes(*tensor, 0, std::as_writable_bytes(std::span(values)));
  return values;
}

template <class T, class Record>
void fill(std::vector<Record>& records, T Record::*member, const std::vector<T>& values, const std::filesystem::path& file) {
  if (records.empty()) records.resize(values.size());
  if (records.size() != values.size())
    throw Error(ExitCode::checkpoint, "F22", "the mining state is not as written: its arrays differ in length").at("file", file.string());
  for (size_t i = 0; i < values.size(); ++i) records[i].*member = values[i];
}

}  // namespace

std::string mining_state_document(const MiningState& state) {
  // Wider elements first, as the format wants it.
  const auto score_row = column(state.scores, &Score::row), available = column(state.scores, &Score::available),
             row = column(state.rows, &Row::row);
  const auto initial = column(state.scores, &Score::initial), current = column(state.scores, &Score::current);
  const auto negative = column(state.scores, &Score::negative), flags = column(state.scores, &Score::flags),
             replacements = column(state.rows, &Row::replacements), next = column(state.rows, &Row::next),
             exhausted = column(state.rows, &Row::exhausted), chosen = column(state.rows, &Row::chosen);
  const std::vector<NamedTensor> tensors{{"score/row", view(std::span(score_row))},   {"score/available", view(std::span(available))},
                                         {"score/initial", view(std::span(initial))}, {"score/current", view(std::span(current))},
                                         {"row/row", view(std::span(row))},           {"score/negative", view(std::span(negative))},
                                         {"score/flags", view(std::span(flags))},     {"row/replacements", view(std::span(replacements))},
                                         {"row/next", view(std::span(next))},         {"row/exhausted", view(std::span(exhausted))},
                                         {"row/chosen", view(std::span(chosen))},     {"chosen", view(std::span(state.chosen))}};
  std::string document = safetensors_header(tensors, {{"format", "lodestone-mining-1"}});
  for (const NamedTensor& t : tensors) document.append(reinterpret_cast<const char*>(t.values.bytes()), t.values.size_bytes());
  return document;
}

MiningState read_mining_state(const std::filesystem::path& path) {
  const SafetensorsReader file(path);
  MiningState state;
  fill(state.scores, &Score::row, read_column<int64_t>(file, "score/row", "I64"), path);
  fill(state.scores, &Score::available, read_column<int64_t>(file, "score/available", "I64"), path);
  fill(state.scores, &Score::initial, read_column<double>(file, "score/initial", "F64"), path);
  fill(state.scores, &Score::current, read_column<double>(file, "score/current", "F64"), path);
  fill(state.scores, &Score::negative, read_column<int32_t>(file, "score/negative", "I32"), path);
  fill(state.scores, &Score::flags, read_column<int32_t>(file, "score/flags", "I32"), path);
  fill(state.rows, &Row::row, read_column<int64_t>(file, "row/row", "I64"), path);
  fill(state.rows, &Row::replacements, read_column<int32_t>(file, "row/replacements", "I32"), path);
  fill(state.rows, &Row::next, read_column<int32_t>(file, "row/next", "I32"), path);
  fill(state.rows, &Row::exhausted, read_column<int32_t>(file, "row/exhausted", "I32"), path);
  fill(state.rows, &Row::chosen, read_column<int32_t>(file, "row/chosen", "I32"), path);
  state.chosen = read_column<int32_t>(file, "chosen", "I32");
  int64_t chosen = 0;
  for (const Row& r : state.rows) chosen += r.chosen;
  if (chosen != static_cast<int64_t>(state.chosen.size()))
    throw Error(ExitCode::checkpoint, "F22", "the mining state is not as written: chosen places are missing").at("file", path.string());
  return state;
}

}  // namespace lodestone
