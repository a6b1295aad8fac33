// Writes a safetensors file tensor by tensor, each rounded to its dtype: only the one under way is in memory.
#pragma once

#include <span>
#include <vector>

#include "data/files/safetensors.h"

namespace lodestone {

class SafetensorsWriter {
 public:
  /// Begins the new file `path` (it must not exist) with the header of `tensors`, whose places in a file do not matter. Wider elements
  /// come first; dtypes are F64, F32, F16 or BF16. Throws Error (storage). Without finish() the file is removed.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<StoredTensor> tensors,
                    const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

  /// The tensor whose turn it is, in the order given.
  const StoredTensor& next() const { return tensors_[written_]; }
  /// Writes all its values, each as the nearest of its dtype, of two equally near the even one. values.size() == next().count.
  /// Throws Error (numerical, "F44") naming the tensor when a value is not finite there; Error (storage) as OutputFile does.
  void write(std::span<const double> values);
  /// Once all are written: brings the file to the device.
  void finish();

 private:
  std::filesystem::path path_;
  OutputFile file_;
  std::vector<StoredTensor> tensors_;
  size_t written_ = 0;
};

}  // namespace lodestone
