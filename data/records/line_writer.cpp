#include "data/records/line_writer.h"

#include <optional>

#include "core/error.h"
#include "data/files/durable.h"
#include "data/files/temporary.h"
#include "data/records/byte_stream.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr size_t piece_bytes = size_t{1} << 20;

const fs::path& free_name(const fs::path& path) {
  if (path_exists(path))
    throw Error(ExitCode::usage, "exists", "the output exists", "choose another name or remove it").at("file", path.string());
  return path;
}

}  // namespace

struct LineWriter::Impl {
  explicit Impl(const fs::path& given)
      : path(free_name(given)), temporary(path, Temporary::Kind::file), file(temporary.path(), temporary.duplicate()) {
    if (path.extension() == ".gz") packer.emplace();
  }
  void empty(GzipPacker::Piece piece) {
    file.write(packer ? packer->pack(buffer, piece) : std::string_view(buffer));
    buffer.clear();
  }

  fs::path path;
  Temporary temporary;
  OutputFile file;
  std::optional<GzipPacker> packer;
  std::string buffer;
};

LineWriter::LineWriter(const fs::path& path) : impl_(std::make_unique<Impl>(path)) {}
LineWriter::~LineWriter() = default;
LineWriter::LineWriter(LineWriter&&) noexcept = default;
const fs::path& LineWriter::path() const { return impl_->path; }

void LineWriter::write(std::string_view line) {
  impl_->buffer += line;
  impl_->buffer += '\n';
  if (impl_->buffer.size() >= piece_bytes) impl_->empty(GzipPacker::Piece::inner);
}

void LineWriter::publish() {
  impl_->empty(GzipPacker::Piece::last);
  impl_->file.finish();
  rename_path(impl_->temporary.path(), free_name(impl_->path));
  impl_->temporary.release();
  sync_folder(impl_->path.has_parent_path() ? impl_->path.parent_path() : fs::path("."));
}

}  // namespace lodestone
