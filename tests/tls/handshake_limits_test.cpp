#include "tls/handshake_limits.hpp"

#include "core/limits.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace rooster::tls {
namespace {

using namespace std::chrono_literals;

const TimePoint kStart = TimePoint{} + 1h;
const IpAddress kHere = IpAddress::v4(0xC0000201);       // 192.0.2.1
const IpAddress kBeside = IpAddress::v4(0xC00002FE);     // the same /24
const IpAddress kElsewhere = IpAddress::v4(0xC6336401);  // 198.51.100.1

std::size_t taken(HandshakeLimits& limits, const IpAddress& source, std::size_t tries,
                  TimePoint now, const std::string& name = "") {
  std::size_t count = 0;
  for (std::size_t i = 0; i < tries; ++i) count += limits.take(source, name, now) ? 1 : 0;
  return count;
}

TEST(HandshakeLimits, ARangeHasItsBurstAndThenItsPace) {
  HandshakeLimits limits(1, 7);
  EXPECT_EQ(taken(limits, kHere, 100'000, kStart), limits::kHandshakeBurstPerRange);
  EXPECT_EQ(taken(limits, kBeside, 100, kStart), 0U) << "a /24 is one range";
  EXPECT_EQ(taken(limits, kElsewhere, 100, kStart), 100U);
  EXPECT_EQ(taken(limits, kHere, 100'000, kStart + 2s), 2 * limits::kHandshakesPerRange);
}

TEST(HandshakeLimits, WorkersShareThem) {
  HandshakeLimits limits(4, 7);
  EXPECT_EQ(taken(limits, kHere, 100'000, kStart), limits::kHandshakeBurstPerRange / 4);
}

TEST(HandshakeLimits, OneNameLeavesTheOthersTheirs) {
  HandshakeLimits limits(1, 7);
  std::size_t count = 0;
  for (std::uint32_t range = 0; range < 100; ++range) {
    count += taken(limits, IpAddress::v4(0x0A000001 + (range << 8)), 100, kStart, "flooded.dev");
  }
  EXPECT_EQ(count, limits::kHandshakeBurstPerName);
  EXPECT_EQ(taken(limits, kHere, 100, kStart, "neighbour.dev"), 100U);
}

TEST(HandshakeLimits, ASourceOverItsLimitTakesNothingOfTheNames) {
  HandshakeLimits limits(1, 7);
  taken(limits, kHere, 100'000, kStart, "app.dev");
  EXPECT_EQ(taken(limits, kElsewhere, 500, kStart, "app.dev"), 500U);
}

TEST(HandshakeLimits, SixPrefixesAreTakenAs48) {
  const auto one = *IpAddress::parse("2001:db8:1:aaaa::1");
  const auto same = *IpAddress::parse("2001:db8:1:bbbb::2");
  const auto other = *IpAddress::parse("2001:db8:2::1");
  EXPECT_EQ(HandshakeLimits::range_of(one), HandshakeLimits::range_of(same));
  EXPECT_NE(HandshakeLimits::range_of(one), HandshakeLimits::range_of(other));
}

// A million ranges: the table stays as it is, and one that floods among them stays held.
TEST(HandshakeLimits, ManyRangesDoNotWashAFloodOut) {
  HandshakeLimits limits(1, 7);
  std::size_t flooded = 0;
  TimePoint now = kStart;
  for (std::uint32_t i = 0; i < 1'000'000; ++i, now += 1us) {
    flooded += limits.take(kHere, "", now) ? 1 : 0;
    limits.take(IpAddress::v4(0x20000000 + (i << 8 & 0x0FFFFF00)), "", now);
  }
  std::printf(
      "attack: 1 000 000 handshakes from one range in a second beside 1 000 000 others: "
      "%zu went on\n",
      flooded);
  EXPECT_LE(flooded, limits::kHandshakeBurstPerRange + limits::kHandshakesPerRange + 1);
}

}  // namespace
}  // namespace rooster::tls
