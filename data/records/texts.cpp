#include "data/records/texts.h"

#include <algorithm>

#include "data/files/utf8.h"
#include "data/records/inputs.h"
#include "data/records/jsonl.h"

namespace lodestone {

namespace {

/// Whether the first line of a file is a JSON object.
bool begins_with_object(const std::filesystem::path& file) {
  LineReader lines = LineReader::whole(file);
  const auto first = lines.next();
  if (!first || !first->text.starts_with('{')) return false;
  JsonLines objects(LineReader::whole(file));
  try {
    return objects.next();
  } catch (const BadRow&) {
    return false;
  }
}

std::string names_of(std::span<const Field> fields) {
  std::string names;
  for (const Field& f : fields) names += cat(names.empty() ? "" : ", ", f.name);
  return names;
}

std::vector<std::string> texts_of_lines(const std::filesystem::path& file) {
  std::vector<std::string> texts;
  LineReader lines = LineReader::whole(file);
  while (const auto line = lines.next()) {
    if (const auto bad = validate_utf8(line->text))
      throw Error(ExitCode::data, "F31", "the text is not UTF-8", "convert the file to UTF-8")
          .at("file", file.string())
          .at("line", line->number)
          .at("offset", line->offset + static_cast<int64_t>(*bad));
    texts.emplace_back(line->text);
  }
  return texts;
}

std::vector<std::string> texts_of_objects(const std::filesystem::path& file, const std::string& name) {
  std::vector<std::string> texts;
  JsonLines objects(LineReader::whole(file));
  while (objects.next()) {
    const std::span<const Field> fields = objects.fields();
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == name; });
    if (field == fields.end())
      throw objects.located(Error(ExitCode::data, "F30", cat("the object has no field ", name, "; it has ", names_of(fields)),
                                  "name the field of the texts with --field"));
    if (field->kind != Field::Kind::text)
      throw objects.located(
          Error(ExitCode::data, "F30", "the field holds no text", "name the field of the texts with --field").at("field", name));
    texts.emplace_back(field->texts[0]);
  }
  return texts;
}

}  // namespace

std::vector<std::string> read_texts(const std::filesystem::path& file, TextFormat format, const std::string& field) {
  const bool automatic = format == TextFormat::automatic;
  const bool objects = automatic ? format_by_name(file) == InputFormat::jsonl : format == TextFormat::jsonl;
  if (automatic && !objects && begins_with_object(file))
    throw Error(ExitCode::data, "F30", "the first line is a JSON object, and a text a line is read",
                "give --format jsonl to read the texts of its objects, or --format text to take its lines as they are")
        .at("file", file.string());
  std::vector<std::string> texts = objects ? texts_of_objects(file, field) : texts_of_lines(file);
  if (texts.empty()) throw Error(ExitCode::data, "F32", "the file is empty", "give one text a line").at("file", file.string());
  return texts;
}

}  // namespace lodestone
