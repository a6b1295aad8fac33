#include "data/files/h5.h"

#include <hdf5.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "core/error.h"
#include "core/handle.h"
#include "data/files/open_error.h"

namespace lodestone {

namespace {

using File = Handle<hid_t, H5Fclose, hid_t{-1}>;
using Group = Handle<hid_t, H5Gclose, hid_t{-1}>;
using Dataset = Handle<hid_t, H5Dclose, hid_t{-1}>;
using Space = Handle<hid_t, H5Sclose, hid_t{-1}>;
using Properties = Handle<hid_t, H5Pclose, hid_t{-1}>;
using Attribute = Handle<hid_t, H5Aclose, hid_t{-1}>;
using Datatype = Handle<hid_t, H5Tclose, hid_t{-1}>;

/// The library keeps its error stack to itself, and loads no filter plug-in whatever a file or the environment asks for.
void quiet_library() {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
}

/// The library's innermost message: the cause, in one line.
std::string library_message() {
  std::string message;
  const auto keep_first = [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
    auto& text = *static_cast<std::string*>(out);
    if (text.empty() && error->desc != nullptr) text = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, &message);
  H5Eclear2(H5E_DEFAULT);
  return message.empty() ? "HDF5 gives no reason" : message;
}

hid_t native(H5Type type) {
  switch (type) {
    case H5Type::u8:
      return H5T_STD_U8LE;
    case H5Type::u16:
      return H5T_STD_U16LE;
    case H5Type::i32:
      return H5T_STD_I32LE;
    case H5Type::i64:
      return H5T_STD_I64LE;
    case H5Type::u64:
      return H5T_STD_U64LE;
    case H5Type::f32:
      return H5T_IEEE_F32LE;
    case H5Type::f64:
      return H5T_IEEE_F64LE;
  }
  throw_internal(__FILE__, __LINE__, "type", "unknown H5Type");
}

// ---- writing: failures are ours, memory is the only resource -----------------------------------------------------------

template <class Id>
Id made(Id id, const char* what) {
  if (id < 0) throw_internal(__FILE__, __LINE__, what, cat("HDF5 failed to ", what, ": ", library_message()));
  return id;
}

/// Creation properties of an object that does not note when it was made: equal content gives equal files.
Properties without_times(hid_t of) {
  Properties properties(made(H5Pcreate(of), "create properties"));
  made(H5Pset_obj_track_times(properties.get(), false), "leave out times");
  return properties;
}

constexpr hsize_t head_block = hsize_t{1} << 16;  // space set aside for metadata at the front of the file

/// The memory of a file that the core driver builds. The driver gives it up when the file is closed: then it is the file's
/// content. (H5Fget_file_image would leave a wrong checksum in the superblock: it clears a flag there and no more.)
struct CoreMemory {
  void* data = nullptr;
  size_t size = 0;

  static void* allocate(size_t size, H5FD_file_image_op_t, void* self) {
    return static_cast<CoreMemory*>(self)->take(std::malloc(size), size);
  }
  static void* reallocate(void* data, size_t size, H5FD_file_image_op_t, void* self) {
    return static_cast<CoreMemory*>(self)->take(std::realloc(data, size), size);
  }
  static herr_t keep(void*, H5FD_file_image_op_t, void*) { return 0; }
  static void* share(void* self) { return self; }
  static herr_t leave(void*) { return 0; }

 private:
  void* take(void* new_data, size_t new_size) {
    if (new_data == nullptr) return nullptr;
    size = new_size;
    return data = new_data;
  }
};

constexpr size_t superblock_end_offset = 28;  // where a superblock of version 2 or 3 says how long the file is

}  // namespace

size_t size_of(H5Type type) {
  constexpr std::array<size_t, 7> sizes{1, 2, 4, 8, 8, 4, 8};
  return sizes[static_cast<size_t>(type)];
}

struct H5Writer::Impl {
  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    groups.clear();
    file = File();
    std::free(memory.data);
  }
  CoreMemory memory;
  File file;
  std::map<std::string, Group> groups;
  std::vector<std::pair<uint64_t, uint64_t>> chunks;  // address and size of every chunk in the file
};

