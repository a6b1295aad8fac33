#include "data/records/lines.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace lodestone {

namespace {

constexpr size_t first_buffer_bytes = size_t{1} << 20;
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

}  // namespace

LineReader::LineReader(const std::filesystem::path& file, ByteRange range, std::unique_ptr<ByteStream> stream)
    : file_(file), range_(range), stream_(std::move(stream)), buffer_(first_buffer_bytes + line_padding), offset_(range.begin) {}

LineReader LineReader::whole(const std::filesystem::path& file) {
  const ByteRange all{0, std::numeric_limits<int64_t>::max()};
  return LineReader(file, all, is_gzip(file) ? open_gzip(file) : open_plain(file, 0));
}

LineReader::LineReader(const std::filesystem::path& file, ByteRange range)
    : LineReader(file, {std::max<int64_t>(range.begin - 1, 0), range.end}, open_plain(file, std::max<int64_t>(range.begin - 1, 0))) {
  if (range.begin == 0) return;
  // From the byte before the range: its line, or the end of it, belongs to the range before.
  next();
  number_ = 0;
  first_ = offset_;
}

bool LineReader::fill() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ + line_padding == buffer_.size()) buffer_.resize(2 * end_ + line_padding);
  const size_t got = stream_->read(std::span(buffer_).subspan(end_, buffer_.size() - line_padding - end_));
  end_ += got;
  return got > 0;
}

std::optional<Line> LineReader::next() {
  if (offset_ >= range_.end) return std::nullopt;
  size_t searched = 0;
  const char* found = nullptr;
  bool ended = true;
  while (true) {
    const char* from = buffer_.data() + begin_ + searched;
    found = static_cast<const char*>(std::memchr(from, '\n', end_ - begin_ - searched));
    if (found != nullptr) break;
    searched = end_ - begin_;
    if (static_cast<int64_t>(searched) > max_line_bytes) break;
    if (fill()) continue;
    if (searched == 0) return std::nullopt;
    found = buffer_.data() + end_;
    ended = false;
    break;
  }
  ++number_;
  const size_t length = found == nullptr ? searched : static_cast<size_t>(found - buffer_.data()) - begin_;
  if (static_cast<int64_t>(length) > max_line_bytes)
    throw Error(ExitCode::data, "F32", cat("a line of more than ", max_line_bytes >> 20, " MiB"),
                "split the record or check that the file is text with line ends")
        .at("file", file_.string())
        .at("line", number_in_file(number_))
        .at("offset", offset_);
  const std::string_view bytes(buffer_.data() + begin_, length);
  Line line{bytes, number_, offset_, ended, bytes};
  if (offset_ == 0 && line.text.starts_with(byte_order_mark))
    throw Error(ExitCode::data, "F31", "the file starts with a byte order mark", "remove its first three bytes: tail -c +4 FILE > NEW")
        .at("file", file_.string())
        .at("line", 1)
        .at("offset", 0);
  begin_ += length + (ended ? 1 : 0);
  offset_ += static_cast<int64_t>(length + (ended ? 1 : 0));
  if (line.text.ends_with('\r')) line.text.remove_suffix(1);
  return line;
}

int64_t LineReader::number_in_file(int64_t number) const {
  if (first_ == 0) return number;
  const auto before = open_plain(file_, 0);
  std::vector<char> piece(first_buffer_bytes);
  int64_t left = first_, lines = 0;
  while (left > 0) {
    const size_t got = before->read(std::span(piece).first(static_cast<size_t>(std::min<int64_t>(left, std::ssize(piece)))));
    if (got == 0) break;
    lines += std::count(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(got), '\n');
    left -= static_cast<int64_t>(got);
  }
  return lines + number;
}

}  // namespace lodestone
