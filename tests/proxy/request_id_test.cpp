#include "proxy/request_id.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace rooster::proxy {
namespace {

WallTime at(std::int64_t milliseconds) {
  return WallTime(std::chrono::milliseconds(milliseconds));
}

TEST(RequestId, IsAUlidAndTheRegion) {
  RequestIdSource source("gru");
  // 1469918176385 is the ULID specification's own example: 01ARYZ6S41.
  const RequestId id = source.next(at(1'469'918'176'385));
  EXPECT_EQ(id.view().size(), 30U);
  EXPECT_EQ(id.view().substr(0, 10), "01ARYZ6S41");
  EXPECT_EQ(id.view().substr(26), "-gru");
  EXPECT_TRUE(std::ranges::all_of(id.view().substr(0, 26), [](char c) {
    return std::string_view("0123456789ABCDEFGHJKMNPQRSTVWXYZ").contains(c);
  }));
}

TEST(RequestId, SortsByTime) {
  RequestIdSource source("gru");
  EXPECT_LT(source.next(at(1'000'000)).view(), source.next(at(1'000'001)).view());
}

TEST(RequestId, DiffersEachTimeAndBetweenWorkers) {
  RequestIdSource a("gru");
  RequestIdSource b("gru");
  std::set<std::string> seen;
  for (int i = 0; i < 10'000; ++i) {
    seen.emplace(a.next(at(5)).view());
    seen.emplace(b.next(at(5)).view());
  }
  EXPECT_EQ(seen.size(), 20'000U);
}

TEST(RequestId, BoundsTheRegion) {
  EXPECT_EQ(RequestIdSource(std::string(100, 'x')).next(at(0)).view().size(), 39U);
  EXPECT_EQ(RequestIdSource("").next(at(0)).view().size(), 26U);
}

}  // namespace
}  // namespace rooster::proxy
