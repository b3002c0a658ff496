// The times of the paper's §6, by a clock moved by hand.
#include "tests/tunnel/pair.hpp"

namespace rooster::tunnel {
namespace {

using testing::moment;
using testing::Pair;
using testing::Side;
using namespace std::chrono_literals;

constexpr std::uint8_t kInitiation = 1, kResponse = 2, kData = 4;
constexpr auto kJitter = 334ms;

std::vector<Duration> times_of(const Pair& pair, const Side& side, std::uint8_t type) {
  std::vector<Duration> times;
  for (const auto& entry : pair.log) {
    if (entry.from == &side && entry.type == type) times.push_back(entry.when);
  }
  return times;
}

TEST(Timers, RetriesEveryFiveSecondsAndGivesUpAfterNinety) {
  Pair pair;
  pair.is_cut = true;
  pair.send(pair.left);
  pair.run_for(89s);
  EXPECT_EQ(pair.count(pair.left, PeerEvent::Kind::GaveUp), 0u);
  pair.run_for(60s);
  const auto times = times_of(pair, pair.left, kInitiation);
  ASSERT_EQ(times.size(), 18u);
  for (std::size_t at = 1; at < times.size(); ++at) {
    EXPECT_GE(times[at] - times[at - 1], 5s);
    EXPECT_LE(times[at] - times[at - 1], 5s + kJitter);
  }
  EXPECT_EQ(pair.count(pair.left, PeerEvent::Kind::GaveUp), 1u);
  EXPECT_EQ(pair.left.device.statistics(pair.left.peer, pair.now())->dropped, 1u);
  // New traffic begins anew.
  pair.is_cut = false;
  EXPECT_EQ(pair.send(pair.left), Sent::Queued);
  pair.deliver();
  EXPECT_EQ(pair.right.packets.size(), 1u);
}

TEST(Timers, ASilentWayIsNoticedAsSoonAsTheOptionsSay) {
  Pair::Options options;
  options.left.no_answer_after = 4s;
  options.right.keepalive_after = 2s;
  Pair pair(options);
  pair.connect();
  pair.run_for(30s);
  pair.clear();
  // Heard: the other side says so by itself, and nothing is asked.
  pair.send(pair.left);
  pair.run_for(60s);
  EXPECT_EQ(pair.count_sent(pair.left, kInitiation), 0u);
  pair.is_cut = true;
  pair.send(pair.left);
  pair.run_for(4s + kJitter);
  EXPECT_EQ(pair.count_sent(pair.left, kInitiation), 1u);
}

TEST(Timers, PacketsWhileWaitingCauseNoMoreInitiations) {
  Pair pair;
  pair.is_cut = true;
  for (int turn = 0; turn < 40; ++turn) {
    pair.send(pair.left);
    pair.run_for(100ms);
  }
  EXPECT_EQ(pair.count_sent(pair.left, kInitiation), 1u);
}

TEST(Timers, InitiatorRekeysWhenItSendsAfter120Seconds) {
  Pair pair;
  pair.connect();
  pair.run_for(119s);
  pair.clear();
  pair.send(pair.left);
  pair.deliver();
  EXPECT_EQ(pair.count_sent(pair.left, kInitiation), 0u);
  pair.run_for(2s);
  pair.send(pair.left);
  pair.deliver();
  EXPECT_EQ(pair.count_sent(pair.left, kInitiation), 1u);
  EXPECT_EQ(pair.count_sent(pair.right, kInitiation), 0u);
  EXPECT_EQ(pair.right.packets.size(), 2u);
}

TEST(Timers, ResponderDoesNotRekeyWhenItSends) {
  Pair pair;
  pair.connect();
  pair.run_for(130s);
  pair.clear();
  EXPECT_EQ(pair.send(pair.right), Sent::Now);
  EXPECT_EQ(pair.count_sent(pair.right, kInitiation), 0u);
}

TEST(Timers, InitiatorRekeysWhenItReceivesAfter165Seconds) {
  Pair pair;
  pair.connect();
  pair.run_for(164s);
  pair.clear();
  pair.send(pair.right);
  pair.deliver();
  EXPECT_EQ(pair.count_sent(pair.left, kInitiation), 0u);
  pair.run_for(2s);
  pair.send(pair.right);
  pair.send(pair.right);
  pair.deliver();
  EXPECT_EQ(pair.count_sent(pair.left, kInitiation), 1u);
}

TEST(Timers, NoSessionCarriesAnythingAfter180Seconds) {
  Pair pair;
  pair.connect();
  pair.send(pair.left);
  const auto old = pair.under_way.front().bytes;
  pair.under_way.clear();
  pair.run_for(179s);
  EXPECT_EQ(pair.send(pair.right), Sent::Now);
  pair.run_for(2s);
  pair.clear();
  pair.hand_over(pair.right, old, pair.left.here);
  EXPECT_TRUE(pair.right.packets.empty());
  pair.time += 60s;
  EXPECT_EQ(pair.send(pair.left), Sent::Queued);
}

TEST(Timers, AReceiverAnswersWithAKeepaliveAfterTenSeconds) {
  Pair pair;
  pair.connect();
  pair.run_for(30s);
  pair.clear();
  const Duration sent = pair.time;
  pair.send(pair.left);
  pair.run_for(60s);
  const auto answers = times_of(pair, pair.right, kData);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0] - sent, 10s);
  EXPECT_EQ(pair.count_sent(pair.left, kInitiation), 0u);
}

