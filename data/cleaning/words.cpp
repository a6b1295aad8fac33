#include "data/cleaning/words.h"

namespace lodestone {

namespace {

void append_spaced(const Letters& letters, std::string_view text, std::string& out) {
  const size_t begin = out.size();
  bool blank = false;
  const char* const end = text.data() + text.size();
  const auto append = [&](const char* bytes, size_t count) {
    if (blank && out.size() > begin) out += ' ';
    blank = false;
    out.append(bytes, count);
  };
  for (const char* p = text.data(); p < end;) {
    const char* const visible = p;  // a run of ASCII without blanks
    while (p<end&& * p> ' ' && *p < '\x7F') ++p;
    if (p > visible) append(visible, static_cast<size_t>(p - visible));
    if (p == end) return;
    const Decoded next = decode_utf8(p, end);
    if (letters.at(next.c).kind() == CharacterKind::space)
      blank = true;
    else
      append(p, next.length);
    p += next.length;
  }
}

/// The words with a blank behind each; of a text without words, its form but for white space.
void append_joined(const Letters& letters, std::string_view text, std::string& scratch, std::string& out) {
  const size_t begin = out.size();
  for_each_word(letters, text, scratch, [&](std::string_view word) { (out += word) += ' '; });
  if (out.size() == begin) append_spaced(letters, text, out);
}

}  // namespace

void append_word_hashes(const Letters& letters, std::string_view text, std::string& scratch, std::vector<uint64_t>& hashes) {
  for_each_word(letters, text, scratch, [&](std::string_view word) { hashes.push_back(checksum(word)); });
}

void append_form(const Letters& letters, std::string_view text, Sameness sameness, std::string& scratch, std::string& out) {
  switch (sameness) {
    case Sameness::bytes:
      out += text;
      return;
    case Sameness::spaces:
      return append_spaced(letters, text, out);
    case Sameness::words:
      return append_joined(letters, text, scratch, out);
  }
  throw_internal(__FILE__, __LINE__, "sameness", "no such sameness");
}

}  // namespace lodestone
