// Verifies and loads checkpoints: every byte is covered by a checksum, and every damage is named.
#include <algorithm>
#include <charconv>
#include <cstring>

#include "data/checkpoints/checkpoint_format.h"
#include "data/files/strict_json.h"

namespace lodestone {

namespace fs = std::filesystem;
using namespace checkpoint_format;

namespace {

constexpr size_t max_document_bytes = size_t{1} << 30;
constexpr int64_t piece_bytes = int64_t{1} << 20;

Error damaged(const char* code, const std::string& what, const fs::path& file) {
  return Error(ExitCode::checkpoint, code, what, "an older checkpoint is used where there is one").at("file", file.string());
}

uint64_t parse_hex(const std::string& text, const fs::path& file) {
  uint64_t value = 0;
  const auto end = text.data() + text.size();
  if (text.size() != 16 || std::from_chars(text.data(), end, value, 16).ptr != end)
    throw damaged("F22", cat("\"", text, "\" is not a checksum"), file);
  return value;
}

/// A name listed in a manifest must lie in the folder itself.
fs::path inside(const fs::path& folder, const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
    throw damaged("F22", cat("the manifest names the file \"", name, "\" outside of its folder"), folder / manifest_file);
  return folder / name;
}

std::string read_whole(const fs::path& file) {
  if (!path_exists(file)) throw damaged("F23", "the file is missing", file);
  return read_text_file(file, max_document_bytes, ExitCode::checkpoint);
}

Json manifest_json(const fs::path& file) {
  std::string text = read_whole(file);
  const size_t key = text.rfind(checksum_key);
  const size_t at = key + std::string_view(checksum_key).size();
  if (key == std::string::npos || at + checksum_digits > text.size()) throw damaged("F23", "the manifest is cut", file);
  const std::string stored = text.substr(at, checksum_digits);
  text.replace(at, checksum_digits, std::string(checksum_digits, '0'));
  if (hex64(checksum(text)) != stored) throw damaged("F22", "the manifest does not match its checksum", file);
  return parse_strict_json(text, ExitCode::checkpoint, "F22");
}

DType dtype_named(const std::string& name, const fs::path& file) {
  for (const DType t : {DType::f32, DType::f64})
    if (name == name_of(t)) return t;
  throw damaged("F22", cat("a vector of dtype ", name), file);
}

CheckpointManifest parse_manifest(const fs::path& folder, const Json& json) {
  const fs::path file = folder / manifest_file;
  if (json.at("format") != version)
    throw Error(ExitCode::checkpoint, "F26", cat("the format is ", json.at("format").dump(), ", this program reads ", version),
                "use the program version that wrote it")
        .at("file", file.string());
  CheckpointManifest m;
  m.step = json.at("step").get<int64_t>();
  m.save_id = parse_hex(json.at("save_id").get<std::string>(), file);
  m.world_size = json.at("world_size").get<int64_t>();
  m.fingerprints = json.at("fingerprints").get<std::map<std::string, std::string>>();
  for (const auto& [name, info] : json.at("documents").items()) {
    std::string text = read_whole(inside(folder, name));
    if (text.size() != info.at("size_bytes").get<size_t>())
      throw damaged("F23", cat("the file has ", text.size(), " bytes, not ", info.at("size_bytes").get<size_t>()), folder / name);
    if (hex64(checksum(text)) != info.at("xxh3")) throw damaged("F22", "the file does not match its checksum", folder / name);
    m.documents[name] = std::move(text);
  }
  for (const Json& part : json.at("parts")) {
    const auto name = part.at("file").get<std::string>();
    inside(folder, name);
    m.parts.push_back({name, part.at("size_bytes").get<uint64_t>(), parse_hex(part.at("header_xxh3").get<std::string>(), file)});
  }
  for (const auto& [name, dtype] : json.at("vectors").items()) m.vectors[name] = dtype_named(dtype.get<std::string>(), file);
  for (const Json& tensor : json.at("tensors"))
    m.tensors.emplace_back(tensor.at("name").get<std::string>(), tensor.at("shape").get<std::vector<int64_t>>());
  return m;
}

SafetensorsReader open_part(const fs::path& folder, const CheckpointManifest& manifest, const CheckpointPart& part) {
  const fs::path file = folder / part.file;
  std::error_code error;
  const auto size = fs::file_size(file, error);
  if (error) throw damaged("F23", "the file is missing", file);
  if (size != part.size_bytes) throw damaged("F23", cat("the file has ", size, " bytes, not ", part.size_bytes), file);
  try {
    SafetensorsReader reader(file);
    const auto id = reader.metadata().find("save_id");
    if (id != reader.metadata().end() && id->second != hex64(manifest.save_id))
      throw damaged("F24", cat("this part belongs to the save ", id->second, ", not to ", hex64(manifest.save_id)), file);
    if (reader.header_checksum() != part.header_checksum) throw damaged("F22", "the header does not match its checksum", file);
    return reader;
  } catch (const Error& bad) {
    if (bad.code() != "F42") throw;
    throw damaged("F22", cat("the header is damaged: ", bad.what()), file);
  }
}

void expect_checksum(const SafetensorsReader& reader, const StoredTensor& tensor, uint64_t actual) {
  const auto stored = reader.metadata().find(tensor_checksum_prefix + tensor.name);
  if (stored == reader.metadata().end() || stored->second != hex64(actual))
    throw damaged("F22", "the tensor does not match its checksum", reader.path()).at("tensor", tensor.name);
}

/// Reads the whole tensor in pieces, verifies its checksum, and copies its bytes [wanted.begin, wanted.end) to `place`.
void read_tensor(const SafetensorsReader& reader, const StoredTensor& tensor, Slice wanted, std::byte* place) {
  const auto size = static_cast<int64_t>(tensor.end - tensor.begin);
  Checksum sum;
  std::vector<std::byte> piece(static_cast<size_t>(std::min(piece_bytes, size)));
  for (int64_t at = 0; at < size; at += piece_bytes) {
    const auto bytes = std::span(piece).first(static_cast<size_t>(std::min(piece_bytes, size - at)));
    reader.read_bytes(tensor, static_cast<uint64_t>(at), bytes);
    sum.add(bytes);
    const int64_t begin = std::max(wanted.begin, at), end = std::min(wanted.end, at + static_cast<int64_t>(bytes.size()));
    if (begin < end) std::memcpy(place + (begin - wanted.begin), bytes.data() + (begin - at), static_cast<size_t>(end - begin));
  }
  expect_checksum(reader, tensor, sum.value());
}

/// Which ranges of which tensors were seen.
class Coverage {
 public:
  void add(const RangeName& name, const fs::path& file) { seen_[{name.vector, name.param}].push_back({name.range, file}); }
  /// Every tensor of every vector exactly once.
  void expect_complete(const CheckpointManifest& manifest, const std::map<std::string, DType>& vectors, const fs::path& folder) {
    for (const auto& [vector, dtype] : vectors)
      for (const auto& [param, shape] : manifest.tensors) {
        int64_t count = 1, next = 0;
        for (const int64_t d : shape) count *= d;
        auto& ranges = seen_[{vector, param}];
        std::sort(ranges.begin(), ranges.end(), [](const Seen& a, const Seen& b) { return a.range.begin < b.range.begin; });
        for (const Seen& r : ranges) {
          if (r.range.begin != next)
            throw damaged("F23", cat("elements ", next, " to ", r.range.begin, " are missing or there twice"), r.file)
                .at("tensor", cat(vector, "/", param));
          next = r.range.end;
        }
        if (next != count)
          throw damaged("F23", cat("elements from ", next, " of ", count, " are missing"), folder).at("tensor", cat(vector, "/", param));
      }
  }

