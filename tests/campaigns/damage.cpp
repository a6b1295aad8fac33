#include "tests/campaigns/damage.h"

#include <algorithm>
#include <iterator>

#include "core/error.h"

namespace lodestone::test {

namespace {

using namespace std::string_view_literals;

/// What may stand where a number does: numbers out of range, words of other types, references of YAML.
constexpr std::string_view values[] = {
    "1e999", "-1",    "0", "99999999999999999999", "-9223372036854775808", "2147483648", "0x10", "010", "NaN", ".inf", "null", "true",
    "~",     "&a *a", "*a"};

/// What else parsers of text dislike: structure, line ends, bytes that are no UTF-8, YAML's extras.
constexpr std::string_view dislikes[] = {
    "\"",           "\\",           "{",       "}",         "[",           "]",           ",",        ":",
    "\n",           "\r\n",         "\t",      "'",         "\0"sv,        "\xff",        "\xc0\x80", "\xed\xa0\x80",
    "\xef\xbb\xbf", "\\ud800",      "\\u0000", "!!binary ", "!x ",         "%YAML 9.9\n", "---\n",    "...\n",
    "- ",           "? ",           "<<: ",    "|\n",       "{}",          "[]",          "\"\"",     "\xf0\x9f\x98\x80",
    "e\xcc\x81",    "\xe2\x80\xae", "../",     "/dev/zero", "\x1f\x8b\x08"};

std::string_view disliked(Draws& draws) {
  const size_t n = draws.below(std::size(values) + std::size(dislikes));
  return n < std::size(values) ? values[n] : dislikes[n - std::size(values)];
}

void flip(std::string& bytes, Draws& draws) {
  char& byte = bytes[draws.below(bytes.size())];
  byte = static_cast<char>(byte ^ (1 << draws.below(8)));
}

std::string nested(Draws& draws) { return std::string(1 + draws.below(5000), "[{("[draws.below(3)]); }

std::string repeated(std::string_view text, size_t times) {
  std::string all;
  while (times-- > 0) all += text;
  return all;
}

/// A nest that is closed again stands in JSON under a key of its own, or in place of a key's value, which another key gets.
void nest_value(std::string& bytes, Draws& draws) {
  const bool own_key = draws.below(2) == 0;
  const size_t at = bytes.find(own_key ? '{' : ':', draws.below(bytes.size()));
  if (at == std::string::npos) return flip(bytes, draws);
  const size_t depth = 1 + draws.below(draws.below(2) == 0 ? 100 : 100000);
  const bool lists = draws.below(2) == 0;
  const std::string nest = cat(repeated(lists ? "[" : "{\"a\":", depth), "1", repeated(lists ? "]" : "}", depth));
  bytes.insert(at + 1, own_key ? cat("\"nest\":", nest, ',') : cat(nest, ", \"moved\":"));
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
  bytes.replace(begin, end, std::string(values[draws.below(std::size(values))]));
}

void edit(std::string& bytes, Draws& draws) {
  const size_t at = draws.below(bytes.size());
  switch (draws.below(10)) {
    case 0:
      return flip(bytes, draws);
    case 1:
      bytes[at] = static_cast<char>(draws.next());
      return;
    case 2:
      bytes.insert(at, disliked(draws));
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
    case 8:
      return nest_value(bytes, draws);
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
