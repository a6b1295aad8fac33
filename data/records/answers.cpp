#include "data/records/answers.h"

#include "data/records/field_rows.h"

namespace lodestone {

GeneratedAnswers read_answers(const std::filesystem::path& file) {
  constexpr const char* prediction[] = {"prediction"};
  constexpr const char* answers[] = {"answers", "answer"};
  constexpr const char* log_probabilities[] = {"log_probabilities"};
  GeneratedAnswers out;
  FieldRows rows(file);
  while (rows.next()) {
    const Field* text = rows.find(prediction);
    const Field* logs = rows.find(log_probabilities);
    if (text == nullptr && logs == nullptr) rows.refuse("a row without prediction and without log_probabilities", "give one of them");
    if (text != nullptr) {
      const std::vector<std::string> given = rows.texts(*text);
      if (given.size() != 1) rows.refuse("a row of several predictions", "give each a row");
      out.predictions.push_back(given[0]);
      out.references.push_back(rows.texts(rows.get(answers)));
    }
    if (logs != nullptr)
      for (const double value : rows.numbers(*logs)) {
        if (value > 0) rows.refuse(cat("a log-probability of ", value), "give natural logarithms of probabilities, 0 at most");
        out.log_probability += value;
        ++out.tokens;
      }
    rows.note_ignored();
  }
  if (out.predictions.empty() && out.tokens == 0) rows.refuse_all("no rows", "give rows with prediction and answers, or log_probabilities");
  out.ignored = rows.ignored();
  return out;
}

}  // namespace lodestone