TEST(Timers, SilenceForFifteenSecondsAfterDataMakesANewHandshake) {
  Pair pair;
  pair.connect();
  pair.run_for(30s);
  pair.clear();
  pair.is_cut = true;
  const Duration sent = pair.time;
  pair.send(pair.left);
  pair.run_for(20s);
  const auto initiations = times_of(pair, pair.left, kInitiation);
  ASSERT_EQ(initiations.size(), 1u);
  EXPECT_GE(initiations[0] - sent, 15s);
  EXPECT_LE(initiations[0] - sent, 15s + kJitter);
}

TEST(Timers, PersistentKeepaliveGoesEachInterval) {
  Pair::Options options;
  options.left_keepalive = 25s;
  Pair pair(options);
  pair.tick();  // the first one goes at once, and so makes the session
  pair.deliver();
  pair.clear();
  const Duration start = pair.time;
  pair.run_for(101s);
  const auto times = times_of(pair, pair.left, kData);
  ASSERT_EQ(times.size(), 4u);
  for (std::size_t at = 0; at < times.size(); ++at) {
    EXPECT_EQ(times[at] - start, 25s * static_cast<int>(at + 1));
  }
  EXPECT_EQ(pair.count_sent(pair.right, kData), 0u);  // a keepalive asks for nothing
}

TEST(Timers, PersistentKeepaliveTriesForEver) {
  Pair::Options options;
  options.left_keepalive = 25s;
  Pair pair(options);
  pair.is_cut = true;
  pair.run_for(1h);
  EXPECT_GT(pair.count_sent(pair.left, kInitiation), 400u);
  pair.is_cut = false;
  pair.run_for(60s);
  EXPECT_GE(pair.count(pair.left, PeerEvent::Kind::Established), 1u);
}

TEST(Timers, KeysAreZeroedAfter540Seconds) {
  Pair pair;
  pair.connect();
  pair.run_for(539s);
  EXPECT_EQ(pair.count(pair.left, PeerEvent::Kind::KeysZeroed), 0u);
  pair.run_for(12s);
  EXPECT_EQ(pair.count(pair.left, PeerEvent::Kind::KeysZeroed), 1u);
  EXPECT_EQ(pair.count(pair.right, PeerEvent::Kind::KeysZeroed), 1u);
  EXPECT_FALSE(pair.left.device.statistics(pair.left.peer, pair.now())->has_session);
  EXPECT_EQ(pair.left.device.next_tick(), kNever);
  EXPECT_EQ(pair.right.device.next_tick(), kNever);
  pair.send(pair.left);
  pair.deliver();
  EXPECT_EQ(pair.right.packets.size(), 1u);
}

