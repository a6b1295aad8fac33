// The safetensors file format: a checked reader and an atomic writer.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "data/files/durable.h"

namespace lodestone {

/// One tensor of a file, as its header describes it (all of it checked against the file's size).
struct StoredTensor {
  std::string name;
  std::string dtype;            // the format's own name: "F32", "BF16", "I64" ...
  std::vector<int64_t> shape;   // any rank; empty for a scalar
  int64_t count = 1;            // elements
  uint64_t begin = 0, end = 0;  // bytes of the file, counted from its start
};

/// Layout: 8 bytes header length (little-endian), JSON header, tensors without gaps up to the end of the file.
/// The constructor accepts a file only when all of this holds, and allocates nothing that the file merely claims: header
/// at most 100 MB and inside the file, beginning with '{', valid UTF-8 JSON without repeated keys, "__metadata__" of strings
/// only; known dtypes; bytes = product of the shape times the element size without overflow; offsets in order, no overlap,
/// no hole, the last end is the file's end.
/// Every refusal is Error (checkpoint, "F42") naming file and tensor or offset.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }  // in the order of their bytes
  const StoredTensor* find(std::string_view name) const;                 // nullptr when absent
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  uint64_t size_bytes() const { return file_.size(); }
  /// XXH3-64 of everything before the first tensor.
  uint64_t header_checksum() const { return header_checksum_; }

  /// Values of an F64, F32, F16 or BF16 tensor, converted. values.size() == tensor.count.
  /// Throws Error (checkpoint, "F42") for other dtypes and for NaN or infinity, naming tensor and element.
  void read(const StoredTensor& tensor, std::span<float> values) const;
  void read(const StoredTensor& tensor, std::span<double> values) const;
  /// Stored bytes [begin, begin + bytes.size()) of the tensor, as they are.
  void read_bytes(const StoredTensor& tensor, uint64_t begin, std::span<std::byte> bytes) const;

 private:
  void parse_header(std::string_view header, uint64_t data_bytes);

  InputFile file_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, size_t, std::less<>> by_name_;
  std::map<std::string, std::string> metadata_;
  uint64_t header_checksum_ = 0;
};

/// What to write: a tensor under a name, with its shape and its own dtype (f64, f32, bf16, i64, i32, u8).
struct NamedTensor {
  std::string name;
  ConstTensor values;
};

/// The header of such a file, with its length in front; tensors follow in the given order without gaps.
/// Wider elements must come before narrower ones, so that each is aligned.
std::string safetensors_header(std::span<const NamedTensor> tensors, const std::map<std::string, std::string>& metadata);
/// The same of tensors by name, dtype and shape; their places in a file they were read from do not matter.
std::string safetensors_header(std::span<const StoredTensor> tensors, const std::map<std::string, std::string>& metadata);

/// Bytes of an element of a dtype by the format's name ("F32": 4); 0 for one that it does not know.
uint64_t element_size(std::string_view dtype);

/// Writes the new file `path` (it must not exist) and brings it to the device. A failure leaves no file behind.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace lodestone
