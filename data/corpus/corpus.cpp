#include "data/corpus/corpus.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <utility>

#include "core/error.h"
#include "data/corpus/manifest.h"
#include "data/corpus/shard.h"

namespace lodestone {

namespace {

constexpr double look_every_s = 1;                         // between looks at the shards in use
constexpr std::chrono::milliseconds verify_again_time(2);  // for touched chunks, at a look
constexpr size_t max_open_files = 32;                      // shards whose file the HDF5 library holds open at a time

/// The rows of one source within one shard.
struct Run {
  int64_t first_k = 0;    // number of rows of the source in earlier shards
  int64_t first_row = 0;  // global row id of the first
};

int32_t index_of(std::map<std::string, int32_t>& index, const std::string& name, int64_t next) {
  return index.emplace(name, static_cast<int32_t>(next)).first->second;
}

/// To some milliseconds, for much less than a system call: it is asked at every row.
double about_now_s() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

struct Corpus::Impl {
  std::vector<std::byte> verification;  // a chunk while it is checked, of whichever shard
  std::vector<ShardReader> shards;
  std::vector<int64_t> first_row;                  // [shards + 1] global id of each shard's first row
  std::vector<std::vector<int32_t>> source_index;  // per shard: its own index to the corpus'
  std::vector<std::vector<int32_t>> prompt_index;
  std::vector<CorpusSource> sources;
  std::vector<std::vector<Run>> runs;  // per source, in shard order
  std::vector<std::string> prompts;
  std::deque<size_t> open;      // shards held open by the library, oldest first
  std::vector<int32_t> ids;     // of the row read last
  std::vector<uint8_t> in_use;  // per shard: read since the last look
  double next_look_s = about_now_s() + look_every_s;
  size_t again = 0;         // the shard whose touched chunks are being verified again
  int64_t again_place = 0;  // and how far
  uint64_t fingerprint = 0, tokenizer_fingerprint = 0;
  std::filesystem::path folder;

