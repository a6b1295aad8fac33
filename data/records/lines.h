// LineReader: the lines of a text file one after another, with number and byte offset, in bounded memory.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "data/records/byte_stream.h"

namespace lodestone {

constexpr int64_t max_line_bytes = int64_t{16} << 20;
/// Readable bytes behind every line: what vectorised parsers may touch.
constexpr size_t line_padding = 64;

struct Line {
  std::string_view text;        // without line end; valid until the next call, line_padding bytes behind it are readable
  int64_t number = 0;           // from 1, counted from where the reader began
  int64_t offset = 0;           // of its first byte in the (decompressed) file
  bool ended = true;            // false: the last line, without line end
  std::string_view bytes = {};  // the text, with the carriage return of a line that ends in CR LF
};

/// Where a reader begins and ends: lines that start in [begin, end). A line belongs to the range its first byte is in.
struct ByteRange {
  int64_t begin = 0, end = 0;
};

class LineReader {
 public:
  /// The whole file, plain or gzip.
  static LineReader whole(const std::filesystem::path& file);
  /// A range of a plain file.
  LineReader(const std::filesystem::path& file, ByteRange range);

  /// The next line, or nullopt at the end. Throws Error (data): F31 a byte order mark, F32 a line of more than 16 MiB,
  /// F33 damaged gzip.
  std::optional<Line> next();
  const std::filesystem::path& file() const { return file_; }
  int64_t consumed() const { return stream_->consumed(); }
  /// The number of a line in the whole file: counts the lines before the range.
  int64_t number_in_file(int64_t number) const;

 private:
  LineReader(const std::filesystem::path& file, ByteRange range, std::unique_ptr<ByteStream> stream);
  /// Makes room and appends more bytes. False at the end of the file.
  bool fill();

  std::filesystem::path file_;
  ByteRange range_;
  std::unique_ptr<ByteStream> stream_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;       // bytes not yet given out
  int64_t offset_ = 0, number_ = 0;  // of the byte at begin_, of the last line
  int64_t first_ = 0;                // offset of line 1
};

}  // namespace lodestone
