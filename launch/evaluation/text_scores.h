// How good generated answers and language models are: exact match, ROUGE-L, perplexity.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace lodestone {

/// As SQuAD's script normalises answers: lower case, ASCII punctuation removed, the words a, an and the removed, white space made single
/// blanks. Words of other scripts are kept as they are, but for their case. The text is UTF-8.
std::string normalise_answer(std::string_view text);

/// 1 where the normalised answer equals that of a reference, else 0. Throws Error (internal) without references.
double exact_match(std::string_view answer, std::span<const std::string> references);

/// The largest F-measure, over the references, of the longest common subsequence of the normalised words (Lin 2004, beta 1): harmonic mean
/// of its share of the answer's words and of the reference's. 0 where either has none. Throws as above.
double rouge_l(std::string_view answer, std::span<const std::string> references);

/// exp of minus the mean of log-probabilities (natural logarithm) of `tokens` tokens that add up to `log_probability`. Throws Error
/// (internal) unless tokens > 0.
double perplexity(double log_probability, double tokens);

}  // namespace lodestone