 private:
  struct Seen {
    Slice range;
    fs::path file;
  };
  std::map<std::pair<std::string, std::string>, std::vector<Seen>> seen_;
};

RangeName range_of(const StoredTensor& tensor, const fs::path& file) {
  RangeName name = parse_range_name(tensor.name);
  if (name.range.count() != tensor.count)
    throw damaged("F22", cat("the name says ", name.range.count(), " elements, the tensor has ", tensor.count), file)
        .at("tensor", tensor.name);
  return name;
}

const char* stored_name(DType dtype) { return dtype == DType::f64 ? "F64" : "F32"; }

}  // namespace

CheckpointManifest read_manifest(const fs::path& checkpoint) {
  if (!path_exists(checkpoint)) throw damaged("F23", "the checkpoint does not exist", checkpoint);
  const fs::path file = checkpoint / manifest_file;
  try {
    return parse_manifest(checkpoint, manifest_json(file));
  } catch (const Json::exception& error) {
    throw damaged("F22", cat("the manifest is not as written: ", error.what()), file);
  }
}

CheckpointManifest verify_checkpoint(const fs::path& checkpoint) {
  CheckpointManifest manifest = read_manifest(checkpoint);
  Coverage coverage;
  for (const CheckpointPart& part : manifest.parts) {
    const SafetensorsReader reader = open_part(checkpoint, manifest, part);
    for (const StoredTensor& tensor : reader.tensors()) {
      read_tensor(reader, tensor, {}, nullptr);
      coverage.add(range_of(tensor, reader.path()), reader.path());
    }
  }
  coverage.expect_complete(manifest, manifest.vectors, checkpoint);
  return manifest;
}

void load_checkpoint(const fs::path& checkpoint, const ParamLayout& layout, std::span<const CheckpointVector> vectors) {
  const CheckpointManifest manifest = read_manifest(checkpoint);
  const auto foreign = [&](const std::string& what, const std::string& tensor) {
    return Error(ExitCode::checkpoint, "F26", what, "use the model configuration of the run that wrote it, or another output folder")
        .at("tensor", tensor)
        .at("file", (checkpoint / manifest_file).string());
  };
  const auto shapes = shapes_of(layout);
  for (size_t i = 0; i < std::max(shapes.size(), manifest.tensors.size()); ++i) {
    if (i >= shapes.size()) throw foreign("the checkpoint holds a tensor that this model has not", manifest.tensors[i].first);
    if (std::find(manifest.tensors.begin(), manifest.tensors.end(), shapes[i]) == manifest.tensors.end())
      throw foreign("the checkpoint lacks this tensor or holds it in another shape", shapes[i].first);
  }
  std::map<std::string, DType> wanted;
  for (const CheckpointVector& v : vectors) {
    const auto stored = manifest.vectors.find(v.name);
    if (stored == manifest.vectors.end()) throw foreign("the checkpoint lacks this vector", v.name);
    if (stored->second != v.values.dtype())
      throw foreign(cat("the checkpoint holds ", name_of(stored->second), ", this run uses ", name_of(v.values.dtype())), v.name);
    LODE_CHECK(0 <= v.begin && v.held().end <= layout.count(), v.name, " holds elements ", v.begin, " to ", v.held().end,
               ", the layout has ", layout.count());
    wanted[v.name] = stored->second;
  }
  Coverage coverage;
  for (const CheckpointPart& part : manifest.parts) {
    const SafetensorsReader reader = open_part(checkpoint, manifest, part);
    for (const StoredTensor& tensor : reader.tensors()) {
      const RangeName name = range_of(tensor, reader.path());
      const auto vector = std::find_if(vectors.begin(), vectors.end(), [&](const CheckpointVector& v) { return v.name == name.vector; });
      if (vector == vectors.end()) continue;
      const bool known = layout.contains(name.param) && name.range.end <= layout.find(name.param).slice.count() &&
                         tensor.dtype == stored_name(vector->values.dtype());
      if (!known) throw damaged("F22", "the tensor does not belong to its manifest", reader.path()).at("tensor", tensor.name);
      coverage.add(name, reader.path());
      const int64_t first = layout.find(name.param).slice.begin;
      const Slice stored{first + name.range.begin, first + name.range.end}, held = vector->held();
      const Slice both{std::max(stored.begin, held.begin), std::min(stored.end, held.end)};
      if (both.begin >= both.end) continue;
      const auto element = static_cast<int64_t>(size_of(vector->values.dtype()));
      read_tensor(reader, tensor, {(both.begin - stored.begin) * element, (both.end - stored.begin) * element},
                  vector->values.slice({both.begin - held.begin, both.end - held.begin}).bytes());
    }
  }
  coverage.expect_complete(manifest, wanted, checkpoint);
}

namespace checkpoint_format {

RangeName parse_range_name(const std::string& text) {
  const size_t slash = text.find('/'), open = text.rfind('['), colon = text.rfind(':');
  RangeName name;
  const auto number = [&](size_t begin, size_t end, int64_t& value) {
    return std::from_chars(text.data() + begin, text.data() + end, value).ptr == text.data() + end;
  };
  const bool good = slash != std::string::npos && open != std::string::npos && colon != std::string::npos && slash < open &&
                    open + 1 < colon && text.ends_with(']') && number(open + 1, colon, name.range.begin) &&
                    number(colon + 1, text.size() - 1, name.range.end) && 0 <= name.range.begin && name.range.begin <= name.range.end;
  if (!good) throw Error(ExitCode::checkpoint, "F22", "this is not the name of a checkpoint's tensor").at("tensor", text);
  name.vector = text.substr(0, slash);
  name.param = text.substr(slash + 1, open - slash - 1);
  return name;
}

}  // namespace checkpoint_format

}  // namespace lodestone