  size_t shard_of(int64_t row) const {
    if (row < 0 || row >= first_row.back())
      throw Error(ExitCode::data, "F34", cat("row ", row, " of a corpus of ", first_row.back())).at("file", folder.string());
    return static_cast<size_t>(std::upper_bound(first_row.begin(), first_row.end(), row) - first_row.begin()) - 1;
  }
  void limit_open_files(size_t shard) {
    if (!shards[shard].library_open() || std::find(open.begin(), open.end(), shard) != open.end()) return;
    open.push_back(shard);
    if (open.size() <= max_open_files) return;
    shards[open.front()].close_library();
    open.pop_front();
  }
  /// Are the shards in use still what was opened, and touched chunks what was verified? Some of them at each call, in turn.
  void look(double now_s) {
    next_look_s = now_s + look_every_s;
    for (size_t s = 0; s < shards.size(); ++s)
      if (std::exchange(in_use[s], uint8_t{0}) != 0) shards[s].require_unchanged();
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + verify_again_time;
    for (size_t left = shards.size(); left > 0 && Clock::now() < end;) {
      if (!shards[again].verify_next(again_place)) {
        again = (again + 1) % shards.size();
        again_place = 0;
        --left;
      }
      limit_open_files(again);
    }
  }
  int32_t global_index(const std::vector<int32_t>& index, int32_t local, const char* what) const {
    if (local < 0 || static_cast<size_t>(local) >= index.size())
      throw Error(ExitCode::data, "F34", cat(what, " ", local, " of ", index.size()), "restore the file or pack again")
          .at("file", folder.string());
    return index[static_cast<size_t>(local)];
  }
  /// read_shard(shard, row of the shard) fills `out`, whose source and prompt then become the corpus'. Errors say the row.
  template <class ReadShard>
  void read(int64_t row, PackedRow& out, ReadShard read_shard) {
    const size_t shard = shard_of(row);
    in_use[shard] = 1;
    if (const double now_s = about_now_s(); now_s >= next_look_s) look(now_s);
    try {
      read_shard(shards[shard], row - first_row[shard]);
      out.source = global_index(source_index[shard], out.source, "source");
      if (out.prompt != -1) out.prompt = global_index(prompt_index[shard], out.prompt, "prompt");
    } catch (Error& error) {
      error.at("row", row);
      throw;
    }
    limit_open_files(shard);
  }
};

Corpus::Corpus(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Corpus::Corpus(Corpus&&) noexcept = default;
Corpus& Corpus::operator=(Corpus&&) noexcept = default;
Corpus::~Corpus() = default;

Corpus Corpus::open(const std::filesystem::path& folder) {
  const Manifest manifest = read_corpus_manifest(folder);
  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  impl->fingerprint = lodestone::fingerprint(manifest);
  impl->tokenizer_fingerprint = manifest.tokenizer_fingerprint;
  const ShardSchema schema{manifest.vocab_size, manifest.tokenizer_fingerprint};
  std::map<std::string, int32_t> source_of, prompt_of;
  int64_t row = 0;
  for (const ManifestShard& s : manifest.shards) {
    impl->shards.emplace_back(ShardFile{folder / s.file, s.bytes, s.head_bytes, s.rows, s.head_hash}, schema, impl->verification);
    impl->first_row.push_back(row);
    std::vector<int32_t>& sources = impl->source_index.emplace_back();
    for (const auto& [name, rows] : s.sources) {
      const int32_t source = index_of(source_of, name, std::ssize(impl->sources));
      if (static_cast<size_t>(source) == impl->sources.size()) {
        impl->sources.push_back({name, 0});
        impl->runs.emplace_back();
      }
      sources.push_back(source);
      CorpusSource& total = impl->sources[static_cast<size_t>(source)];
      impl->runs[static_cast<size_t>(source)].push_back({total.rows, row});
      total.rows += rows;
      row += rows;
    }
    std::vector<int32_t>& prompts = impl->prompt_index.emplace_back();
    for (const std::string& text : s.prompts) {
      prompts.push_back(index_of(prompt_of, text, std::ssize(impl->prompts)));
      if (static_cast<size_t>(prompts.back()) == impl->prompts.size()) impl->prompts.push_back(text);
    }
  }
  impl->first_row.push_back(row);
  impl->in_use.assign(impl->shards.size(), 0);
  if (row == 0)
    throw Error(ExitCode::data, "F39", "the corpus has no rows", "pack it again from files with rows").at("file", folder.string());
  return Corpus(std::move(impl));
}

int64_t Corpus::rows() const { return impl_->first_row.back(); }
const std::vector<CorpusSource>& Corpus::sources() const { return impl_->sources; }
const std::vector<std::string>& Corpus::prompts() const { return impl_->prompts; }
uint64_t Corpus::fingerprint() const { return impl_->fingerprint; }
uint64_t Corpus::tokenizer_fingerprint() const { return impl_->tokenizer_fingerprint; }

size_t Corpus::memory_bytes() const {
  size_t tables = 0, chunk = 0;
  for (const ShardReader& shard : impl_->shards) {
    tables += shard.memory_bytes() + sizeof(ShardReader) + sizeof(int64_t);
    chunk = std::max(chunk, shard.chunk_bytes());
  }
  return tables + chunk;
}

void Corpus::require_unchanged() const {
  for (const ShardReader& shard : impl_->shards) shard.require_unchanged();
}

int64_t Corpus::row_of(int32_t source, int64_t k) const {
  LODE_CHECK(source >= 0 && static_cast<size_t>(source) < impl_->sources.size(), "source ", source, " of ", impl_->sources.size());
  LODE_CHECK(k >= 0 && k < impl_->sources[static_cast<size_t>(source)].rows, "row ", k, " of source ",
             impl_->sources[static_cast<size_t>(source)].name);
  const auto& runs = impl_->runs[static_cast<size_t>(source)];
  const auto after = std::upper_bound(runs.begin(), runs.end(), k, [](int64_t value, const Run& run) { return value < run.first_k; });
  return std::prev(after)->first_row + (k - std::prev(after)->first_k);
}

void Corpus::read(int64_t row, PackedRow& out) const {
  impl_->read(row, out, [&](ShardReader& shard, int64_t k) { shard.read(k, out, impl_->ids); });
}

void Corpus::read_without_ids(int64_t row, PackedRow& out) const {
  impl_->read(row, out, [&](ShardReader& shard, int64_t k) { shard.read_without_ids(k, out); });
}

std::vector<std::string> Corpus::answers(int64_t row) const {
  Impl& impl = *impl_;
  const size_t shard = impl.shard_of(row);
  std::vector<std::string> texts;
  try {
    texts = impl.shards[shard].answers(row - impl.first_row[shard]);
  } catch (Error& error) {
    error.at("row", row);
    throw;
  }
  impl.limit_open_files(shard);
  return texts;
}

}  // namespace lodestone
