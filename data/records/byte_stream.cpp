#include "data/records/byte_stream.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <vector>

#include "core/error.h"
#include "data/files/durable.h"

namespace lodestone {

namespace {

constexpr size_t piece_bytes = size_t{1} << 18;
constexpr int64_t bomb_bytes = int64_t{64} << 20;
constexpr int64_t bomb_ratio = 200;

class PlainStream : public ByteStream {
 public:
  PlainStream(const std::filesystem::path& file, int64_t begin) : file_(file, ExitCode::data), begin_(begin), position_(begin) {}
  size_t read(std::span<char> out) override {
    const auto bytes = out.first(static_cast<size_t>(std::min<int64_t>(std::ssize(out), static_cast<int64_t>(file_.size()) - position_)));
    file_.read(static_cast<uint64_t>(position_), std::as_writable_bytes(bytes));
    position_ += std::ssize(bytes);
    return bytes.size();
  }
  int64_t consumed() const override { return position_ - begin_; }

 private:
  InputFile file_;
  int64_t begin_, position_;
};

class GzipStream : public ByteStream {
 public:
  explicit GzipStream(const std::filesystem::path& file) : path_(file), in_(file, 0), buffer_(piece_bytes) {
    LODE_CHECK(inflateInit2(&inflate_, 15 + 16) == Z_OK, "zlib cannot start");
  }
  ~GzipStream() override { inflateEnd(&inflate_); }

  size_t read(std::span<char> out) override {
    inflate_.next_out = reinterpret_cast<Bytef*>(out.data());
    inflate_.avail_out = static_cast<uInt>(std::min<size_t>(out.size(), piece_bytes));
    const uInt asked = inflate_.avail_out;
    while (inflate_.avail_out == asked && !ended_) step();
    const size_t got = asked - inflate_.avail_out;
    produced_ += static_cast<int64_t>(got);
    if (produced_ > bomb_bytes && produced_ / bomb_ratio > in_.consumed())
      throw bad(cat("expands more than ", bomb_ratio, "-fold"), "decompress it yourself if you trust it");
    return got;
  }
  int64_t consumed() const override { return in_.consumed(); }

 private:
  /// One call of inflate, or the step to the next member or the end.
  void step() {
    if (inflate_.avail_in == 0) {
      inflate_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
      inflate_.avail_in = static_cast<uInt>(in_.read(buffer_));
    }
    if (inflate_.avail_in == 0) {
      if (!between_members_) throw bad("the gzip file is truncated", "fetch it again");
      ended_ = true;
      return;
    }
    if (between_members_) {
      // A further member must start with the magic byte 0x1f; inflate checks the rest of its header.
      if (*inflate_.next_in != 0x1f)
        throw bad("bytes that are not gzip follow the end of the compressed data", "fetch it again or cut them off");
      if (inflateReset(&inflate_) != Z_OK) throw bad("zlib cannot restart", {});
      between_members_ = false;
    }
    const int result = inflate(&inflate_, Z_NO_FLUSH);
    if (result == Z_STREAM_END)
      between_members_ = true;  // length and CRC have been compared
    else if (result == Z_MEM_ERROR)
      throw Error(ExitCode::resource, "F14", "no memory for zlib").at("file", path_.string());
    else if (result != Z_OK && result != Z_BUF_ERROR)
      throw bad(cat("damaged gzip data: ", inflate_.msg != nullptr ? inflate_.msg : "unknown"), "fetch it again");
  }
  Error bad(const std::string& what, const std::string& remedy) const {
    return Error(ExitCode::data, "F33", what, remedy)
        .at("file", path_.string())
        .at("offset", in_.consumed() - static_cast<int64_t>(inflate_.avail_in));
  }

  std::filesystem::path path_;
  PlainStream in_;
  std::vector<char> buffer_;
  z_stream inflate_{};
  int64_t produced_ = 0;
  bool between_members_ = false, ended_ = false;
};

}  // namespace

bool is_gzip(const std::filesystem::path& file) {
  std::array<char, 2> magic{};
  const size_t got = PlainStream(file, 0).read(magic);
  const bool compressed = got == 2 && magic[0] == '\x1f' && magic[1] == '\x8b';
  if (!compressed && file.extension() == ".gz" && got > 0)
    throw Error(ExitCode::data, "F33", "named .gz but not gzip data", "rename it or fetch it again")
        .at("file", file.string())
        .at("offset", 0);
  return compressed;
}

GzipPacker::GzipPacker() : stream_(std::make_unique<z_stream>()) {
  constexpr int level = 1;
  LODE_CHECK(deflateInit2(stream_.get(), level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib cannot start");
}
GzipPacker::~GzipPacker() { deflateEnd(stream_.get()); }

std::string_view GzipPacker::pack(std::string_view bytes, Piece piece) {
  stream_->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream_->avail_in = static_cast<uInt>(bytes.size());
  size_t made = 0;
  do {
    packed_.resize(made + piece_bytes);
    stream_->next_out = reinterpret_cast<Bytef*>(packed_.data() + made);
    stream_->avail_out = static_cast<uInt>(piece_bytes);
    deflate(stream_.get(), piece == Piece::last ? Z_FINISH : Z_NO_FLUSH);
    made += piece_bytes - stream_->avail_out;
  } while (stream_->avail_out == 0);
  return {packed_.data(), made};
}

std::unique_ptr<ByteStream> open_plain(const std::filesystem::path& file, int64_t begin) {
  return std::make_unique<PlainStream>(file, begin);
}
std::unique_ptr<ByteStream> open_gzip(const std::filesystem::path& file) { return std::make_unique<GzipStream>(file); }

}  // namespace lodestone
