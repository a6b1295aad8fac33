// Where is the next token that is recognised in the text as written, such as [SEP]?
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lodestone {

struct AddedToken {
  std::string content;  // not empty
  int32_t id;
};

class AddedTokens {
 public:
  struct Hit {
    size_t begin, end;  // in bytes of the text
    int32_t id;
  };
  explicit AddedTokens(std::vector<AddedToken> tokens);

  /// The leftmost hit that begins at or after `from`; of several that begin there, the longest.
  std::optional<Hit> next(std::string_view text, size_t from) const;
  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  std::vector<AddedToken> tokens_;     // longest first
  std::array<bool, 256> may_begin_{};  // first bytes
  char only_first_ = '\0';             // the first byte, if all tokens share it: then memchr finds candidates
};

}  // namespace lodestone
