// Texts of a file that are not training records: one a line, or a field of JSON lines.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lodestone {

enum class TextFormat : uint8_t { automatic, lines, jsonl };

/// As options name it.
constexpr std::string_view name_of(TextFormat value) {
  switch (value) {
    case TextFormat::automatic:
      return "auto";
    case TextFormat::lines:
      return "text";
    case TextFormat::jsonl:
      return "jsonl";
  }
  return {};
}

/// All texts of a file, plain or .gz, in its order. Lines: a text each, empty ones too. JSON lines: the text in the field `field` of every
/// object; blank lines are passed over. Automatic: JSON lines where the name ends in .jsonl, .ndjson or .json, else lines. Throws Error
/// (data): F30 no such field, or no text in it, or automatic lines whose first is a JSON object; F31 not UTF-8; F32 an empty file.
std::vector<std::string> read_texts(const std::filesystem::path& file, TextFormat format, const std::string& field);

}  // namespace lodestone