H5Writer::H5Writer() : impl_(std::make_unique<Impl>()) {
  quiet_library();
  const Properties access(made(H5Pcreate(H5P_FILE_ACCESS), "create"));
  made(H5Pset_fapl_core(access.get(), size_t{16} << 20, 0), "use the core driver");
  H5FD_file_image_callbacks_t callbacks{CoreMemory::allocate, nullptr,           CoreMemory::reallocate, CoreMemory::keep,
                                        CoreMemory::share,    CoreMemory::leave, &impl_->memory};
  made(H5Pset_file_image_callbacks(access.get(), &callbacks), "keep the memory of the file");
  made(H5Pset_libver_bounds(access.get(), H5F_LIBVER_LATEST, H5F_LIBVER_LATEST), "use the latest format");
  made(H5Pset_meta_block_size(access.get(), head_block), "gather metadata");
  made(H5Pset_small_data_block_size(access.get(), 0), "pack chunks closely");
  impl_->file = File(
      made(H5Fcreate("packed-in-memory", H5F_ACC_TRUNC, without_times(H5P_FILE_CREATE).get(), access.get()), "create a file in memory"));
}
H5Writer::H5Writer(H5Writer&&) noexcept = default;
H5Writer& H5Writer::operator=(H5Writer&&) noexcept = default;
H5Writer::~H5Writer() = default;

namespace {

void write_attribute(hid_t file, const std::string& name, hid_t type, const void* value) {
  const Space scalar(made(H5Screate(H5S_SCALAR), "create a scalar space"));
  const Attribute attribute(made(H5Acreate2(file, name.c_str(), type, scalar.get(), H5P_DEFAULT, H5P_DEFAULT), "create an attribute"));
  made(H5Awrite(attribute.get(), type, value), "write an attribute");
}

}  // namespace

void H5Writer::attribute(const std::string& name, int64_t value) { write_attribute(impl_->file.get(), name, H5T_STD_I64LE, &value); }
void H5Writer::attribute(const std::string& name, uint64_t value) { write_attribute(impl_->file.get(), name, H5T_STD_U64LE, &value); }
void H5Writer::attribute(const std::string& name, std::string_view value) {
  const std::string text(value.empty() ? " " : value);
  const Datatype type(made(H5Tcopy(H5T_C_S1), "copy a type"));
  made(H5Tset_size(type.get(), text.size()), "size a string");
  write_attribute(impl_->file.get(), name, type.get(), text.data());
}

