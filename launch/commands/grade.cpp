// lodestone grade: how good the answers and log-probabilities of a language model are.
#include <cstdio>

#include "data/records/answers.h"
#include "launch/command.h"
#include "launch/config/input_options.h"
#include "launch/config/options.h"
#include "launch/evaluation/text_scores.h"

namespace lodestone {

const char* const grade_usage =
    R"(usage: lodestone grade FILE

Grades what a language model wrote, or how likely it found the right text: JSON lines, each with one of these or both.

  prediction, answers   what was written, and what is right (a text or a list, of which the best counts): exact match and ROUGE-L's
                        F-measure, both of texts as SQuAD normalises them (case, punctuation, articles, blanks)
  log_probabilities     natural logarithms of the tokens' probabilities: perplexity over all rows
)";

int run_grade(World& world, std::span<const std::string> arguments) {
  const Options options(arguments, "grade", {});
  if (options.positional().size() != 1) options.refuse("give one file");
  if (world.rank() != 0) return 0;
  const GeneratedAnswers answers = read_answers(options.positional()[0]);
  if (!answers.ignored.empty()) std::puts(describe_ignored(answers.ignored).c_str());
  if (const size_t n = answers.predictions.size(); n > 0) {
    double exact = 0, rouge = 0;
    for (size_t i = 0; i < n; ++i) {
      exact += exact_match(answers.predictions[i], answers.references[i]);
      rouge += rouge_l(answers.predictions[i], answers.references[i]);
    }
    std::printf("%zu answers\n  exact_match  %.5f\n  rouge_l      %.5f\n", n, exact / static_cast<double>(n),
                rouge / static_cast<double>(n));
  }
  if (answers.tokens > 0)
    std::printf("%lld tokens\n  perplexity   %.5f\n", static_cast<long long>(answers.tokens),
                perplexity(answers.log_probability, static_cast<double>(answers.tokens)));
  return 0;
}

}  // namespace lodestone
