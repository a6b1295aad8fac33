#include "data/files/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "data/files/strict_json.h"

namespace lodestone {

static_assert(std::endian::native == std::endian::little, "the format stores little-endian numbers");

namespace {

constexpr uint64_t max_header_bytes = 100'000'000;
constexpr size_t piece_bytes = size_t{1} << 18;

Error refused(const std::string& what) { return Error(ExitCode::checkpoint, "F42", what, "fetch or export the file again"); }
Error refused(const std::string& name, const std::string& what) { return refused(what).at("tensor", name); }

float half_to_float(uint16_t h) {
  const uint32_t sign = uint32_t{h & 0x8000u} << 16, exponent = (h >> 10) & 31u, mantissa = h & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint64_t unsigned_number(const Json& value, const std::string& name, const char* what) {
  if (!value.is_number_unsigned()) throw refused(name, cat(what, " must be whole numbers that are not negative"));
  return value.get<uint64_t>();
}

StoredTensor parse_tensor(const std::string& name, const Json& info) {
  if (!info.is_object()) throw refused(name, "the header's entry is not an object");
  for (const auto& [key, value] : info.items())
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      throw refused(name, cat("the header's entry has the unknown key \"", key, "\""));
  StoredTensor tensor;
  tensor.name = name;
  const auto dtype = info.find("dtype"), shape = info.find("shape"), offsets = info.find("data_offsets");
  if (dtype == info.end() || !dtype->is_string()) throw refused(name, "the header gives no dtype");
  if (shape == info.end() || !shape->is_array()) throw refused(name, "the header gives no shape");
  if (offsets == info.end() || !offsets->is_array() || offsets->size() != 2)
    throw refused(name, "the header does not give two data_offsets");
  tensor.dtype = dtype->get<std::string>();
  const uint64_t size = element_size(tensor.dtype);
  if (size == 0) throw refused(name, cat("the dtype \"", tensor.dtype, "\" is unknown"));
  uint64_t count = 1;
  for (const Json& dim : *shape) {
    const uint64_t d = unsigned_number(dim, name, "dimensions");
    if (d > static_cast<uint64_t>(INT64_MAX) || __builtin_mul_overflow(count, d, &count))
      throw refused(name, "the product of the dimensions overflows");
    tensor.shape.push_back(static_cast<int64_t>(d));
  }
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes) || bytes > static_cast<uint64_t>(INT64_MAX))
    throw refused(name, "the size in bytes overflows");
  tensor.count = static_cast<int64_t>(count);
  tensor.begin = unsigned_number((*offsets)[0], name, "data_offsets");
  tensor.end = unsigned_number((*offsets)[1], name, "data_offsets");
  if (tensor.end < tensor.begin || tensor.end - tensor.begin != bytes)
    throw refused(
        name, cat("dtype and shape need ", bytes, " bytes, the data_offsets ", tensor.begin, " to ", tensor.end, " give another number"));
  return tensor;
}

/// out[i] = to_value of the i-th stored element, whose format is In.
template <class In, class Out, class ToValue>
void convert_each(std::span<const std::byte> raw, std::span<Out> out, const ToValue& to_value) {
  for (size_t i = 0; i < out.size(); ++i) {
    In stored;
    std::memcpy(&stored, raw.data() + i * sizeof(In), sizeof(In));
    out[i] = static_cast<Out>(to_value(stored));
  }
}

template <class Out>
void convert(std::string_view dtype, std::span<const std::byte> raw, std::span<Out> out) {
  if (dtype == "F32")
    convert_each<float>(raw, out, [](float x) { return x; });
  else if (dtype == "F64")
    convert_each<double>(raw, out, [](double x) { return x; });
  else if (dtype == "F16")
    convert_each<uint16_t>(raw, out, half_to_float);
  else
    convert_each<bfloat16>(raw, out, [](bfloat16 x) { return static_cast<float>(x); });
}

template <class Out>
void read_values(const SafetensorsReader& reader, const StoredTensor& tensor, std::span<Out> values) {
  LODE_CHECK(static_cast<int64_t>(values.size()) == tensor.count, tensor.name, " has ", tensor.count, " values, room is for ",
             values.size());
  if (tensor.dtype != "F32" && tensor.dtype != "F64" && tensor.dtype != "F16" && tensor.dtype != "BF16")
    throw refused(tensor.name, cat("values of dtype ", tensor.dtype, " cannot be used as weights (F32, F64, F16 and BF16 can)"))
        .at("file", reader.path().string());
  const size_t size = element_size(tensor.dtype), step = piece_bytes / size;
  std::vector<std::byte> raw;
  for (size_t first = 0; first < values.size(); first += step) {
    const auto part = values.subspan(first, std::min(step, values.size() - first));
    if (tensor.dtype == "F32" && std::is_same_v<Out, float>) {
      reader.read_bytes(tensor, first * size, std::as_writable_bytes(part));
    } else {
      raw.resize(part.size() * size);
      reader.read_bytes(tensor, first * size, raw);
      convert(tensor.dtype, raw, part);
    }
    for (size_t i = 0; i < part.size(); ++i)
      if (!std::isfinite(part[i]))
        throw refused(tensor.name, cat("element ", first + i, " is ", part[i], ", weights must be finite"))
            .at("file", reader.path().string());
  }
}

const char* format_name(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "F64";
    case DType::f32:
      return "F32";
    case DType::bf16:
      return "BF16";
    case DType::i32:
      return "I32";
    case DType::i64:
      return "I64";
    case DType::u8:
      return "U8";
  }
  throw_internal(__FILE__, __LINE__, "dtype", "no such number format");
}

}  // namespace