void H5Writer::column(const std::string& path, H5Type type, const void* data, int64_t count) {
  if (count == 0) return;
  const auto slash = path.find('/');
  const std::string group = path.substr(0, slash);
  if (slash != std::string::npos && !impl_->groups.contains(group))
    impl_->groups[group] = Group(made(
        H5Gcreate2(impl_->file.get(), group.c_str(), H5P_DEFAULT, without_times(H5P_GROUP_CREATE).get(), H5P_DEFAULT), "create a group"));
  const hsize_t extent = static_cast<hsize_t>(count);
  const hsize_t chunk = std::min<hsize_t>(extent, static_cast<hsize_t>(h5_chunk_bytes) / size_of(type));
  const Properties layout = without_times(H5P_DATASET_CREATE);
  made(H5Pset_chunk(layout.get(), 1, &chunk), "set chunks");
  made(H5Pset_fletcher32(layout.get()), "set fletcher32");
  made(H5Pset_fill_time(layout.get(), H5D_FILL_TIME_ALLOC), "set the fill time");  // the padding of the last chunk is zero
  const Space space(made(H5Screate_simple(1, &extent, nullptr), "create a space"));
  const Dataset dataset(made(H5Dcreate2(impl_->file.get(), path.c_str(), native(type), space.get(), H5P_DEFAULT, layout.get(), H5P_DEFAULT),
                             "create a dataset"));
  made(H5Dwrite(dataset.get(), native(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, data), "write a dataset");
  made(H5Dflush(dataset.get()), "flush a dataset");
  for (hsize_t begin = 0; begin < extent; begin += chunk) {
    haddr_t address = 0;
    hsize_t stored = 0;
    unsigned mask = 0;
    made(H5Dget_chunk_info_by_coord(dataset.get(), &begin, &mask, &address, &stored), "locate a chunk");
    impl_->chunks.emplace_back(address, stored);
  }
}

H5Image H5Writer::finish() {
  Impl& impl = *impl_;
  impl.groups.clear();
  made(H5Fclose(impl.file.release()), "close");
  H5Image image;
  uint64_t end = 0;
  LODE_CHECK(impl.memory.size > superblock_end_offset + sizeof end, "an HDF5 file without superblock");
  image.data.reset(static_cast<std::byte*>(std::exchange(impl.memory.data, nullptr)));
  std::memcpy(&end, image.data.get() + superblock_end_offset, sizeof end);
  LODE_CHECK(end <= impl.memory.size, "an HDF5 file longer than its memory");
  image.size = end;
  std::sort(impl.chunks.begin(), impl.chunks.end());
  end = impl.chunks.empty() ? image.size : impl.chunks.front().first;
  image.head_bytes = static_cast<int64_t>(end);
  for (const auto& [address, stored] : impl.chunks) {
    LODE_CHECK(address == end, "a shard has more metadata than its head of ", head_block, " bytes holds");
    end = address + stored;
  }
  LODE_CHECK(end == image.size, "a shard has bytes behind its chunks");
  return image;
}

// ---- reading: the file is not trusted ----------------------------------------------------------------------------------

struct H5Reader::Impl {
  std::filesystem::path path;
  File file;
  uint64_t size = 0;
  std::map<std::string, std::pair<Dataset, H5Type>> datasets;

  Error damaged(const std::string& what, const std::string& dataset = {}) const {
    return error("F34", what, "restore the file or pack again", dataset);
  }
  Error refused(const std::string& what, const std::string& dataset) const {
    return error("F35", what, "use only files written by lodestone pack", dataset);
  }
  Error error(const char* code, const std::string& what, const char* remedy, const std::string& dataset) const {
    Error e(ExitCode::data, code, what, remedy);
    e.at("file", path.string());
    if (!dataset.empty()) e.at("dataset", dataset);
    return e;
  }
};

H5Reader::H5Reader(const std::filesystem::path& file) : impl_(std::make_unique<Impl>()) {
  quiet_library();
  impl_->path = file;
  std::error_code missing;
  impl_->size = std::filesystem::file_size(file, missing);
  if (missing)
    throw Error(ExitCode::data, "F36", cat("cannot open: ", missing.message()), "restore the file or pack again").at("file", file.string());
  const Properties access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_file_locking(access.get(), false, true);  // shards are never written again; NFS and Lustre often have no locks
  H5Pset_cache(access.get(), 0, 0, 0, 0);          // chunks are looked at once: no cache
  errno = 0;
  impl_->file = File(H5Fopen(file.c_str(), H5F_ACC_RDONLY, access.get()));
  if (impl_->file.get() < 0) require_descriptors(errno, file);
  if (impl_->file.get() < 0) throw impl_->damaged(cat("not a readable HDF5 file: ", library_message()));
}
H5Reader::H5Reader(H5Reader&&) noexcept = default;
H5Reader& H5Reader::operator=(H5Reader&&) noexcept = default;
H5Reader::~H5Reader() = default;

namespace {

/// False unless the attribute exists, is a scalar and has this class and size; then fills value.
bool read_attribute(hid_t file, const std::string& name, H5T_class_t expected, size_t size, hid_t memory_type, void* value) {
  if (H5Aexists(file, name.c_str()) <= 0) return false;
  const Attribute attribute(H5Aopen(file, name.c_str(), H5P_DEFAULT));
  if (attribute.get() < 0) return false;
  const Space space(H5Aget_space(attribute.get()));
  const Datatype type(H5Aget_type(attribute.get()));
  return H5Sget_simple_extent_type(space.get()) == H5S_SCALAR && H5Tget_class(type.get()) == expected &&
         (size == 0 || H5Tget_size(type.get()) == size) && H5Aread(attribute.get(), memory_type, value) >= 0;
}

}  // namespace

int64_t H5Reader::integer(const std::string& attribute) const {
  int64_t value = 0;
  if (!read_attribute(impl_->file.get(), attribute, H5T_INTEGER, 8, H5T_NATIVE_INT64, &value))
    throw impl_->damaged("attribute missing or of another type").at("attribute", attribute);
  return value;
}
uint64_t H5Reader::unsigned_integer(const std::string& attribute) const {
  uint64_t value = 0;
  if (!read_attribute(impl_->file.get(), attribute, H5T_INTEGER, 8, H5T_NATIVE_UINT64, &value))
    throw impl_->damaged("attribute missing or of another type").at("attribute", attribute);
  return value;
}
std::string H5Reader::text(const std::string& attribute) const {
  std::string value(64, '\0');
  const Datatype type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), value.size());
  if (!read_attribute(impl_->file.get(), attribute, H5T_STRING, 0, type.get(), value.data()))
    throw impl_->damaged("attribute missing or of another type").at("attribute", attribute);
  value.resize(std::min(value.find('\0'), value.size()));
  return value;
}

