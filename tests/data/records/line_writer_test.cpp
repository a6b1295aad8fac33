// Has a file of lines its name when it is whole, and not before?
#include "data/records/line_writer.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/temp_dir.h"
#include "tests/support/text_file.h"

namespace lodestone {
namespace {

class Lines : public ::testing::Test {
 protected:
  int64_t files() const { return std::distance(std::filesystem::directory_iterator(dir_.path()), {}); }
  test::TempDir dir_;
};

TEST_F(Lines, HaveTheirNameWhenTheFileIsWhole) {
  {
    LineWriter writer(dir_ / "a");
    writer.write("one");
    writer.write("");
    EXPECT_FALSE(std::filesystem::exists(dir_ / "a"));
    writer.publish();
  }
  EXPECT_EQ(test::read_text(dir_ / "a"), "one\n\n");
  { LineWriter(dir_ / "b").write("one"); }
  EXPECT_EQ(files(), 1) << "what is not published is gone";
}

TEST_F(Lines, NeverTakeTheNameOfAnotherFile) {
  test::write_text(dir_ / "a", "mine");
  EXPECT_THROW(LineWriter(dir_ / "a"), Error);
  {
    LineWriter late(dir_ / "b");
    test::write_text(dir_ / "b", "mine");
    EXPECT_THROW(late.publish(), Error);
  }
  EXPECT_EQ(test::read_text(dir_ / "b"), "mine");
  EXPECT_EQ(files(), 2);
}

}  // namespace
}  // namespace lodestone
