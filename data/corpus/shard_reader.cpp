#include <fcntl.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/handle.h"
#include "data/corpus/shard.h"
#include "data/files/durable.h"
#include "data/files/file_identity.h"
#include "data/files/mapped_file.h"
#include "data/files/open_error.h"

namespace lodestone {

namespace {

constexpr int64_t unlimited = std::numeric_limits<int64_t>::max() / 16;
constexpr const char* pack_again = "restore the file or pack again";

/// What must hold of the elements of a column, beyond its checksum.
enum class Rule : uint8_t { any, token, ascending };

struct Column {
  const char* name = "";
  H5Column layout;
  Rule rule = Rule::any;
  int shift = 62;                 // element i is in chunk i >> shift; a column of one chunk shifts everything away
  std::vector<uint8_t> verified;  // per chunk
  int64_t count() const { return layout.count; }
  bool present() const { return layout.count > 0; }
};

/// Elements [begin, end) of a column.
struct Slice {
  int64_t begin = 0, end = 0;
  int64_t count() const { return end - begin; }
};

struct Role {
  Column ids, offsets, text_hash, document, row_offsets;
};

}  // namespace

struct ShardReader::Impl {
  explicit Impl(std::vector<std::byte>& verification) : buffer(verification) {}
  ShardFile file;
  ShardSchema schema;
  FileIdentity opened_as;
  MappedFile map;
  std::optional<H5Reader> library;
  std::vector<std::byte>& buffer;  // one chunk, as the library returns it; all shards of a corpus share it
  std::vector<Slice> slices;       // where the texts of the row being read lie
  Role query, positive, negative;
  Column source, prompt, label, score, teacher_offsets, teacher_scores, answer_row_offsets, answer_offsets, answer_bytes;

  Error damaged(const std::string& what, const char* dataset = nullptr) const {
    Error error(ExitCode::data, "F34", what, pack_again);
    error.at("file", file.path.string());
    if (dataset != nullptr) error.at("dataset", dataset);
    return error;
  }

  Error changed(const char* how) const {
    return Error(ExitCode::data, "F36", cat("the shard was ", how, " while in use"), "leave a corpus alone while it is read")
        .at("file", file.path.string());
  }
  void require_unchanged() const {
    const auto now = file_identity(file.path);
    if (map.cut() || (now && now->size < opened_as.size)) throw changed("cut short");
    if (!now || *now != opened_as) throw changed(now ? "changed" : "removed");
  }
  /// Runs `work`, which reads mapped bytes. Where the file was cut short they are not what was packed, whatever `work` made of them.
  template <class Work>
  void unless_cut(const Work& work) const {
    try {
      work();
    } catch (const Error&) {
      require_unchanged();  // else that is what is wrong
      throw;
    }
    if (map.cut()) throw changed("cut short");
  }

  void open_library() {
    if (library) return;
    require_unchanged();
    library.emplace(file.path);
    for_each_column([&](Column& c) {
      if (c.present()) library->column(c.name, c.layout.type, unlimited);
    });
  }

  template <class Visit>
  void for_each_column(Visit visit) {
    for (Role* role : {&query, &positive, &negative})
      for (Column* c : {&role->ids, &role->offsets, &role->text_hash, &role->document, &role->row_offsets}) visit(*c);
    for (Column* c :
         {&source, &prompt, &label, &score, &teacher_offsets, &teacher_scores, &answer_row_offsets, &answer_offsets, &answer_bytes})
      visit(*c);
  }

  void open_column(Column& c, const char* name, H5Type type, int64_t count, Rule rule) {
    c.name = name;
    c.rule = rule;
    auto layout = library->column(name, type, unlimited);
    if (!layout) throw damaged("the dataset is missing", name);
    if (count >= 0 && layout->count != count)
      throw damaged(cat("the dataset has ", layout->count, " elements where ", count, " belong"), name);
    c.layout = std::move(*layout);
    c.verified.assign(c.layout.addresses.size(), 0);
    if (c.layout.addresses.size() > 1) c.shift = std::countr_zero(static_cast<uint64_t>(c.layout.chunk));
  }
  bool open_optional(Column& c, const char* name, H5Type type, int64_t count, Rule rule) {
    c.name = name;
    if (!library->column(name, type, unlimited)) return false;
    open_column(c, name, type, count, rule);
    return true;
  }

  /// Bytes of chunk k at their mapped address, checked when touched for the first time.
  const std::byte* chunk(Column& c, int64_t k) {
    if (!c.verified[static_cast<size_t>(k)]) verify(c, k);
    return map.data() + c.layout.addresses[static_cast<size_t>(k)];
  }