std::optional<H5Column> H5Reader::column(const std::string& path, H5Type type, int64_t max_count) {
  Impl& impl = *impl_;
  // Hard links only, at every component: a soft or external link leads elsewhere.
  for (size_t slash = path.find('/');; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (H5Lexists(impl.file.get(), part.c_str(), H5P_DEFAULT) <= 0) return std::nullopt;
    H5L_info_t link;
    if (H5Lget_info(impl.file.get(), part.c_str(), &link, H5P_DEFAULT) < 0) throw impl.damaged(cat("bad link: ", library_message()), path);
    if (link.type == H5L_TYPE_EXTERNAL) throw impl.refused("an external link leads into another file", path);
    if (link.type != H5L_TYPE_HARD) throw impl.refused("a soft link where a dataset is expected", path);
    if (slash == std::string::npos) break;
  }
  Dataset dataset(H5Dopen2(impl.file.get(), path.c_str(), H5P_DEFAULT));
  if (dataset.get() < 0) throw impl.damaged(cat("cannot open the dataset: ", library_message()), path);
  const Properties layout(H5Dget_create_plist(dataset.get()));
  if (layout.get() < 0) throw impl.damaged(cat("bad dataset: ", library_message()), path);
  if (H5Pget_external_count(layout.get()) != 0) throw impl.refused("the data lie in an external file", path);
  if (H5Pget_layout(layout.get()) == H5D_VIRTUAL) throw impl.refused("a virtual dataset shows data of other files", path);
  if (H5Pget_layout(layout.get()) != H5D_CHUNKED) throw impl.refused("the dataset is not chunked", path);
  unsigned flags = 0, config = 0;
  size_t values = 0;
  if (H5Pget_nfilters(layout.get()) != 1 ||
      H5Pget_filter2(layout.get(), 0, &flags, &values, nullptr, 0, nullptr, &config) != H5Z_FILTER_FLETCHER32)
    throw impl.refused("the filters are not exactly fletcher32", path);
  const Datatype stored(H5Dget_type(dataset.get()));
  if (H5Tequal(stored.get(), native(type)) <= 0) throw impl.damaged("the elements have another type", path);
  const Space space(H5Dget_space(dataset.get()));
  hsize_t extent = 0, chunk = 0;
  if (H5Sget_simple_extent_ndims(space.get()) != 1 || H5Pget_chunk(layout.get(), 1, &chunk) != 1)
    throw impl.damaged("not one-dimensional", path);
  H5Sget_simple_extent_dims(space.get(), &extent, nullptr);
  const hsize_t element = size_of(type);
  if (max_count < 0 || extent > static_cast<hsize_t>(max_count) || extent > impl.size / element)
    throw impl.refused(cat("claims ", extent, " elements, more than the file can hold"), path);
  if (extent == 0 || chunk == 0 || chunk > extent || (chunk < extent && chunk * element != static_cast<hsize_t>(h5_chunk_bytes)))
    throw impl.refused(cat("chunks of ", chunk, " elements for ", extent), path);
  H5Column column{type, static_cast<int64_t>(extent), static_cast<int64_t>(chunk), {}};
  for (hsize_t begin = 0; begin < extent; begin += chunk) {
    haddr_t address = 0;
    hsize_t bytes = 0;
    unsigned mask = 0;
    if (H5Dget_chunk_info_by_coord(dataset.get(), &begin, &mask, &address, &bytes) < 0) throw impl.damaged(library_message(), path);
    if (address == HADDR_UNDEF || mask != 0 || bytes != chunk * element + 4 || address > impl.size || bytes > impl.size - address)
      throw impl.damaged(cat("chunk ", begin / chunk, " is missing or not inside the file"), path);
    column.addresses.push_back(address);
  }
  impl.datasets.insert_or_assign(path, std::pair(std::move(dataset), type));
  return column;
}

