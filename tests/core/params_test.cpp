// Does who takes a view of parameters that are on their way bring those that it covers, and no others?
#include "core/params.h"

#include <gtest/gtest.h>

#include "tests/support/host_memory.h"

namespace lodestone {
namespace {

/// Two parameters of four elements.
ParamLayout two_params() {
  ParamLayout layout;
  layout.add("first", {4}, Decay::yes);
  layout.add("second", {2, 2}, Decay::no);
  return layout;
}

class Arrivals : public ::testing::Test {
 protected:
  /// Three elements come at a time. Each has its number as its value once it is there.
  void send() {
    params_.expect([this, arrived = int64_t{0}](int64_t end) mutable {
      asked_.push_back(end);
      for (; arrived < end; arrived += 3) {
        const Slice slice{arrived, std::min(arrived + 3, int64_t{8})};
        for (int64_t i = slice.begin; i < slice.end; ++i) values_[static_cast<size_t>(i)] = static_cast<float>(i);
        params_.refresh(test::host_backend, slice);
      }
      return std::min(arrived, int64_t{8});
    });
  }

  ParamStore params_{test::host_backend.memory(), two_params(), DType::bf16};
  const std::span<float> values_ = params_.masters().host<float>();
  std::vector<int64_t> asked_;
};

TEST_F(Arrivals, AViewBringsWhatItCoversAndNothingBehindItThatCanComeLater) {
  send();
  EXPECT_EQ(asked_, std::vector<int64_t>{}) << "nobody has looked";
  EXPECT_EQ(params_.masters({1, 3}).host<float>()[1], 2.0f);
  EXPECT_EQ(static_cast<float>(params_.compute(params_.layout().find("first")).host<bfloat16>()[3]), 3.0f) << "one more is wanted";
  EXPECT_EQ(asked_, (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(values_[6], 0.0f) << "it is still on its way";
  (void)params_.masters({0, 6});
  EXPECT_EQ(asked_.size(), 2u) << "those came with the others";
  EXPECT_EQ(params_.master(params_.layout().find("second")).host<float>()[3], 7.0f);
  EXPECT_EQ(asked_, (std::vector<int64_t>{3, 4, 8}));
  (void)params_.masters();
  EXPECT_EQ(asked_.size(), 3u) << "all are there";
}

TEST_F(Arrivals, AllAreBroughtWhereAllAreWanted) {
  send();
  EXPECT_EQ(params_.masters().host<float>()[7], 7.0f);
  send();
  params_.refresh(test::host_backend);
  EXPECT_EQ(asked_, (std::vector<int64_t>{8, 8}));
}

TEST_F(Arrivals, OthersMayNotBeSentBehindThem) {
  send();
  EXPECT_THROW(send(), Error);
}

}  // namespace
}  // namespace lodestone