TEST(Timers, InitiatingByWillWaitsTwentyMilliseconds) {
  Pair pair;
  pair.initiate(pair.left);
  pair.deliver();
  pair.clear();
  const Duration start = pair.time;
  EXPECT_TRUE(pair.initiate(pair.left));
  EXPECT_EQ(pair.count_sent(pair.left, kInitiation), 0u);
  pair.run_for(100ms);
  const auto times = times_of(pair, pair.left, kInitiation);
  ASSERT_EQ(times.size(), 1u);
  EXPECT_EQ(times[0] - start, 20ms);
  EXPECT_EQ(pair.count_sent(pair.right, kResponse), 1u);
}

TEST(Timers, InitiationsFasterThanFiftyASecondAreDropped) {
  Pair pair;
  pair.initiate(pair.left);
  pair.deliver();
  // A second process with the same key and a clock that is ahead.
  testing::SeededRandom random(4);
  Device twin(pair.left_key, {}, random);
  const auto peer =
      twin.add_peer({pair.right_key.public_key(), {}, {}, pair.right.here, 0s}, pair.now());
  Output out;
  Moment ahead = pair.now();
  ahead.wall += 1h;
  twin.initiate(*peer, ahead, out);
  pair.clear();
  pair.hand_over(pair.right, testing::datagrams_of(out).front(), pair.left.here);
  EXPECT_EQ(pair.count_sent(pair.right, kResponse), 0u);
  EXPECT_EQ(pair.right.device.statistics().rate_limited, 1u);
}

TEST(Timers, ANewHandshakeAfterAClockJumpWithoutWaiting) {
  Pair::Options options;
  options.left_keepalive = 25s;
  Pair pair(options);
  pair.tick();
  pair.deliver();
  pair.clear();
  pair.left.device.drop_sessions(pair.now());
  EXPECT_FALSE(pair.left.device.statistics(pair.left.peer, pair.now())->has_session);
  EXPECT_LE(pair.left.device.next_tick(), pair.now().boot);
  pair.run_for(1s);
  EXPECT_EQ(pair.count(pair.left, PeerEvent::Kind::Established), 1u);
  EXPECT_EQ(pair.send(pair.left), Sent::Now);
}

TEST(Timers, EightHoursOfOrdinaryUse) {
  Pair::Options options;
  options.left_keepalive = 15s;
  Pair pair(options);
  std::size_t sent = 0;
  // A packet each way every 20 s, with a pause of 10 minutes each hour.
  for (int hour = 0; hour < 8; ++hour) {
    for (int turn = 0; turn < 150; ++turn) {
      pair.run_for(20s);
      pair.send(pair.left);
      pair.deliver();
      pair.send(pair.right);
      pair.deliver();
      ++sent;
    }
    pair.run_for(10min);
  }
  EXPECT_EQ(pair.right.packets.size(), sent);
  EXPECT_EQ(pair.left.packets.size(), sent);
  // One handshake in two minutes is 240; the 15 s of keepalive may make each a little later.
  const auto handshakes = pair.count_sent(pair.left, kInitiation);
  EXPECT_GE(handshakes, 200u);
  EXPECT_LE(handshakes, 250u);
  EXPECT_EQ(pair.count_sent(pair.right, kInitiation), 0u);
  EXPECT_EQ(pair.count(pair.left, PeerEvent::Kind::GaveUp), 0u);
  EXPECT_EQ(pair.left.device.statistics().replayed + pair.right.device.statistics().replayed, 0u);
}

}  // namespace
}  // namespace rooster::tunnel
