#include "machines/prewake_budget.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace rooster::machines {
namespace {

using namespace std::chrono_literals;

const IpAddress kSource = *IpAddress::parse("192.0.2.1");

class PrewakeBudgetTest : public ::testing::Test {
 protected:
  int taken(const IpAddress& source, int tries) {
    int count = 0;
    for (int i = 0; i < tries; ++i) {
      if (budget.take(source, AppId{next_app++}, 5min, now)) ++count;
    }
    return count;
  }
  PrewakeBudget budget;
  TimePoint now = TimePoint() + 1h;
  std::uint32_t next_app = 1'000'000;
};

TEST_F(PrewakeBudgetTest, ASourceHasABurstOfFiveAndOneASecond) {
  EXPECT_EQ(taken(kSource, 20), 5);
  now += 3s;
  EXPECT_EQ(taken(kSource, 20), 3);
  now += 1h;
  EXPECT_EQ(taken(kSource, 20), 5);
}

TEST_F(PrewakeBudgetTest, NeighboursShareABucketAndStrangersDoNot) {
  EXPECT_EQ(taken(kSource, 5), 5);
  EXPECT_EQ(taken(*IpAddress::parse("192.0.2.200"), 5), 0);
  EXPECT_EQ(taken(*IpAddress::parse("192.0.3.1"), 5), 5);
  EXPECT_EQ(taken(*IpAddress::parse("2001:db8:1:2::3"), 5), 5);
  EXPECT_EQ(taken(*IpAddress::parse("2001:db8:1:ffff::"), 5), 0);
  EXPECT_EQ(taken(*IpAddress::parse("2001:db8:2::"), 5), 5);
}

TEST_F(PrewakeBudgetTest, AnAppIsPrewokenOnceInItsIdleTimeout) {
  EXPECT_TRUE(budget.take(kSource, AppId{7}, 5min, now));
  now += 4min;
  EXPECT_FALSE(budget.take(kSource, AppId{7}, 5min, now));
  now += 1min;
  EXPECT_TRUE(budget.take(kSource, AppId{7}, 5min, now));
}

TEST_F(PrewakeBudgetTest, AWasteDoublesTheCostUntilARequestFollows) {
  EXPECT_EQ(taken(kSource, 1), 1);
  budget.wasted(kSource);
  now += 10s;
  EXPECT_EQ(taken(kSource, 20), 2);
  budget.wasted(kSource);
  budget.wasted(kSource);
  now += 10s;
  EXPECT_EQ(taken(kSource, 20), 1);
  budget.useful(kSource);
  now += 10s;
  EXPECT_EQ(taken(kSource, 20), 5);
}

TEST_F(PrewakeBudgetTest, KnowsOnlySoManySources) {
  for (std::uint32_t i = 0; i < PrewakeBudget::kMaxSources; ++i) {
    ASSERT_TRUE(budget.take(IpAddress::v4(i << 8), AppId{i}, 5min, now));
  }
  EXPECT_EQ(taken(IpAddress::v4(0xC0A80001), 1), 0);
  now += 10s;  // all are as good as new: forgotten
  EXPECT_EQ(taken(IpAddress::v4(0xC0A80001), 1), 1);
}

}  // namespace
}  // namespace rooster::machines
