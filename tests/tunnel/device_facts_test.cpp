// What outlives a process, and time stamps that only ever grow.
#include "tests/tunnel/pair.hpp"
#include "tunnel/tai64n.hpp"

namespace rooster::tunnel {
namespace {

using testing::kSomeDay;
using testing::moment;
using testing::Pair;
using namespace std::chrono_literals;

constexpr std::uint8_t kResponse = 2;

TEST(DeviceFacts, AReplayIsRefusedAfterARestartToo) {
  Pair pair;
  pair.initiate(pair.left);
  const auto copy = pair.under_way.front().bytes;
  pair.deliver();
  const auto facts = pair.right.device.facts();
  ASSERT_EQ(facts.size(), 1u);
  EXPECT_EQ(facts[0].key, pair.left_key.public_key());
  EXPECT_EQ(facts[0].endpoint, pair.left.here);
  EXPECT_FALSE(facts[0].greatest_received.is_zero());

  Pair again;  // the same keys, another process
  again.right.device.restore(facts, again.now());
  again.hand_over(again.right, copy, again.left.here);
  EXPECT_EQ(again.count_sent(again.right, kResponse), 0u);
  EXPECT_EQ(again.right.device.statistics().replayed, 1u);
  // It knows where the peer was, and so can begin itself.
  EXPECT_TRUE(again.initiate(again.right));
}

TEST(DeviceFacts, StampsGrowThoughTheClockWentBack) {
  Pair pair;
  pair.run_for(1h);
  pair.initiate(pair.left);
  pair.deliver();
  auto facts = pair.left.device.facts();
  ASSERT_EQ(facts.size(), 1u);

  testing::SeededRandom random(11);
  Device again(pair.left_key, {}, random);
  const auto peer = again.add_peer({pair.right_key.public_key(),
                                    {},
                                    testing::prefixes({"fdaa:0:33::2/128"}),
                                    pair.right.here,
                                    0s},
                                   pair.now());
  Moment past = pair.now();
  past.boot += 1s;
  past.wall -= 24h;
  again.restore(facts, past);
  Output out;
  again.initiate(*peer, past, out);
  again.tick({past.boot + 20ms, past.wall}, out);
  ASSERT_EQ(out.batches().size(), 1u);
  pair.clear();
  pair.run_for(2s);
  pair.hand_over(pair.right, testing::datagrams_of(out).front(), pair.left.here);
  EXPECT_EQ(pair.count_sent(pair.right, kResponse), 1u);
}

TEST(DeviceFacts, TwoShortProcessesInARowBothGetTheirSession) {
  Pair pair;
  pair.initiate(pair.left);
  pair.deliver();
  const auto facts = pair.left.device.facts();
  // The next begins 5 ms later with the same key: within a whitening step, and within the 20 ms
  // in which a peer takes no second initiation.
  testing::SeededRandom random(12);
  Device next(pair.left_key, {}, random);
  const auto peer =
      next.add_peer({pair.right_key.public_key(), {}, {}, pair.right.here, 0s}, pair.now());
  pair.time += 5ms;
  next.restore(facts, pair.now());
  Output out;
  EXPECT_TRUE(next.initiate(*peer, pair.now(), out));
  EXPECT_TRUE(out.empty());
  const TimePoint due = next.next_tick();
  ASSERT_LE(due, pair.now().boot + 40ms);
  pair.time = due - moment(0s).boot;
  next.tick(pair.now(), out);
  pair.clear();
  pair.hand_over(pair.right, testing::datagrams_of(out).front(), pair.left.here);
  EXPECT_EQ(pair.count_sent(pair.right, kResponse), 1u);
}

TEST(DeviceFacts, AWebSocketIsNotRemembered) {
  Pair pair;
  pair.left.here = TunnelEndpoint::websocket(3, {testing::ip("192.0.2.1"), 9});
  pair.connect();
  EXPECT_FALSE(pair.right.device.facts()[0].endpoint);
}

TEST(DeviceFacts, OfStrangersAreIgnored) {
  Pair pair;
  PeerFacts facts;
  facts.key = PublicKey{KeyBytes{1, 2, 3}};
  pair.left.device.restore(std::array{facts}, pair.now());
  pair.connect();
}

TEST(Tai64n, IsTheClockInStepsOf2To24Nanoseconds) {
  const Tai64n stamp = Tai64n::whitened(kSomeDay + 123'456'789ns);
  EXPECT_EQ(stamp.bytes,
            (std::array<std::uint8_t, 12>{0x40, 0, 0, 0, 0x65, 0x53, 0xf1, 0x0a, 0x07, 0, 0, 0}));
  EXPECT_EQ(stamp.wall(), kSomeDay + 117'440'512ns);
  EXPECT_EQ(Tai64n::whitened(kSomeDay + 117'440'512ns), stamp);
  EXPECT_EQ(Tai64n{}.wall(), WallTime());
}

TEST(Tai64n, AlwaysGrows) {
  Tai64n last;
  for (int step = 0; step < 500; ++step) {
    const Tai64n next = stamp_after(last, kSomeDay);
    ASSERT_GT(next, last);
    last = next;
  }
  EXPECT_GT(last.wall(), kSomeDay + 8s);
  EXPECT_LT(last.wall(), kSomeDay + 9s);
  EXPECT_EQ(stamp_after(last, kSomeDay + 1h), Tai64n::whitened(kSomeDay + 1h));
}

}  // namespace
}  // namespace rooster::tunnel
