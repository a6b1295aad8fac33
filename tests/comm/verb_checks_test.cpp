// Which operands of a reduce_scatter are refused?
#include "comm/verb_checks.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/error.h"

namespace lodestone {
namespace {

using verbs::Scattered;

/// Parts of 3, 0 and 4 elements, of a world of three.
class ScatterChecks : public testing::Test {
 protected:
  /// What a rank writes of `room`, whose elements [2, 9) are scattered.
  int64_t check(int rank, Slice out, Scattered scattered, Slice in = {2, 9}) {
    const Tensor all = view(std::span(room_));
    return verbs::check_reduce_scatter(all.slice(in), all.slice(out), counts_, rank, 3, scattered);
  }

  std::vector<float> room_ = std::vector<float>(16);
  const std::vector<int64_t> counts_{3, 0, 4};
};

TEST_F(ScatterChecks, APartMayLieAtItsPlaceInTheInputWhereThatIsAllowed) {
  EXPECT_EQ(check(0, {2, 5}, Scattered::or_in_place), 7);
  EXPECT_EQ(check(2, {5, 9}, Scattered::or_in_place), 7);
  EXPECT_THROW(check(0, {2, 5}, Scattered::elsewhere), Error);
  EXPECT_THROW(check(2, {5, 9}, Scattered::elsewhere), Error);
}

TEST_F(ScatterChecks, APartThatReachesIntoTheInputElsewhereIsRefused) {
  for (const Scattered scattered : {Scattered::elsewhere, Scattered::or_in_place}) {
    for (const int64_t begin : {0, 1, 3, 4, 8}) EXPECT_THROW(check(0, {begin, begin + 3}, scattered), Error) << begin;
    for (const int64_t begin : {0, 2, 4, 6, 8}) EXPECT_THROW(check(2, {begin, begin + 4}, scattered), Error) << begin;
    EXPECT_EQ(check(0, {9, 12}, scattered), 7) << "right behind it";
    EXPECT_EQ(check(0, {0, 3}, scattered, {3, 10}), 7) << "right before it";
    for (const int64_t begin : {0, 2, 5, 9}) EXPECT_EQ(check(1, {begin, begin}, scattered), 7) << "nothing lies anywhere";
  }
}

TEST_F(ScatterChecks, WhatDoesNotHaveTheShapeOfThePartsIsRefused) {
  for (const Scattered scattered : {Scattered::elsewhere, Scattered::or_in_place}) {
    EXPECT_THROW(check(0, {2, 4}, scattered), Error) << "too short";
    EXPECT_THROW(check(0, {2, 6}, scattered), Error) << "too long";
    EXPECT_THROW(check(1, {5, 6}, scattered), Error) << "where there is nothing";
    EXPECT_THROW(check(2, {5, 9}, scattered, {2, 10}), Error) << "an input longer than all parts";
    EXPECT_THROW(check(2, {5, 9}, scattered, {2, 8}), Error) << "or shorter";
  }
  const Tensor floats = view(std::span(room_));
  std::vector<double> wide(3);
  EXPECT_THROW(verbs::check_reduce_scatter(floats.slice({2, 9}), view(std::span(wide)), counts_, 0, 3, Scattered::or_in_place), Error);
}

}  // namespace
}  // namespace lodestone
