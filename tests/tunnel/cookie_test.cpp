// Under load: who is asked for a cookie, who shows it, and how much each source may ask.
#include "tunnel/cookie.hpp"

#include "tests/tunnel/pair.hpp"
#include "tunnel/rate_limit.hpp"

namespace rooster::tunnel {
namespace {

using testing::Data;
using testing::moment;
using testing::Pair;
using namespace std::chrono_literals;

constexpr std::uint8_t kInitiation = 1, kResponse = 2, kCookie = 3;

Pair::Options right_is_loaded() {
  Pair::Options options;
  options.right.initiations_before_cookies = 0;
  return options;
}

TEST(Cookie, UnderLoadTheFirstInitiationGetsACookieAndTheSecondASession) {
  Pair pair(right_is_loaded());
  pair.send(pair.left);
  pair.deliver();
  EXPECT_EQ(pair.count_sent(pair.right, kCookie), 1u);
  EXPECT_EQ(pair.count_sent(pair.right, kResponse), 0u);
  EXPECT_EQ(pair.left.device.statistics().cookies_received, 1u);
  EXPECT_EQ(pair.log.back().bytes, 64u);  // less than what asked for it
  pair.run_for(6s);
  EXPECT_EQ(pair.count_sent(pair.left, kInitiation), 2u);
  EXPECT_EQ(pair.count_sent(pair.right, kResponse), 1u);
  EXPECT_EQ(pair.count_sent(pair.right, kCookie), 1u);
  EXPECT_EQ(pair.right.packets.size(), 1u);
}

TEST(Cookie, ACookieIsOnlyGoodForItsAddressAndPort) {
  Pair pair(right_is_loaded());
  pair.send(pair.left);
  pair.deliver();
  pair.left.here = testing::udp("192.0.2.1", 1112);  // a NAT changed the port
  pair.run_for(6s);
  EXPECT_EQ(pair.count_sent(pair.right, kResponse), 0u);
  EXPECT_EQ(pair.count_sent(pair.right, kCookie), 2u);
  pair.run_for(6s);
  EXPECT_EQ(pair.count_sent(pair.right, kResponse), 1u);
}

TEST(Cookie, ACookieIsUsedForTwoMinutes) {
  Algorithms algorithms;
  testing::SeededRandom random(1);
  const PublicKey key = PrivateKey::generate(random).public_key();
  CookieMaker maker(algorithms, key);
  MacStamper stamper(algorithms, key);
  const auto from = testing::udp("192.0.2.1", 1111);
  const TimePoint start = moment(0s).boot;
  std::array<std::uint8_t, wire::kInitiationBytes> message{};
  std::array<std::uint8_t, wire::kCookieReplyBytes> reply{};
  const auto is_proven = [&](Duration when) {
    stamper.stamp(algorithms, message, start + when);
    EXPECT_TRUE(maker.is_mac1_right(algorithms, message));
    return maker.is_mac2_right(algorithms, message, from, random, start + when);
  };
  EXPECT_FALSE(is_proven(0s));
  maker.write_reply(algorithms, message, 5, from, random, start, reply);
  EXPECT_TRUE(stamper.take_reply(algorithms, reply, start));
  EXPECT_FALSE(stamper.take_reply(algorithms, reply, start)) << "once for one message";
  EXPECT_TRUE(is_proven(1s));
  EXPECT_TRUE(is_proven(119s));
  EXPECT_FALSE(is_proven(121s));
}

TEST(Cookie, AReplyToAnotherMessageOrADamagedOneIsNotTaken) {
  Algorithms algorithms;
  testing::SeededRandom random(1);
  const PublicKey key = PrivateKey::generate(random).public_key();
  CookieMaker maker(algorithms, key);
  MacStamper stamper(algorithms, key);
  const auto from = testing::udp("192.0.2.1", 1111);
  const TimePoint start = moment(0s).boot;
  std::array<std::uint8_t, wire::kInitiationBytes> message{}, other{};
  std::array<std::uint8_t, wire::kCookieReplyBytes> reply{};
  EXPECT_FALSE(stamper.take_reply(algorithms, reply, start)) << "nothing was sent";
  stamper.stamp(algorithms, message, start);
  other[9] = 1;
  maker.write_reply(algorithms, other, 5, from, random, start, reply);
  EXPECT_FALSE(stamper.take_reply(algorithms, reply, start));
  maker.write_reply(algorithms, message, 5, from, random, start, reply);
  reply[40] ^= 1;
  EXPECT_FALSE(stamper.take_reply(algorithms, reply, start));
  reply[40] ^= 1;
  EXPECT_TRUE(stamper.take_reply(algorithms, reply, start));
}

TEST(Cookie, WrongMac1GetsNothingEvenUnderLoad) {
  Pair pair(right_is_loaded());
  pair.send(pair.left);
  Data initiation = pair.under_way.front().bytes;
  pair.under_way.clear();
  pair.clear();
  initiation[120] ^= 1;
  pair.hand_over(pair.right, initiation, pair.left.here);
  EXPECT_TRUE(pair.log.empty());
  EXPECT_EQ(pair.right.device.statistics().wrong_mac, 1u);
}

TEST(Cookie, AFloodOfInitiationsTurnsCookiesOnAndItsEndOff) {
  Pair pair;
  testing::SeededRandom random(6);
  Device stranger(PrivateKey::generate(random), {}, random);
  const auto peer =
      stranger.add_peer({pair.right_key.public_key(), {}, {}, pair.right.here, 0s}, pair.now());
  Output out;
  stranger.initiate(*peer, pair.now(), out);
  const Data initiation = testing::datagrams_of(out).front();
  // 300 sources in one second, each with a message whose mac1 is right.
  for (std::uint32_t source = 0; source < 300; ++source) {
    pair.hand_over(pair.right, initiation,
                   TunnelEndpoint::udp({IpAddress::v4(0x0a000000 + source), 1000}));
  }
  EXPECT_EQ(pair.count_sent(pair.right, kCookie), 100u);
  EXPECT_EQ(pair.right.device.statistics().unknown_peer, 200u);
  // A peer comes in through the cookie while it lasts, and without one afterwards.
  pair.clear();
  pair.under_way.clear();
  pair.send(pair.left);
  pair.deliver();
  EXPECT_EQ(pair.count_sent(pair.right, kCookie), 1u);
  pair.run_for(6s);
  EXPECT_EQ(pair.right.packets.size(), 1u);
}

TEST(Cookie, ASourceOverItsShareIsAskedForItsCookie) {
  Pair pair;
  pair.send(pair.left);
  const Data initiation = pair.under_way.front().bytes;
  pair.under_way.clear();
  pair.clear();
  for (int times = 0; times < 9; ++times) {
    pair.hand_over(pair.right, initiation, testing::udp("203.0.113.1", 7));
  }
  EXPECT_EQ(pair.count_sent(pair.right, kResponse), 1u);
  EXPECT_EQ(pair.right.device.statistics().replayed, 4u);
  EXPECT_EQ(pair.count_sent(pair.right, kCookie), 4u);
}

TEST(RateLimit, FiveAtOnceAndTwentyASecond) {
  RateLimit limit;
  const IpAddress source = testing::ip("192.0.2.1");
  TimePoint now = moment(0s).boot;
  int taken = 0;
  for (int at = 0; at < 20; ++at) taken += limit.take(source, now);
  EXPECT_EQ(taken, 5);
  for (int step = 0; step < 1000; ++step) {
    now += 10ms;
    taken += limit.take(source, now);
  }
  EXPECT_EQ(taken, 5 + 200);
}

TEST(RateLimit, ASourceIsAnAddressOrASixtyFour) {
  RateLimit limit;
  const TimePoint now = moment(0s).boot;
  for (int at = 0; at < 5; ++at) {
    EXPECT_TRUE(limit.take(testing::ip("2001:db8:1:2::" + std::to_string(at + 1)), now));
    EXPECT_TRUE(limit.take(testing::ip("192.0.2." + std::to_string(at + 1)), now));
  }
  EXPECT_FALSE(limit.take(testing::ip("2001:db8:1:2:ffff::9"), now));
  EXPECT_TRUE(limit.take(testing::ip("2001:db8:1:3::1"), now));
  EXPECT_TRUE(limit.take(testing::ip("192.0.2.1"), now));
}

TEST(RateLimit, RemembersABoundedNumberOfSources) {
  RateLimit limit;
  TimePoint now = moment(0s).boot;
  std::size_t taken = 0;
  for (std::uint32_t source = 0; source < 10'000; ++source) {
    taken += limit.take(IpAddress::v4(source), now);
  }
  EXPECT_EQ(taken, 4096u);
  EXPECT_EQ(limit.size(), 4096u);
  now += 1s;
  EXPECT_TRUE(limit.take(IpAddress::v4(77'777), now));
  EXPECT_EQ(limit.size(), 1u);
}

TEST(LoadMeter, LoadLastsASecondBeyondTheExcess) {
  LoadMeter meter(10);
  const TimePoint start = moment(0s).boot;
  for (int at = 0; at < 10; ++at) EXPECT_FALSE(meter.count(start));
  EXPECT_TRUE(meter.count(start));
  EXPECT_TRUE(meter.count(start + 999ms));
  EXPECT_FALSE(meter.count(start + 3s));
}

}  // namespace
}  // namespace rooster::tunnel
