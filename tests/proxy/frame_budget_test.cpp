#include "proxy/frame_budget.hpp"

#include <gtest/gtest.h>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;

int most(auto take) {
  int taken = 0;
  while (taken < 100'000 && take()) ++taken;
  return taken;
}

TEST(FrameBudget, ABrowserThatLeavesAPageMayResetAllItsStreams) {
  TimePoint now{};
  FrameBudget budget(now);
  EXPECT_EQ(most([&] { return budget.take_reset(now); }), 256);
  now += 1s;
  EXPECT_EQ(most([&] { return budget.take_reset(now); }), 64);
  now += 1h;
  EXPECT_EQ(most([&] { return budget.take_reset(now); }), 256);
}

TEST(FrameBudget, FramesThatCarryNothingRunOut) {
  const TimePoint now{};
  FrameBudget budget(now);
  EXPECT_EQ(most([&] { return budget.take_frame(now); }), 1024);
}

TEST(FrameBudget, FramesBesideUseDoNot) {
  const TimePoint now{};
  FrameBudget budget(now);
  for (int i = 0; i < 100'000; ++i) {
    budget.use();
    for (int frame = 0; frame < 8; ++frame) ASSERT_TRUE(budget.take_frame(now));
  }
}

}  // namespace
}  // namespace rooster::proxy
