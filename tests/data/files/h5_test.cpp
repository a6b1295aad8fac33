// Does no hostile, damaged or foreign HDF5 file get further than one refusing line?
#include "data/files/h5.h"

#include <gtest/gtest.h>
#include <hdf5.h>

#include <cstring>
#include <fstream>
#include <numeric>

#include "tests/data/corpus/pack_support.h"

namespace lodestone {
namespace {

using test::error_of;
using test::TempDir;

std::filesystem::path write_image(const std::filesystem::path& file, const H5Image& image) {
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(image.bytes().data()), static_cast<std::streamsize>(image.size));
  return file;
}

TEST(H5, ReadsBackColumnsAndAttributes) {
  const TempDir dir;
  std::vector<int64_t> large(300000);  // more than two chunks
  std::iota(large.begin(), large.end(), -5);
  const std::vector<uint16_t> small{1, 2, 65535};
  H5Writer writer;
  writer.attribute("rows", int64_t{-7});
  writer.attribute("print", uint64_t{0xffffffffffffffff});
  writer.attribute("format", std::string_view("a text"));
  writer.column("group/large", H5Type::i64, large.data(), 300000);
  writer.column("small", H5Type::u16, small.data(), 3);
  writer.column("group/empty", H5Type::u8, nullptr, 0);
  const H5Image image = writer.finish();
  const auto file = write_image(dir / "a.h5", image);

  H5Reader reader(file);
  EXPECT_EQ(reader.integer("rows"), -7);
  EXPECT_EQ(reader.unsigned_integer("print"), 0xffffffffffffffff);
  EXPECT_EQ(reader.text("format"), "a text");
  EXPECT_THROW(reader.integer("none"), Error);
  EXPECT_FALSE(reader.column("group/empty", H5Type::u8, 10));
  const auto column = reader.column("group/large", H5Type::i64, 300000);
  ASSERT_TRUE(column);
  EXPECT_EQ(column->count, 300000);
  EXPECT_EQ(column->chunk, 131072);
  ASSERT_EQ(column->addresses.size(), 3u);
  for (const uint64_t address : column->addresses) EXPECT_GE(address, static_cast<uint64_t>(image.head_bytes));
  std::vector<int64_t> back(10);
  reader.read("group/large", 131070, 10, back.data());
  EXPECT_EQ(back[9], large[131079]);
  int64_t mapped = 0;  // the addresses are right
  std::memcpy(&mapped, image.bytes().data() + column->addresses[1] + 8, 8);
  EXPECT_EQ(mapped, large[131073]);
}

TEST(H5, WritesEqualFilesForEqualContent) {
  const auto make = [] {
    const std::vector<double> values{1, 2, 3};
    H5Writer writer;
    writer.column("a/b", H5Type::f64, values.data(), 3);
    writer.attribute("x", int64_t{1});
    const H5Image image = writer.finish();
    return std::vector<std::byte>(image.bytes().begin(), image.bytes().end());
  };
  EXPECT_EQ(make(), make());
}

/// A file made by the library itself, as an attacker would.
class Hostile : public ::testing::Test {
 protected:
  Hostile() { file_ = H5Fcreate((dir_ / "evil.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT); }

  hid_t chunked(hsize_t chunk, bool fletcher) {
    const hid_t layout = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(layout, 1, &chunk);
    if (fletcher) H5Pset_fletcher32(layout);
    return layout;
  }
  void dataset(hsize_t extent, hid_t layout, hid_t type = H5T_STD_I32LE, int rank = 1, bool fill = false) {
    const std::vector<hsize_t> dims(static_cast<size_t>(rank), extent);
    const hid_t space = H5Screate_simple(rank, dims.data(), nullptr),
                made = H5Dcreate2(file_, "ids", type, space, H5P_DEFAULT, layout, H5P_DEFAULT);
    ASSERT_GE(made, 0);
    const std::vector<int32_t> zeros(fill ? extent : 0);
    if (fill) H5Dwrite(made, H5T_STD_I32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros.data());
    H5Dclose(made);
  }
  std::string refusal(const std::string& path = "ids") {
    H5Fclose(file_);
    return error_of([&] { H5Reader(dir_ / "evil.h5").column(path, H5Type::i32, 1000000); }, dir_.path());
  }

  TempDir dir_;
  hid_t file_ = -1;
};

TEST_F(Hostile, ExternalStorageIsRefused) {
  const hid_t layout = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_external(layout, "/etc/passwd", 0, 40);
  dataset(10, layout);
  EXPECT_EQ(refusal(), "3 F35 the data lie in an external file; file=evil.h5 dataset=ids; do: use only files written by lodestone pack");
}
TEST_F(Hostile, ExternalLinkIsRefused) {
  H5Lcreate_external("/etc/other.h5", "/ids", file_, "ids", H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_EQ(refusal(),
            "3 F35 an external link leads into another file; file=evil.h5 dataset=ids; do: use only files written by lodestone pack");
}
TEST_F(Hostile, ExternalLinkInTheMiddleOfAPathIsRefused) {
  H5Lcreate_external("/etc/other.h5", "/", file_, "query", H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_EQ(refusal("query/ids"),
            "3 F35 an external link leads into another file; file=evil.h5 dataset=query/ids; do: use only files written by lodestone pack");
}
TEST_F(Hostile, SoftLinkIsRefused) {
  H5Lcreate_soft("/elsewhere", file_, "ids", H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_EQ(refusal(),
            "3 F35 a soft link where a dataset is expected; file=evil.h5 dataset=ids; do: use only files written by lodestone pack");
}
TEST_F(Hostile, VirtualDatasetIsRefused) {
  const hsize_t extent = 10;
  const hid_t layout = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, &extent, nullptr);
  H5Pset_virtual(layout, space, "/etc/other.h5", "ids", space);
  dataset(10, layout);
  EXPECT_EQ(refusal(),
            "3 F35 a virtual dataset shows data of other files; file=evil.h5 dataset=ids; do: use only files written by lodestone pack");
}
TEST_F(Hostile, ThousandMillionMillionElementsAreRefused) {
  dataset(1000000000000000, chunked(262144, true));
  EXPECT_EQ(refusal(),
            "3 F35 claims 1000000000000000 elements, more than the file can hold; file=evil.h5 dataset=ids; do: use only files written by "
            "lodestone pack");
}
TEST_F(Hostile, MoreElementsThanTheFileHoldsAreRefused) {
  dataset(900000, chunked(262144, true));
  EXPECT_EQ(
      refusal(),
      "3 F35 claims 900000 elements, more than the file can hold; file=evil.h5 dataset=ids; do: use only files written by lodestone pack");
}
TEST_F(Hostile, MissingChunksAreRefused) {
  dataset(10, chunked(10, true));
  EXPECT_EQ(refusal(), "3 F34 chunk 0 is missing or not inside the file; file=evil.h5 dataset=ids; do: restore the file or pack again");
}
TEST_F(Hostile, UnknownFilterIsRefused) {
  const hsize_t chunk = 10;
  const hid_t layout = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(layout, 1, &chunk);
  H5Pset_filter(layout, 32015, H5Z_FLAG_OPTIONAL, 0, nullptr);
  dataset(10, layout);
  EXPECT_EQ(refusal(),
            "3 F35 the filters are not exactly fletcher32; file=evil.h5 dataset=ids; do: use only files written by lodestone pack");
}
TEST_F(Hostile, DataWithoutChecksumAreRefused) {
  dataset(10, chunked(10, false), H5T_STD_I32LE, 1, true);
  EXPECT_EQ(refusal(),
            "3 F35 the filters are not exactly fletcher32; file=evil.h5 dataset=ids; do: use only files written by lodestone pack");
}
TEST_F(Hostile, ContiguousDataAreRefused) {
  dataset(10, H5P_DEFAULT, H5T_STD_I32LE, 1, true);
  EXPECT_EQ(refusal(), "3 F35 the dataset is not chunked; file=evil.h5 dataset=ids; do: use only files written by lodestone pack");
}
TEST_F(Hostile, AnotherTypeIsRefused) {
  dataset(10, chunked(10, true), H5T_IEEE_F32LE);
  EXPECT_EQ(refusal(), "3 F34 the elements have another type; file=evil.h5 dataset=ids; do: restore the file or pack again");
}
TEST_F(Hostile, TextIsRefused) {
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, 4);
  dataset(10, chunked(10, true), text);
  EXPECT_EQ(refusal(), "3 F34 the elements have another type; file=evil.h5 dataset=ids; do: restore the file or pack again");
}
TEST_F(Hostile, GroupInPlaceOfADatasetIsRefused) {
  H5Gclose(H5Gcreate2(file_, "ids", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  EXPECT_EQ(refusal(), "3 F34 cannot open the dataset: not a dataset; file=evil.h5 dataset=ids; do: restore the file or pack again");
}

TEST(H5, RefusesWhatIsNotHdf5) {
  const TempDir dir;
  EXPECT_EQ(error_of([&] { H5Reader(dir / "none.h5"); }, dir.path()),
            "3 F36 cannot open: No such file or directory; file=none.h5; do: restore the file or pack again");
  EXPECT_EQ(error_of([&] { H5Reader(test::write_text(dir / "a.h5", "hello")); }, dir.path()),
            "3 F34 not a readable HDF5 file: file signature not found; file=a.h5; do: restore the file or pack again");
}

}  // namespace
}  // namespace lodestone