  /// See ShardReader::verify_next().
  bool verify_next(int64_t& place) {
    bool found = false;
    int64_t first = 0;  // number of the column's first chunk
    for_each_column([&](Column& c) {
      for (int64_t k = place - first; !found && k < std::ssize(c.verified); ++k) {
        place = first + k + 1;
        found = c.verified[static_cast<size_t>(k)] != 0;
        if (found) verify(c, k);
      }
      first += std::ssize(c.verified);
    });
    return found;
  }

  void verify(Column& c, int64_t k) {
    open_library();
    const int64_t begin = k * c.layout.chunk, count = std::min(c.layout.chunk, c.layout.count - begin);
    const size_t bytes = static_cast<size_t>(count) * size_of(c.layout.type);
    buffer.resize(bytes);
    library->read(c.name, begin, count, buffer.data());
    if (std::memcmp(buffer.data(), map.data() + c.layout.addresses[static_cast<size_t>(k)], bytes) != 0)
      throw damaged(cat("chunk ", k, " does not lie where the library says"), c.name);
    if (c.rule == Rule::token && c.layout.type == H5Type::u16) check_tokens<uint16_t>(c, count);
    if (c.rule == Rule::token && c.layout.type == H5Type::i32) check_tokens<int32_t>(c, count);
    if (c.rule == Rule::ascending) check_ascending(c, count);
    c.verified[static_cast<size_t>(k)] = 1;
  }
  template <class T>
  void check_tokens(const Column& c, int64_t count) const {
    const auto* ids = reinterpret_cast<const T*>(buffer.data());
    for (int64_t i = 0; i < count; ++i)
      if (static_cast<int64_t>(ids[i]) < 0 || static_cast<int64_t>(ids[i]) >= schema.vocab_size)
        throw damaged(cat("token id ", static_cast<int64_t>(ids[i]), " is not in a vocabulary of ", schema.vocab_size), c.name);
  }
  void check_ascending(const Column& c, int64_t count) const {
    const auto* offsets = reinterpret_cast<const int64_t*>(buffer.data());
    for (int64_t i = 1; i < count; ++i)
      if (offsets[i] < offsets[i - 1]) throw damaged("the offsets are not ascending", c.name);
  }

  template <class T>
  T value(Column& c, int64_t i) {
    const int64_t k = i >> c.shift, within = i - (k << c.shift);
    T result;
    std::memcpy(&result, chunk(c, k) + static_cast<size_t>(within) * sizeof(T), sizeof(T));
    return result;
  }
  /// [offsets[i], offsets[i + 1]), checked against the column they point into.
  Slice range(Column& offsets, int64_t i, int64_t limit) {
    const Slice slice{value<int64_t>(offsets, i), value<int64_t>(offsets, i + 1)};
    if (slice.begin < 0 || slice.end < slice.begin || slice.end > limit)
      throw damaged(cat("offsets ", slice.begin, " to ", slice.end, " of ", limit), offsets.name);
    return slice;
  }
  /// Elements [begin, end) of a column of From, converted.
  template <class From, class To>
  void copy(Column& c, Slice slice, To* out) {
    for (int64_t i = slice.begin; i < slice.end;) {
      const int64_t k = i >> c.shift, within = i - (k << c.shift), count = std::min(slice.end - i, c.layout.chunk - within);
      const std::byte* from = chunk(c, k) + static_cast<size_t>(within) * sizeof(From);
      for (int64_t j = 0; j < count; ++j) {
        From element;
        std::memcpy(&element, from + static_cast<size_t>(j) * sizeof(From), sizeof(From));
        *out++ = static_cast<To>(element);
      }
      i += count;
    }
  }

