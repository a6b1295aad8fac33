// Candidates are found by their first byte, then compared with every token: there are a handful of them.
#include "data/text/added_tokens.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace lodestone {

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) { return a.content.size() > b.content.size(); });
  for (const AddedToken& token : tokens_) may_begin_[static_cast<unsigned char>(token.content[0])] = true;
  if (std::count(may_begin_.begin(), may_begin_.end(), true) == 1) only_first_ = tokens_[0].content[0];
}

std::optional<AddedTokens::Hit> AddedTokens::next(std::string_view text, size_t from) const {
  if (tokens_.empty()) return std::nullopt;
  for (size_t at = from; at < text.size(); ++at) {
    if (only_first_ != '\0') {
      at = text.find(only_first_, at);
      if (at == std::string_view::npos) return std::nullopt;
    } else if (!may_begin_[static_cast<unsigned char>(text[at])]) {
      continue;
    }
    for (const AddedToken& token : tokens_)
      if (text.substr(at).starts_with(token.content)) return Hit{at, at + token.content.size(), token.id};
  }
  return std::nullopt;
}

}  // namespace lodestone