void H5Reader::read(const std::string& path, int64_t begin, int64_t count, void* out) {
  const auto found = impl_->datasets.find(path);
  LODE_CHECK(found != impl_->datasets.end(), "column ", path, " was not opened");
  const auto& [dataset, type] = found->second;
  const hsize_t first = static_cast<hsize_t>(begin), extent = static_cast<hsize_t>(count);
  const Space file_space(H5Dget_space(dataset.get())), memory_space(H5Screate_simple(1, &extent, nullptr));
  H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, &first, nullptr, &extent, nullptr);
  if (H5Dread(dataset.get(), native(type), memory_space.get(), file_space.get(), H5P_DEFAULT, out) < 0)
    throw impl_->damaged(cat("cannot read: ", library_message()), path);
}

int64_t make_h5_matrix(const std::filesystem::path& file, const std::string& name, int64_t rows, int64_t columns) {
  quiet_library();
  const auto require = [&](auto status, const char* what) {
    if (status >= 0) return status;
    throw Error(ExitCode::storage, "F21", cat("HDF5 cannot ", what, ": ", library_message()), "choose another output")
        .at("file", file.string());
  };
  const Properties access(require(H5Pcreate(H5P_FILE_ACCESS), "create properties"));
  require(H5Pset_libver_bounds(access.get(), H5F_LIBVER_LATEST, H5F_LIBVER_LATEST), "use the latest format");
  require(H5Pset_file_locking(access.get(), false, true), "do without locks");  // NFS and Lustre often have none
  const Properties layout = without_times(H5P_DATASET_CREATE);
  require(H5Pset_layout(layout.get(), H5D_CONTIGUOUS), "set the layout");
  require(H5Pset_alloc_time(layout.get(), H5D_ALLOC_TIME_EARLY), "set the time of allocation");
  require(H5Pset_fill_time(layout.get(), H5D_FILL_TIME_NEVER), "leave the values unwritten");
  const hsize_t shape[] = {static_cast<hsize_t>(rows), static_cast<hsize_t>(columns)};
  const Space space(require(H5Screate_simple(2, shape, nullptr), "create a space"));
  File h5(require(H5Fcreate(file.c_str(), H5F_ACC_TRUNC, without_times(H5P_FILE_CREATE).get(), access.get()), "create the file"));
  Dataset dataset(require(H5Dcreate2(h5.get(), name.c_str(), native(H5Type::f32), space.get(), H5P_DEFAULT, layout.get(), H5P_DEFAULT),
                          "create the dataset"));
  const haddr_t offset = H5Dget_offset(dataset.get());
  LODE_CHECK(offset != HADDR_UNDEF, "an early allocation without address");
  require(H5Dclose(dataset.release()), "close the dataset");
  require(H5Fclose(h5.release()), "close the file");
  return static_cast<int64_t>(offset);
}

}  // namespace lodestone
