#include "keeper/restart_budget.hpp"

#include <gtest/gtest.h>

namespace rooster::keeper {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint kStart{1000s};

TEST(RestartBudget, ABurstOfDeathsIsForgivenAndWhatDiesForEverIsSlow) {
  RestartBudget budget;
  for (int i = 0; i < RestartBudget::kAtOnce; ++i) EXPECT_EQ(budget.take(kStart), kStart) << i;
  TimePoint now = kStart;
  for (int i = 0; i < 100; ++i) {
    const TimePoint at = budget.take(now);
    EXPECT_EQ(at, now + RestartBudget::kEach);
    now = at;
  }
}

TEST(RestartBudget, QuietTimeGivesBackWhatWasSpent) {
  RestartBudget budget;
  for (int i = 0; i <= RestartBudget::kAtOnce; ++i) budget.take(kStart);
  const TimePoint later = kStart + 1h;
  for (int i = 0; i < RestartBudget::kAtOnce; ++i) EXPECT_EQ(budget.take(later), later) << i;
  EXPECT_GT(budget.take(later), later);
}

TEST(RestartBudget, ADeathNowAndThenIsAlwaysForgiven) {
  RestartBudget budget;
  for (int i = 0; i < 10'000; ++i) {
    const TimePoint now = kStart + i * RestartBudget::kEach;
    EXPECT_EQ(budget.take(now), now);
  }
}

}  // namespace
}  // namespace rooster::keeper