  void open_columns();
  void open_role(Role& role, const char* const (&names)[5], const std::string& count_name, int64_t rows, H5Type id_type);
  void name_text(Role& role, int64_t text, PackedText& out);
  int64_t add_text(Role& role, int64_t text, PackedText& out);
  void read(int64_t row, PackedRow& out, std::vector<int32_t>& ids);
  void read_without_ids(int64_t row, PackedRow& out);
  void read_numbers(int64_t row, PackedRow& out);
  void read_answers(int64_t row, std::vector<std::string>& out);
};

void ShardReader::Impl::open_role(Role& role, const char* const (&names)[5], const std::string& count_name, int64_t rows, H5Type id_type) {
  const int64_t texts = library->integer(count_name + "_texts"), tokens = library->integer(count_name + "_tokens");
  if (texts == 0) return;
  if (texts < 0 || tokens < 0) throw damaged(cat("negative counts of ", count_name, " texts"));
  if (tokens > 0) open_column(role.ids, names[0], id_type, tokens, Rule::token);
  open_column(role.offsets, names[1], H5Type::i64, texts + 1, Rule::ascending);
  open_column(role.text_hash, names[2], H5Type::u64, texts, Rule::any);
  open_optional(role.document, names[3], H5Type::u64, texts, Rule::any);
  if (names[4] != nullptr) open_column(role.row_offsets, names[4], H5Type::i64, rows + 1, Rule::ascending);
}

void ShardReader::Impl::open_columns() {
  if (library->text("format") != "lodestone corpus shard") throw damaged("not a corpus shard");
  if (library->integer("version") != shard_version)
    throw Error(ExitCode::data, "F34", cat("shard version ", library->integer("version"), ", this program reads ", shard_version),
                "pack again")
        .at("file", file.path.string());
  if (library->integer("complete") != 1) throw damaged("the shard has no complete mark");
  const int64_t rows = library->integer("rows");
  if (rows != file.rows || rows < 1) throw damaged(cat("the shard has ", rows, " rows, the manifest says ", file.rows));
  if (library->integer("vocab_size") != schema.vocab_size ||
      library->unsigned_integer("tokenizer_fingerprint") != schema.tokenizer_fingerprint)
    throw damaged("the shard was packed with another tokenizer than its manifest says");
  const H5Type id_type = schema.vocab_size > 65535 ? H5Type::i32 : H5Type::u16;
  open_role(query, {"query/ids", "query/offsets", "query/text_hash", "query/document", nullptr}, "query", rows, id_type);
  if (query.text_hash.count() != rows) throw damaged("not one query per row", "query/text_hash");
  open_role(positive, {"positive/ids", "positive/offsets", "positive/text_hash", "positive/document", "positive/row_offsets"}, "positive",
            rows, id_type);
  open_role(negative, {"negative/ids", "negative/offsets", "negative/text_hash", "negative/document", "negative/row_offsets"}, "negative",
            rows, id_type);
  open_column(source, "row/source", H5Type::i32, rows, Rule::any);
  open_optional(prompt, "row/prompt", H5Type::i32, rows, Rule::any);
  open_optional(label, "row/label", H5Type::i64, rows, Rule::any);
  open_optional(score, "row/score", H5Type::f64, rows, Rule::any);
  if (open_optional(teacher_offsets, "row/teacher_offsets", H5Type::i64, rows + 1, Rule::ascending))
    open_column(teacher_scores, "row/teacher_scores", H5Type::f64, -1, Rule::any);
  if (open_optional(answer_row_offsets, "row/answer_row_offsets", H5Type::i64, rows + 1, Rule::ascending)) {
    open_column(answer_offsets, "row/answer_offsets", H5Type::i64, -1, Rule::ascending);
    open_optional(answer_bytes, "row/answer_bytes", H5Type::u8, -1, Rule::any);
  }
}

ShardReader::ShardReader(const ShardFile& file, const ShardSchema& schema, std::vector<std::byte>& verification)
    : impl_(std::make_unique<Impl>(verification)) {
  Impl& impl = *impl_;
  impl.file = file;
  impl.schema = schema;
  const Descriptor descriptor(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));  // a FIFO would wait
  struct stat info {};
  if (!descriptor || ::fstat(descriptor.get(), &info) != 0)
    throw data_error("F36", "cannot open a shard that the manifest names", file.path, errno, pack_again);
  if (info.st_size != file.bytes) throw impl.damaged(cat("the file has ", info.st_size, " bytes, the manifest says ", file.bytes));
  if (file.head_bytes < 1 || file.head_bytes > file.bytes) throw impl.damaged("the manifest gives an impossible head");
  impl.opened_as = identity_of(info);
  impl.map = MappedFile(descriptor.get(), static_cast<size_t>(file.bytes));
  if (!impl.map.valid())
    throw Error(ExitCode::resource, "F15", "cannot map a shard", "raise the limit of address space (ulimit -v)")
        .at("file", file.path.string());
  impl.unless_cut([&] {
    if (checksum({impl.map.data(), static_cast<size_t>(file.head_bytes)}) != file.head_hash)
      throw impl.damaged("the head of the file fails its checksum");
  });
  impl.library.emplace(file.path);
  impl.open_columns();
  impl.library.reset();
}
ShardReader::ShardReader(ShardReader&&) noexcept = default;
ShardReader::~ShardReader() = default;
bool ShardReader::library_open() const { return impl_->library.has_value(); }
void ShardReader::close_library() { impl_->library.reset(); }
void ShardReader::require_unchanged() const { impl_->require_unchanged(); }

bool ShardReader::verify_next(int64_t& place) {
  bool found = false;
  impl_->unless_cut([&] { found = impl_->verify_next(place); });
  return found;
}

size_t ShardReader::memory_bytes() const {
  size_t bytes = sizeof(Impl);
  impl_->for_each_column([&](const Column& c) { bytes += c.layout.addresses.size() * (sizeof(uint64_t) + sizeof(uint8_t)); });
  return bytes;
}

size_t ShardReader::chunk_bytes() const {
  size_t bytes = 0;
  impl_->for_each_column([&](const Column& c) { bytes = std::max(bytes, static_cast<size_t>(c.layout.chunk) * size_of(c.layout.type)); });
  return bytes;
}