uint64_t element_size(std::string_view dtype) {
  struct Entry {
    std::string_view name;
    uint64_t size;
  };
  static constexpr std::array entries{Entry{"BOOL", 1},    Entry{"U8", 1},  Entry{"I8", 1},  Entry{"F8_E5M2", 1},
                                      Entry{"F8_E4M3", 1}, Entry{"I16", 2}, Entry{"U16", 2}, Entry{"F16", 2},
                                      Entry{"BF16", 2},    Entry{"I32", 4}, Entry{"U32", 4}, Entry{"F32", 4},
                                      Entry{"F64", 8},     Entry{"I64", 8}, Entry{"U64", 8}, Entry{"C64", 8}};
  for (const Entry& e : entries)
    if (e.name == dtype) return e.size;
  return 0;
}

SafetensorsReader::SafetensorsReader(const std::filesystem::path& path) : file_(path, ExitCode::checkpoint) {
  try {
    if (file_.size() < 8) throw refused(cat("the file has ", file_.size(), " bytes, too few for a header"));
    uint64_t length = 0;
    file_.read(0, std::as_writable_bytes(std::span(&length, 1)));
    if (length > max_header_bytes)
      throw refused(cat("the header claims ", length, " bytes, at most ", max_header_bytes, " are allowed")).at("offset", 0);
    if (length > file_.size() - 8) throw refused(cat("the header claims ", length, " bytes, the file has ", file_.size())).at("offset", 0);
    std::string bytes(8 + static_cast<size_t>(length), '\0');
    file_.read(0, std::as_writable_bytes(std::span(bytes)));
    header_checksum_ = checksum(bytes);
    parse_header(std::string_view(bytes).substr(8), file_.size() - bytes.size());
    for (StoredTensor& t : tensors_) {
      t.begin += bytes.size();
      t.end += bytes.size();
    }
  } catch (Error& error) {
    error.at("file", path.string());
    throw;
  }
}

void SafetensorsReader::parse_header(std::string_view header, uint64_t data_bytes) {
  if (header.empty() || header[0] != '{') throw refused("the header does not begin with '{'").at("offset", 8);
  const Json json = parse_strict_json(header, ExitCode::checkpoint, "F42");
  for (const auto& [name, info] : json.items()) {
    if (name != "__metadata__") {
      tensors_.push_back(parse_tensor(name, info));
      continue;
    }
    if (!info.is_object()) throw refused("__metadata__ is not an object");
    for (const auto& [key, value] : info.items()) {
      if (!value.is_string()) throw refused(cat("__metadata__ has the key \"", key, "\" whose value is not a string"));
      metadata_[key] = value.get<std::string>();
    }
  }
  std::sort(tensors_.begin(), tensors_.end(),
            [](const StoredTensor& a, const StoredTensor& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  uint64_t expected = 0;
  for (const StoredTensor& t : tensors_) {
    if (t.begin != expected)
      throw refused(t.name, cat(t.begin < expected ? "overlaps the tensor before it" : "leaves a hole before it", ": begins at ", t.begin,
                                ", not ", expected));
    expected = t.end;
    by_name_.emplace(t.name, static_cast<size_t>(&t - tensors_.data()));
  }
  if (expected > data_bytes)
    throw refused(tensors_.back().name, cat("the file was cut: its tensors need ", expected, " bytes, it has ", data_bytes));
  if (expected < data_bytes)
    throw refused(cat(data_bytes - expected, " bytes follow the last tensor")).at("offset", 8 + header.size() + expected);
}

const StoredTensor* SafetensorsReader::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

void SafetensorsReader::read(const StoredTensor& tensor, std::span<float> values) const { read_values(*this, tensor, values); }
void SafetensorsReader::read(const StoredTensor& tensor, std::span<double> values) const { read_values(*this, tensor, values); }

void SafetensorsReader::read_bytes(const StoredTensor& tensor, uint64_t begin, std::span<std::byte> bytes) const {
  LODE_CHECK(begin + bytes.size() <= tensor.end - tensor.begin, "bytes ", begin, " to ", begin + bytes.size(), " of ", tensor.name);
  file_.read(tensor.begin + begin, bytes);
}

std::string safetensors_header(std::span<const StoredTensor> tensors, const std::map<std::string, std::string>& metadata) {
  OrderedJson json;
  if (!metadata.empty()) json["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const StoredTensor& t : tensors) {
    const uint64_t size = element_size(t.dtype);
    LODE_CHECK(!json.contains(t.name), "the tensor ", t.name, " is to be written twice");
    LODE_CHECK(size > 0 && offset % size == 0, t.name, ": wider elements must come first");
    OrderedJson& info = json[t.name];
    info["dtype"] = t.dtype;
    info["shape"] = t.shape;
    const uint64_t end = offset + static_cast<uint64_t>(t.count) * size;
    info["data_offsets"] = {offset, end};
    offset = end;
  }
  std::string text = tensors.empty() && metadata.empty() ? "{}" : json.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const auto length = std::bit_cast<std::array<char, 8>>(static_cast<uint64_t>(text.size()));
  return std::string(length.begin(), length.end()) + text;
}

std::string safetensors_header(std::span<const NamedTensor> tensors, const std::map<std::string, std::string>& metadata) {
  std::vector<StoredTensor> described;
  for (const NamedTensor& t : tensors) {
    StoredTensor& d = described.emplace_back(StoredTensor{.name = t.name, .dtype = format_name(t.values.dtype()), .shape = {}});
    for (size_t i = 0; i < t.values.shape().rank(); ++i) d.shape.push_back(t.values.dim(i));
    d.count = t.values.count();
  }
  return safetensors_header(described, metadata);
}

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  OutputFile file(path);
  file.write(safetensors_header(tensors, metadata));
  for (const NamedTensor& t : tensors) file.write(std::span(t.values.bytes(), t.values.size_bytes()));
  file.finish();
}

}  // namespace lodestone
