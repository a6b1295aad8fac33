#include "data/records/line_writer.h"

#include <zlib.h>

#include <vector>

#include "core/error.h"
#include "data/files/durable.h"
#include "data/files/temporary.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr size_t piece_bytes = size_t{1} << 20;
constexpr int gzip_level = 1;  // fast: cleaning writes what is read again soon

/// Compresses what it is given, in pieces, into a file.
class Deflater {
 public:
  Deflater() { LODE_CHECK(deflateInit2(&stream_, gzip_level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib cannot start"); }
  ~Deflater() { deflateEnd(&stream_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  /// flush: Z_NO_FLUSH, or Z_FINISH for the last bytes.
  void write(std::string_view bytes, int flush, OutputFile& out) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(made_.data());
      stream_.avail_out = static_cast<uInt>(made_.size());
      deflate(&stream_, flush);
      out.write(std::string_view(made_.data(), made_.size() - stream_.avail_out));
    } while (stream_.avail_out == 0);
  }

 private:
  z_stream stream_{};
  std::vector<char> made_ = std::vector<char>(piece_bytes);
};

fs::path free_name(fs::path path) {
  if (path_exists(path))
    throw Error(ExitCode::usage, "exists", "the output exists", "choose another name or remove it").at("file", path.string());
  return path;
}

}  // namespace

struct LineWriter::Impl {
  explicit Impl(fs::path given)
      : path(free_name(std::move(given))), temporary(path, Temporary::Kind::file), file(temporary.path(), temporary.duplicate()) {
    if (path.extension() == ".gz") deflater = std::make_unique<Deflater>();
  }
  void empty(int flush) {
    if (deflater)
      deflater->write(buffer, flush, file);
    else
      file.write(buffer);
    buffer.clear();
  }

  fs::path path;
  Temporary temporary;
  OutputFile file;
  std::unique_ptr<Deflater> deflater;
  std::string buffer;
};

LineWriter::LineWriter(fs::path path) : impl_(std::make_unique<Impl>(std::move(path))) {}
LineWriter::~LineWriter() = default;
LineWriter::LineWriter(LineWriter&&) noexcept = default;
const fs::path& LineWriter::path() const { return impl_->path; }

void LineWriter::write(std::string_view line) {
  impl_->buffer += line;
  impl_->buffer += '\n';
  if (impl_->buffer.size() >= piece_bytes) impl_->empty(Z_NO_FLUSH);
}

void LineWriter::publish() {
  impl_->empty(Z_FINISH);
  impl_->file.finish();
  rename_path(impl_->temporary.path(), impl_->path);
  impl_->temporary.release();
  sync_folder(impl_->path.has_parent_path() ? impl_->path.parent_path() : fs::path("."));
}

}  // namespace lodestone
