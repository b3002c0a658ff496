#include "proxy/pace.hpp"

#include <gtest/gtest.h>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;

constexpr auto bytes = [](std::uint64_t count) { return [count] { return count; }; };

TEST(Pace, JudgesOnlyAtTheEndOfAWindow) {
  Pace pace;
  const TimePoint start = Clock::now();
  pace.begin(start, bytes(1000));
  EXPECT_EQ(pace.deadline(), start + 30s);
  EXPECT_TRUE(pace.keeps_up(start + 29s, bytes(1000)));
  EXPECT_FALSE(pace.keeps_up(start + 30s, bytes(1000 + 7199)));
}

TEST(Pace, AClientThatMovesEnoughGetsAnotherWindow) {
  Pace pace;
  const TimePoint start = Clock::now();
  pace.begin(start, bytes(0));
  EXPECT_TRUE(pace.keeps_up(start + 30s, bytes(7200)));
  EXPECT_EQ(pace.deadline(), start + 60s);
  EXPECT_FALSE(pace.keeps_up(start + 60s, bytes(7200)));
}

TEST(Pace, TimeInWhichNobodyWaitsForTheClientDoesNotCount) {
  Pace pace;
  const TimePoint start = Clock::now();
  pace.begin(start, bytes(0));
  pace.end();
  EXPECT_TRUE(pace.keeps_up(start + 90s, bytes(0)));
  pace.begin(start + 90s, bytes(0));
  EXPECT_EQ(pace.deadline(), start + 120s);
  pace.begin(start + 100s, bytes(0));
  EXPECT_EQ(pace.deadline(), start + 120s) << "it counts already";
}

}  // namespace
}  // namespace rooster::proxy
