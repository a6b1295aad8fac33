// Does the safetensors reader accept good files exactly and refuse every malformed one by name?
#include "data/files/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "tests/support/model_files.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

using test::TempDir;

std::string with_length(const std::string& header, const std::string& data, uint64_t length) {
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}
std::string with_length(const std::string& header, const std::string& data) { return with_length(header, data, header.size()); }

std::string bytes_of(const auto& values) { return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0])}; }

/// Opens a file of these bytes, calls use, and returns the refusal's text ("" when there was none).
std::string refusal(const std::string& content, const std::function<void(const SafetensorsReader&)>& use = {}) {
  const TempDir dir;
  test::write_text(dir / "x.safetensors", content);
  try {
    const SafetensorsReader reader(dir / "x.safetensors");
    if (use) use(reader);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::checkpoint);
    EXPECT_EQ(error.code(), "F42");
    EXPECT_NE(error.where().find("x.safetensors"), std::string::npos) << error.where();
    return cat(error.what(), " | ", error.where());
  }
  return "";
}

void expect_refused(const std::string& content, const std::string& part) {
  const std::string text = refusal(content);
  EXPECT_NE(text.find(part), std::string::npos) << "got: " << text;
}

TEST(Safetensors, ReadsWhatItWroteBitByBit) {
  const TempDir dir;
  std::vector<double> a{1.5, -2.25, 1e300};
  std::vector<float> b{1, 2, 3, 4, 5, -0.0f};
  std::vector<bfloat16> c{bfloat16(1.5f), bfloat16(-3.0f)};
  std::vector<float> none;
  const NamedTensor tensors[] = {{"a", view(std::span(a))},
                                 {"b", Tensor(view(std::span(b))).reshape({2, 3})},
                                 {"empty", Tensor(reinterpret_cast<std::byte*>(b.data()), DType::f32, {0, 4})},
                                 {"c", view(std::span(c))}};
  write_safetensors(dir / "t.safetensors", tensors, {{"format", "pt"}, {"note", "x\"y"}});
  const SafetensorsReader reader(dir / "t.safetensors");
  ASSERT_EQ(reader.tensors().size(), 4u);
  EXPECT_EQ(reader.metadata().at("note"), "x\"y");
  EXPECT_EQ(reader.find("b")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(reader.find("missing"), nullptr);
  std::vector<double> a2(3);
  reader.read(*reader.find("a"), std::span(a2));
  EXPECT_EQ(a2, a);
  std::vector<float> b2(6), c2(2);
  reader.read(*reader.find("b"), std::span(b2));
  EXPECT_EQ(bytes_of(b2), bytes_of(b));
  reader.read(*reader.find("c"), std::span(c2));
  EXPECT_EQ(c2, (std::vector<float>{1.5f, -3.0f}));
}

TEST(Safetensors, ConvertsEveryHalfPrecisionNumberExactly) {
  std::vector<uint16_t> half;
  for (uint32_t h = 0; h < 65536; ++h)
    if (((h >> 10) & 31) != 31) half.push_back(static_cast<uint16_t>(h));
  const std::string header = cat(R"({"h":{"dtype":"F16","shape":[)", half.size(), R"(],"data_offsets":[0,)", half.size() * 2, "]}}");
  std::vector<float> values(half.size());
  EXPECT_EQ(refusal(with_length(header, bytes_of(half)), [&](const SafetensorsReader& r) { r.read(r.tensors()[0], std::span(values)); }),
            "");
  for (size_t i = 0; i < half.size(); ++i) {
    const int exponent = (half[i] >> 10) & 31, mantissa = half[i] & 1023;
    const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    ASSERT_EQ(static_cast<double>(values[i]), half[i] & 0x8000 ? -magnitude : magnitude) << half[i];
  }
}

TEST(Safetensors, AcceptsAFileWithoutTensors) { EXPECT_EQ(refusal(with_length("{}", "")), ""); }

TEST(Safetensors, AcceptsScalarsAndPaddedHeaders) {
  EXPECT_EQ(refusal(with_length(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}      )", "abcd")), "");
}

const std::string one = R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

TEST(Safetensors, RefusesBadHeaderLengths) {
  expect_refused("", "too few");
  expect_refused("1234567", "too few");
  expect_refused(with_length(one, "12345678", 100'000'001), "at most 100000000");
  expect_refused(with_length(one, "12345678", UINT64_MAX), "at most 100000000");
  expect_refused(with_length(one, "12345678", 1000), "the file has");
  expect_refused(with_length("", ""), "begin with '{'");
}

TEST(Safetensors, RefusesBadHeaders) {
  expect_refused(with_length(" " + one, "12345678"), "begin with '{'");
  expect_refused(with_length("[1]", ""), "begin with '{'");
  expect_refused(with_length(one.substr(0, one.size() - 1), "12345678"), "not valid JSON");
  expect_refused(with_length("{\"\xff\":1}", ""), "not valid JSON");
  expect_refused(with_length(R"({"t":1,"t":2})", ""), "occurs twice");
  expect_refused(with_length(R"({"t":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "12345678"), "occurs twice");
  expect_refused(with_length(R"({"__metadata__":{"a":1}})", ""), "not a string");
  expect_refused(with_length(R"({"__metadata__":[]})", ""), "not an object");
  expect_refused(with_length(std::string("{\"a\":") + std::string(100, '[') + std::string(100, ']') + "}", ""), "nested");
  expect_refused(with_length(one + "\n" + one, "12345678"), "not valid JSON");
}

TEST(Safetensors, RefusesBadTensorEntriesNamingTheTensor) {
  const auto entry = [](const std::string& info) { return with_length("{\"t\":" + info + "}", "12345678"); };
  expect_refused(entry("1"), "tensor=t");
  expect_refused(entry(R"({"shape":[2],"data_offsets":[0,8]})"), "no dtype");
  expect_refused(entry(R"({"dtype":"F31","shape":[2],"data_offsets":[0,8]})"), "\"F31\" is unknown");
  expect_refused(entry(R"({"dtype":"F32","data_offsets":[0,8]})"), "no shape");
  expect_refused(entry(R"({"dtype":"F32","shape":[2]})"), "data_offsets");
  expect_refused(entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,9]})"), "data_offsets");
  expect_refused(entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":0})"), "unknown key");
  expect_refused(entry(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), "not negative");
  expect_refused(entry(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), "whole numbers");
  expect_refused(entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), "need 12 bytes");
  expect_refused(entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), "need 8 bytes");
  expect_refused(entry(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})"), "overflows");
  expect_refused(entry(R"({"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]})"), "overflows");
  expect_refused(entry(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})"), "overflows");
  expect_refused(entry(R"({"dtype":"F32","shape":[1e400],"data_offsets":[0,8]})"), "not valid JSON");
}