/// Fills all but the ids of a text.
void ShardReader::Impl::name_text(Role& role, int64_t text, PackedText& out) {
  out.ids = {};
  out.text_hash = value<uint64_t>(role.text_hash, text);
  out.document = role.document.present() ? value<uint64_t>(role.document, text) : out.text_hash;
}

/// The same, and appends the place of its ids to slices. Returns its length.
int64_t ShardReader::Impl::add_text(Role& role, int64_t text, PackedText& out) {
  name_text(role, text, out);
  slices.push_back(range(role.offsets, text, role.ids.count()));
  return slices.back().count();
}

void ShardReader::read(int64_t row, PackedRow& out, std::vector<int32_t>& ids) {
  impl_->unless_cut([&] { impl_->read(row, out, ids); });
}

void ShardReader::read_without_ids(int64_t row, PackedRow& out) {
  impl_->unless_cut([&] { impl_->read_without_ids(row, out); });
}

std::vector<std::string> ShardReader::answers(int64_t row) {
  std::vector<std::string> answers;
  impl_->unless_cut([&] { impl_->read_answers(row, answers); });
  return answers;
}

void ShardReader::Impl::read(int64_t row, PackedRow& out, std::vector<int32_t>& ids) {
  LODE_CHECK(row >= 0 && row < file.rows, "row ", row, " of ", file.rows);
  slices.clear();
  int64_t tokens = add_text(query, row, out.query);
  const auto add_role = [&](Role& role, std::vector<PackedText>& texts) {
    texts.clear();
    if (!role.row_offsets.present()) return;
    const Slice of_row = range(role.row_offsets, row, role.text_hash.count());
    texts.resize(static_cast<size_t>(of_row.count()));
    for (int64_t t = of_row.begin; t < of_row.end; ++t) tokens += add_text(role, t, texts[static_cast<size_t>(t - of_row.begin)]);
  };
  add_role(positive, out.positives);
  add_role(negative, out.negatives);
  ids.resize(static_cast<size_t>(tokens));
  int32_t* next = ids.data();
  size_t slice = 0;
  const auto copy_ids = [&](Role& role, PackedText& text) {
    const Slice of_text = slices[slice++];
    text.ids = {next, static_cast<size_t>(of_text.count())};
    if (role.ids.layout.type == H5Type::u16)
      copy<uint16_t>(role.ids, of_text, next);
    else
      copy<int32_t>(role.ids, of_text, next);
    next += of_text.count();
  };
  copy_ids(query, out.query);
  for (PackedText& text : out.positives) copy_ids(positive, text);
  for (PackedText& text : out.negatives) copy_ids(negative, text);
  read_numbers(row, out);
}

void ShardReader::Impl::read_without_ids(int64_t row, PackedRow& out) {
  LODE_CHECK(row >= 0 && row < file.rows, "row ", row, " of ", file.rows);
  const auto name_role = [&](Role& role, std::vector<PackedText>& texts) {
    texts.clear();
    if (!role.row_offsets.present()) return;
    const Slice of_row = range(role.row_offsets, row, role.text_hash.count());
    texts.resize(static_cast<size_t>(of_row.count()));
    for (int64_t t = of_row.begin; t < of_row.end; ++t) name_text(role, t, texts[static_cast<size_t>(t - of_row.begin)]);
  };
  name_text(query, row, out.query);
  name_role(positive, out.positives);
  name_role(negative, out.negatives);
  read_numbers(row, out);
}

/// What a row has besides texts.
void ShardReader::Impl::read_numbers(int64_t row, PackedRow& out) {
  out.source = value<int32_t>(source, row);
  out.prompt = prompt.present() ? value<int32_t>(prompt, row) : -1;
  out.label = label.present() ? value<int64_t>(label, row) : -1;
  out.score = score.present() ? value<double>(score, row) : std::nan("");
  out.teacher_scores.clear();
  if (teacher_offsets.present()) {
    const Slice slice = range(teacher_offsets, row, teacher_scores.count());
    out.teacher_scores.resize(static_cast<size_t>(slice.count()));
    copy<double>(teacher_scores, slice, out.teacher_scores.data());
  }
}

void ShardReader::Impl::read_answers(int64_t row, std::vector<std::string>& out) {
  if (!answer_row_offsets.present()) return;
  const Slice of_row = range(answer_row_offsets, row, answer_offsets.count() - 1);
  for (int64_t a = of_row.begin; a < of_row.end; ++a) {
    const Slice bytes = range(answer_offsets, a, answer_bytes.count());
    std::string& text = out.emplace_back(static_cast<size_t>(bytes.count()), '\0');
    copy<char>(answer_bytes, bytes, text.data());
  }
}

}  // namespace lodestone
