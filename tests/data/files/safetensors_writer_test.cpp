// Does the writer round each value to the nearest of its dtype, and give back what a file held bit by bit?
#include "data/files/safetensors_writer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/temp_dir.h"
#include "tests/support/text_file.h"

namespace lodestone {
namespace {

using test::TempDir;

StoredTensor tensor(const char* name, const char* dtype, int64_t count) {
  return {.name = name, .dtype = dtype, .shape = {count}, .count = count};
}

/// What is read back of values written as `dtype`.
std::vector<double> stored(const char* dtype, const std::vector<double>& values) {
  const TempDir dir;
  SafetensorsWriter writer(dir / "t", {tensor("x", dtype, std::ssize(values))});
  writer.write(values);
  writer.finish();
  const SafetensorsReader reader(dir / "t");
  std::vector<double> read(values.size());
  reader.read(*reader.find("x"), read);
  return read;
}

TEST(SafetensorsWriter, GivesBackEveryFiniteNumberOfSixteenBitsBitForBit) {
  for (const char* dtype : {"F16", "BF16"}) {
    std::vector<uint16_t> bits;
    const unsigned exponent = std::string_view(dtype) == "F16" ? 0x7c00u : 0x7f80u;
    for (unsigned b = 0; b < 0x10000u; ++b)
      if ((b & exponent) != exponent) bits.push_back(static_cast<uint16_t>(b));
    const TempDir dir;
    const std::vector<StoredTensor> all{tensor("x", dtype, std::ssize(bits))};
    test::write_text(dir / "a", safetensors_header(std::span(all), {{"format", "pt"}}) +
                                    std::string(reinterpret_cast<const char*>(bits.data()), 2 * bits.size()));
    const SafetensorsReader reader(dir / "a");
    std::vector<double> values(bits.size());
    reader.read(*reader.find("x"), values);
    SafetensorsWriter writer(dir / "b", {tensor("x", dtype, std::ssize(bits))});
    writer.write(values);
    writer.finish();
    EXPECT_TRUE(test::read_text(dir / "a") == test::read_text(dir / "b")) << dtype;
  }
}

TEST(SafetensorsWriter, RoundsToTheNearestAndOfTwoToTheEven) {
  EXPECT_EQ(stored("F16", {1 + 0x1p-11, 1 + 0x1.8p-10, 1 + 0x1.00001p-11, 0x1p-25, 0x1.8p-24, 65519.99, -0x1.ffcp-15}),
            (std::vector<double>{1, 1 + 0x1p-9, 1 + 0x1p-10, 0, 0x1p-23, 65504, -0x1p-14}));
  EXPECT_EQ(stored("BF16", {1 + 0x1p-8, 1 + 0x1.8p-7, 1 + 0x1.0000000001p-8, 0x1p-134}),  // the third is a tie once rounded to f32
            (std::vector<double>{1, 1 + 0x1p-6, 1 + 0x1p-7, 0}));
  EXPECT_EQ(stored("F32", {1 + 0x1p-24, 1 + 0x1.8p-23}), (std::vector<double>{1, 1 + 0x1p-22}));
  EXPECT_EQ(stored("F64", {0x1.123456789abcdp3}), (std::vector<double>{0x1.123456789abcdp3}));
}

TEST(SafetensorsWriter, RefusesWhatIsNotFiniteThereAndLeavesNoFile) {
  for (const auto& [dtype, value] :
       {std::pair("F16", 65520.0), std::pair("BF16", 3.4e38), std::pair("F32", 3.5e38), std::pair("F64", double{NAN})}) {
    const TempDir dir;
    try {
      SafetensorsWriter writer(dir / "t", {tensor("weight", dtype, 2)});
      writer.write(std::vector<double>{1, value});
      FAIL() << dtype;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), "F44");
      EXPECT_NE(error.where().find("tensor=weight"), std::string::npos) << error.where();
    }
    EXPECT_FALSE(std::filesystem::exists(dir / "t"));
  }
}

TEST(SafetensorsWriter, WritesTheBytesOfTheWriterOfWholeTensors) {
  const TempDir dir;
  std::vector<double> a{1, 2, 3};
  std::vector<float> b{-1, 0.5f};
  const NamedTensor tensors[] = {{"a", view(std::span(a))}, {"b", view(std::span(b))}};
  write_safetensors(dir / "whole", tensors);
  SafetensorsWriter writer(dir / "parts", {tensor("a", "F64", 3), tensor("b", "F32", 2)});
  writer.write(a);
  EXPECT_EQ(writer.next().name, "b");
  EXPECT_THROW(writer.finish(), Error) << "a tensor is missing";
  writer.write(std::vector<double>(b.begin(), b.end()));
  writer.finish();
  EXPECT_EQ(test::read_text(dir / "whole"), test::read_text(dir / "parts"));
}

}  // namespace
}  // namespace lodestone
