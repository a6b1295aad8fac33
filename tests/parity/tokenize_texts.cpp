// Writes the token ids of each text of a file, for comparison with other tokenizers, or times the work.
//   tokenize_texts ids  VOCAB_OR_FOLDER TEXTS OUT [OPTION...]     OUT: for each text an int32 count, then the ids as int32
//   tokenize_texts time VOCAB_OR_FOLDER TEXTS REPEATS [OPTION...] prints seconds, CPU seconds and number of ids of each one
// TEXTS: each text ends in a byte 0xFF, which is in no UTF-8. OPTION: cased keep_accents strip_accents keep_chinese keep_controls
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "data/text/tokenizer.h"

namespace lodestone {
namespace {

std::vector<std::string_view> texts_of(std::string_view text) {
  std::vector<std::string_view> texts;
  while (!text.empty()) {
    const size_t end = text.find('\xFF');
    texts.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return texts;
}

Tokenizer open(const std::string& path, const std::vector<std::string>& names) {
  if (std::filesystem::is_directory(path)) return Tokenizer::from_folder(path);
  TokenizerOptions options;
  for (const std::string& name : names) {
    if (name == "cased") options.lower_case = options.strip_accents = false;
    if (name == "keep_accents") options.strip_accents = false;
    if (name == "strip_accents") options.strip_accents = true;
    if (name == "keep_chinese") options.split_chinese_characters = false;
    if (name == "keep_controls") options.clean_text = false;
  }
  return Tokenizer::from_vocab(path, options);
}

void write_ids(const Tokenizer& tokenizer, const std::vector<std::string_view>& texts, const std::string& file) {
  std::ofstream out(file, std::ios::binary);
  Tokenizer::Scratch scratch;
  std::vector<int32_t> ids;
  for (const std::string_view text : texts) {
    ids.assign(1, 0);
    tokenizer.encode(text, scratch, ids);
    ids[0] = static_cast<int32_t>(ids.size() - 1);
    out.write(reinterpret_cast<const char*>(ids.data()), static_cast<std::streamsize>(ids.size() * sizeof(int32_t)));
  }
  LODE_CHECK(out.flush(), "cannot write ", file);
}

void print_seconds(const Tokenizer& tokenizer, const std::vector<std::string_view>& texts, int repeats) {
  Tokenizer::Scratch scratch;
  std::vector<int32_t> ids;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t cpu_start = std::clock();
    size_t total = 0;
    for (const std::string_view text : texts) {
      ids.clear();
      tokenizer.encode(text, scratch, ids);
      total += ids.size();
    }
    const double cpu_seconds = static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("%.6f %.6f %zu\n", seconds.count(), cpu_seconds, total);
  }
}

int run(const std::vector<std::string>& arguments) {
  LODE_CHECK(arguments.size() >= 5, "usage: tokenize_texts ids|time VOCAB_OR_FOLDER TEXTS OUT|REPEATS [OPTION...]");
  const Tokenizer tokenizer = open(arguments[2], {arguments.begin() + 5, arguments.end()});
  std::ostringstream text;
  text << std::ifstream(arguments[3], std::ios::binary).rdbuf();
  const std::string all = std::move(text).str();
  const std::vector<std::string_view> texts = texts_of(all);
  if (arguments[1] == "time")
    print_seconds(tokenizer, texts, std::stoi(arguments[4]));
  else
    write_ids(tokenizer, texts, arguments[4]);
  return 0;
}

}  // namespace
}  // namespace lodestone

int main(int argc, char** argv) {
  try {
    return lodestone::run({argv, argv + argc});
  } catch (const lodestone::Error& e) {
    std::cerr << "error: " << e.code() << ' ' << e.what() << "; " << e.where() << "; do: " << e.remedy() << '\n';
    return static_cast<int>(e.exit_code());
  }
}
