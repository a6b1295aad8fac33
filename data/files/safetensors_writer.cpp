#include "data/files/safetensors_writer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace lodestone {

namespace {

constexpr size_t piece_values = size_t{1} << 16;

/// A binary format of 16 bits, whose numbers are multiples of 2^least, and of more where they have more than `digits` bits.
struct Narrow {
  int digits, least;
  double largest;
};
constexpr Narrow half{11, -24, 65504};
constexpr Narrow brain{8, -133, 0x1.fep127};

/// The number of the format that is nearest; infinite beyond the largest. A double holds it exactly.
double nearest(double x, const Narrow& format) {
  if (!std::isfinite(x)) return x;
  int exponent = 0;
  std::frexp(x, &exponent);
  const int unit = std::max(exponent - format.digits, format.least);
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
  return std::fabs(rounded) > format.largest ? std::copysign(std::numeric_limits<double>::infinity(), x) : rounded;
}

/// The bits of an F16 number; `x` is one.
uint16_t half_bits(double x) {
  const unsigned sign = std::signbit(x) ? 0x8000u : 0u;
  int exponent = 0;
  const double fraction = std::frexp(std::fabs(x), &exponent);  // in [1/2, 1)
  if (fraction == 0 || exponent < -13)
    return static_cast<uint16_t>(sign | static_cast<unsigned>(std::ldexp(std::fabs(x), 24)));  // a multiple of 2^-24
  const auto mantissa = static_cast<unsigned>(std::ldexp(fraction, 11)) & 0x3ffu;
  return static_cast<uint16_t>(sign | (static_cast<unsigned>(exponent + 14) << 10) | mantissa);
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<StoredTensor> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : path_(path), file_(path), tensors_(std::move(tensors)) {
  file_.write(safetensors_header(std::span<const StoredTensor>(tensors_), metadata));
}

namespace {

/// Writes to_stored(value) of each value. Returns the first value that is not finite there, or nothing.
template <class Stored, class ToStored>
std::optional<double> write_as(OutputFile& file, std::span<const double> values, const ToStored& to_stored) {
  std::vector<Stored> piece;
  for (size_t first = 0; first < values.size(); first += piece_values) {
    piece.clear();
    for (const double x : values.subspan(first, std::min(piece_values, values.size() - first))) {
      const std::optional<Stored> stored = to_stored(x);
      if (!stored) return x;
      piece.push_back(*stored);
    }
    file.write(std::as_bytes(std::span(piece)));
  }
  return std::nullopt;
}

template <class Stored>
std::optional<Stored> if_finite(double rounded, Stored stored) {
  return std::isfinite(rounded) ? std::optional(stored) : std::nullopt;
}

std::optional<double> write_values(OutputFile& file, const std::string& dtype, std::span<const double> values) {
  if (dtype == "F64") return write_as<double>(file, values, [](double x) { return if_finite(x, x); });
  if (dtype == "F32")
    return write_as<float>(file, values, [](double x) { return if_finite(static_cast<float>(x), static_cast<float>(x)); });
  if (dtype == "F16")
    return write_as<uint16_t>(file, values, [](double x) {
      const double rounded = nearest(x, half);
      return std::isfinite(rounded) ? std::optional(half_bits(rounded)) : std::nullopt;
    });
  LODE_CHECK(dtype == "BF16", "values are written as F64, F32, F16 or BF16, not as ", dtype);
  return write_as<bfloat16>(file, values, [](double x) {
    const double rounded = nearest(x, brain);
    return if_finite(rounded, bfloat16(static_cast<float>(rounded)));
  });
}

}  // namespace

void SafetensorsWriter::write(std::span<const double> values) {
  LODE_CHECK(written_ < tensors_.size(), "all ", written_, " tensors are written");
  const StoredTensor& tensor = tensors_[written_];
  LODE_CHECK(std::ssize(values) == tensor.count, tensor.name, " has ", tensor.count, " values, not ", values.size());
  if (const std::optional<double> bad = write_values(file_, tensor.dtype, values))
    throw Error(ExitCode::numerical, "F44", cat("a value of ", *bad, " is not finite as ", tensor.dtype),
                "use weights nearer to each other")
        .at("tensor", tensor.name)
        .at("file", path_.string());
  ++written_;
}

void SafetensorsWriter::finish() {
  LODE_CHECK(written_ == tensors_.size(), written_, " of ", tensors_.size(), " tensors are written");
  file_.finish();
}

}  // namespace lodestone