TEST(Safetensors, RefusesHolesOverlapsAndTails) {
  const auto two = [](int a0, int a1, int b0, int b1, size_t data) {
    return with_length(cat(R"({"a":{"dtype":"U8","shape":[)", a1 - a0, R"(],"data_offsets":[)", a0, ",", a1,
                           R"(]},"b":{"dtype":"U8","shape":[)", b1 - b0, R"(],"data_offsets":[)", b0, ",", b1, "]}}"),
                       std::string(data, 'x'));
  };
  EXPECT_EQ(refusal(two(4, 8, 0, 4, 8)), "");
  expect_refused(two(0, 4, 5, 8, 8), "hole");
  expect_refused(two(1, 4, 4, 8, 8), "hole");
  expect_refused(two(0, 4, 3, 8, 8), "overlaps");
  expect_refused(two(0, 4, 0, 4, 4), "overlaps");
  expect_refused(two(0, 4, 4, 8, 7), "cut");
  expect_refused(two(0, 4, 4, 8, 9), "follow the last tensor");
}

TEST(Safetensors, RefusesWeightsThatAreNotFiniteOrNotFloating) {
  const auto read = [](const SafetensorsReader& r) {
    std::vector<float> values(static_cast<size_t>(r.tensors()[0].count));
    r.read(r.tensors()[0], std::span(values));
  };
  const std::vector<float> bad{1, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_NE(refusal(with_length(one, bytes_of(bad)), read).find("element 1 is"), std::string::npos);
  EXPECT_NE(refusal(with_length(R"({"t":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}})", "12345678"), read).find("I32"),
            std::string::npos);
}

TEST(Safetensors, LeavesNoFileWhenWritingFails) {
  const TempDir dir;
  std::vector<float> x{1};
  const NamedTensor twice[] = {{"x", view(std::span(x))}, {"x", view(std::span(x))}};
  EXPECT_THROW(write_safetensors(dir / "t", twice), Error);
  EXPECT_FALSE(std::filesystem::exists(dir / "t"));
  test::write_text(dir / "t", "old");
  EXPECT_THROW(write_safetensors(dir / "t", std::span(twice).first(1)), Error);
  EXPECT_EQ(test::read_text(dir / "t"), "old");
}

TEST(Safetensors, NeverCrashesOnFlippedHeaderBits) {
  const std::string good = with_length(
      R"({"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]}})", "1234567812ab");
  for (size_t bit = 0; bit < (good.size() - 12) * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    refusal(bad);  // refused, or readable under another name: the checks inside refusal() are the test
  }
}

}  // namespace
}  // namespace lodestone
