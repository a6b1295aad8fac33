#include "tests/campaigns/damage.h"

#include <algorithm>
#include <iterator>

#include "core/error.h"

namespace lodestone::test {

namespace {

using namespace std::string_view_literals;

/// What parsers of text dislike: structure, line ends, bytes that are no UTF-8, numbers out of range, words of other types, YAML's extras.
constexpr std::string_view dislikes[] = {"\"",
                                         "\\",
                                         "{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         ":",
                                         "\n",
                                         "\r\n",
                                         "\t",
                                         "'",
                                         "\0"sv,
                                         "\xff",
                                         "\xc0\x80",
                                         "\xed\xa0\x80",
                                         "\xef\xbb\xbf",
                                         "\\ud800",
                                         "\\u0000",
                                         "1e999",
                                         "-1",
                                         "0",
                                         "99999999999999999999",
                                         "-9223372036854775808",
                                         "2147483648",
                                         "0x10",
                                         "010",
                                         "NaN",
                                         ".inf",
                                         "null",
                                         "true",
                                         "~",
                                         "&a *a",
                                         "*a",
                                         "!!binary ",
                                         "!x ",
                                         "%YAML 9.9\n",
                                         "---\n",
                                         "...\n",
                                         "- ",
                                         "? ",
                                         "<<: ",
                                         "|\n",
                                         "{}",
                                         "[]",
                                         "\"\"",
                                         "\xf0\x9f\x98\x80",
                                         "e\xcc\x81",
                                         "\xe2\x80\xae",
                                         "../",
                                         "/dev/zero",
                                         "\x1f\x8b\x08"};

std::string nested(Draws& draws) { return std::string(1 + draws.below(5000), "[{("[draws.below(3)]); }

void flip(std::string& bytes, Draws& draws) {
  char& byte = bytes[draws.below(bytes.size())];
  byte = static_cast<char>(byte ^ (1 << draws.below(8)));
}

/// A piece of the bytes: mostly short.
std::string_view piece(const std::string& bytes, Draws& draws) {
  const size_t begin = draws.below(bytes.size());
  const size_t most = draws.below(4) == 0 ? bytes.size() : 16;
  return std::string_view(bytes).substr(begin, 1 + draws.below(most));
}

/// A run of digits becomes something else that could stand there.
void change_number(std::string& bytes, Draws& draws) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(draws.below(bytes.size()));
  const auto begin = std::find_if(from, bytes.end(), digit);
  const auto end = std::find_if_not(begin, bytes.end(), digit);
  if (begin == end) return flip(bytes, draws);
  const std::string other(dislikes[19 + draws.below(14)]);  // from 1e999 to *a
  bytes.replace(begin, end, other);
}

void edit(std::string& bytes, Draws& draws) {
  const size_t at = draws.below(bytes.size());
  switch (draws.below(9)) {
    case 0:
      return flip(bytes, draws);
    case 1:
      bytes[at] = static_cast<char>(draws.next());
      return;
    case 2:
      bytes.insert(at, dislikes[draws.below(std::size(dislikes))]);
      return;
    case 3:
      bytes.erase(at, piece(bytes, draws).size());
      return;
    case 4:
      bytes.insert(at, std::string(piece(bytes, draws)));
      return;
    case 5:
      bytes.resize(at);
      return;
    case 6: {
      const std::string other(piece(bytes, draws));
      bytes.replace(at, std::min(other.size(), bytes.size() - at), other);
      return;
    }
    case 7:
      return change_number(bytes, draws);
    default:
      bytes.insert(at, nested(draws));
  }
}

}  // namespace

std::string_view name_of(DamageKind kind) {
  switch (kind) {
    case DamageKind::flips:
      return "flips";
    case DamageKind::mutations:
      return "mutations";
  }
  throw_internal(__FILE__, __LINE__, "kind", "no such damage");
}

std::string damaged(DamageKind kind, std::string bytes, Draws& draws) {
  const std::string good = bytes;
  while (!good.empty() && bytes == good) {
    for (size_t left = 1 + draws.below(4); left > 0 && !bytes.empty(); --left) {
      switch (kind) {
        case DamageKind::flips:
          flip(bytes, draws);
          break;
        case DamageKind::mutations:
          edit(bytes, draws);
          break;
      }
    }
  }
  return bytes;
}

}  // namespace lodestone::test
