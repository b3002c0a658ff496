// Two Devices in memory: sessions, queues, routes, roaming, and who is believed.
#include "tunnel/device.hpp"

#include "tests/tunnel/pair.hpp"

namespace rooster::tunnel {
namespace {

using testing::Data;
using testing::kLeftIp;
using testing::kRightIp;
using testing::moment;
using testing::packet_v4;
using testing::packet_v6;
using testing::Pair;
using testing::prefixes;
using testing::Side;
using namespace std::chrono_literals;

constexpr std::uint8_t kInitiation = 1, kResponse = 2, kData = 4;

TEST(Device, FirstPacketMakesASessionAndArrives) {
  Pair pair;
  EXPECT_EQ(pair.send(pair.left), Sent::Queued);
  pair.deliver();
  ASSERT_EQ(pair.right.packets.size(), 1u);
  EXPECT_EQ(pair.right.packets[0], packet_v6(kLeftIp, kRightIp, 60, 1));
  EXPECT_EQ(pair.count(pair.left, PeerEvent::Kind::Established), 1u);
  EXPECT_EQ(pair.count(pair.right, PeerEvent::Kind::Established), 1u);
  // The responder learned where the initiator is.
  EXPECT_EQ(pair.send(pair.right), Sent::Now);
  pair.deliver();
  EXPECT_EQ(pair.left.packets.size(), 1u);
}

TEST(Device, InitiatorWithNothingToSendConfirmsWithAKeepalive) {
  Pair pair;
  EXPECT_TRUE(pair.initiate(pair.left));
  EXPECT_EQ(pair.left.device.last_initiation(pair.left.peer).size(), 148u);
  pair.deliver();
  EXPECT_TRUE(pair.left.device.last_initiation(pair.left.peer).empty());
  EXPECT_EQ(pair.count_sent(pair.left, kInitiation), 1u);
  EXPECT_EQ(pair.count_sent(pair.right, kResponse), 1u);
  ASSERT_EQ(pair.count_sent(pair.left, kData), 1u);
  EXPECT_EQ(pair.log.back().bytes, 32u);
  EXPECT_EQ(pair.send(pair.right), Sent::Now);
}

TEST(Device, ResponderDoesNotSendBeforeItHasHeardOnTheSession) {
  Pair pair;
  pair.initiate(pair.left);
  pair.step();  // the initiation; the response is under way
  ASSERT_EQ(pair.count_sent(pair.right, kResponse), 1u);
  EXPECT_EQ(pair.send(pair.right), Sent::Queued);
  EXPECT_EQ(pair.count_sent(pair.right, kData), 0u);
  pair.deliver();
  EXPECT_EQ(pair.left.packets.size(), 1u);
}

TEST(Device, BothMayBeginAtOnce) {
  Pair::Options options;
  options.right_knows_left = true;
  Pair pair(options);
  pair.send(pair.left);
  pair.send(pair.right);
  pair.deliver();
  EXPECT_EQ(pair.left.packets.size(), 1u);
  EXPECT_EQ(pair.right.packets.size(), 1u);
  EXPECT_EQ(pair.send(pair.left), Sent::Now);
  EXPECT_EQ(pair.send(pair.right), Sent::Now);
  pair.deliver();
  EXPECT_EQ(pair.left.packets.size(), 2u);
  EXPECT_EQ(pair.right.packets.size(), 2u);
}

TEST(Device, PresharedKeysMustBeTheSame) {
  Pair::Options options;
  options.preshared = PresharedKey(KeyBytes{1});
  options.right_preshared = options.preshared;
  Pair same(options);
  same.connect();
  options.right_preshared = PresharedKey(KeyBytes{2});
  Pair other(options);
  other.send(other.left);
  other.deliver();
  EXPECT_TRUE(other.right.packets.empty());
  EXPECT_EQ(other.left.device.statistics().unauthentic, 1u);
}

TEST(Device, QueueKeepsTheNewest128Packets) {
  Pair pair;
  for (int packet = 0; packet < 200; ++packet) pair.send(pair.left);
  pair.deliver();
  ASSERT_EQ(pair.right.packets.size(), 128u);
  EXPECT_EQ(pair.right.packets.front(), packet_v6(kLeftIp, kRightIp, 60, 73));
  EXPECT_EQ(pair.right.packets.back(), packet_v6(kLeftIp, kRightIp, 60, 200));
  EXPECT_EQ(pair.left.device.statistics(pair.left.peer, pair.now())->dropped, 72u);
}

TEST(Device, QueueIsBoundedInBytesToo) {
  Pair pair;
  for (int packet = 0; packet < 20; ++packet) pair.send(pair.left, 60'000);
  pair.deliver();
  EXPECT_EQ(pair.right.packets.size(), 4u);
}

TEST(Device, PaddingGoesToSixteenButNeverAboveTheMtu) {
  for (const std::size_t mtu : {std::size_t{1420}, std::size_t{1280}}) {
    Pair::Options options;
    options.left.mtu = mtu;
    Pair pair(options);
    pair.connect();
    for (std::size_t payload :
         {std::size_t{0}, std::size_t{1}, std::size_t{8}, mtu - 60, mtu - 41, mtu - 40, mtu}) {
      pair.clear();
      pair.send(pair.left, payload);
      const std::size_t bytes = 40 + payload;
      const std::size_t padded = bytes >= mtu ? bytes : std::min((bytes + 15) / 16 * 16, mtu);
      EXPECT_EQ(pair.log.back().bytes, padded + 32) << payload;
      pair.deliver();
      ASSERT_EQ(pair.right.packets.size(), 1u);
      EXPECT_EQ(pair.right.packets[0].size(), bytes);  // the padding is gone
    }
  }
}

TEST(Device, PacketsForNobodyOrOfNoKindAreNotSent) {
  Pair pair;
  const auto send = [&](Data packet) {
    return pair.left.device.send(packet, pair.now(), pair.left.out);
  };
  EXPECT_EQ(send(packet_v6(kLeftIp, "fdaa:0:33::9", 10)), Sent::NoRoute);
  EXPECT_EQ(send(packet_v4("10.0.0.1", "10.0.0.2", 10)), Sent::NoRoute);
  EXPECT_EQ(send({}), Sent::Invalid);
  EXPECT_EQ(send(Data(60, 0x11)), Sent::Invalid);
  Data cut = packet_v6(kLeftIp, kRightIp, 100);
  cut.pop_back();
  EXPECT_EQ(send(cut), Sent::Invalid);
  EXPECT_EQ(pair.right.device.send(packet_v6(kRightIp, kLeftIp, 10), pair.now(), pair.right.out),
            Sent::NoEndpoint);
  EXPECT_TRUE(pair.left.out.empty());
}

TEST(Device, ASourceThatIsNotThePeersIsDropped) {
  Pair pair;
  pair.connect();
  const auto inject = [&](const Data& packet) {
    pair.left.device.send(packet, pair.now(), pair.left.out);
    const auto datagrams = testing::datagrams_of(pair.left.out);
    pair.left.out.clear();
    for (const auto& datagram : datagrams) {
      pair.hand_over(pair.right, datagram, pair.left.here);
    }
  };
  inject(packet_v6("fdaa:0:33::7", kRightIp, 10));
  inject(packet_v6("fdaa:0:99::1", kRightIp, 10));
  inject(packet_v6("::ffff:10.0.0.1", kRightIp, 10));
  inject(packet_v6(kRightIp, kRightIp, 10));
  EXPECT_TRUE(pair.right.packets.empty());
  inject(packet_v6(kLeftIp, kRightIp, 10));
  EXPECT_EQ(pair.right.packets.size(), 1u);
  const auto statistics = pair.right.device.statistics(pair.right.peer, pair.now());
  EXPECT_GE(statistics->wrong_source, 3u);
}

TEST(Device, LosesTheRightToASourceWithItsPrefix) {
  Pair pair;
  pair.connect();
  PeerChange change;
  change.allowed_ips = prefixes({"fdaa:0:44::/48"});
  ASSERT_TRUE(pair.right.device.update_peer(pair.right.peer, change, pair.now()));
  pair.send(pair.left);
  pair.deliver();
  EXPECT_TRUE(pair.right.packets.empty());
  change.allowed_ips = std::nullopt;
  change.more_allowed_ips = prefixes({"fdaa:0:33::1/128"});
  ASSERT_TRUE(pair.right.device.update_peer(pair.right.peer, change, pair.now()));
  pair.send(pair.left);
  pair.deliver();
  EXPECT_EQ(pair.right.packets.size(), 1u);
  EXPECT_EQ(pair.right.device.settings(pair.right.peer)->allowed_ips,
            prefixes({"fdaa:0:44::/48", "fdaa:0:33::1/128"}));
}

TEST(Device, ReplayedDatagramsAreDropped) {
  Pair pair;
  pair.connect();
  pair.send(pair.left);
  const Data copy = pair.under_way.back().bytes;
  pair.deliver();
  for (int times = 0; times < 3; ++times) pair.hand_over(pair.right, copy, pair.left.here);
  EXPECT_EQ(pair.right.packets.size(), 1u);
  EXPECT_EQ(pair.right.device.statistics().replayed, 3u);
}

TEST(Device, ReplayedInitiationIsRefused) {
  Pair pair;
  pair.initiate(pair.left);
  const Data copy = pair.under_way.back().bytes;
  pair.deliver();
  pair.run_for(1s);
  pair.clear();
  pair.hand_over(pair.right, copy, testing::udp("198.51.100.9", 9));
  EXPECT_EQ(pair.count_sent(pair.right, kResponse), 0u);
  EXPECT_EQ(pair.right.device.statistics().replayed, 1u);
  // And it changes nothing of where the peer is.
  EXPECT_EQ(pair.right.device.statistics(pair.right.peer, pair.now())->endpoint, pair.left.here);
}

TEST(Device, TheSameInitiationOverTwoWaysIsAnsweredOnce) {
  Pair pair;
  pair.initiate(pair.left);
  const auto again = pair.left.device.last_initiation(pair.left.peer);
  const Data copy(again.begin(), again.end());
  pair.under_way.clear();  // UDP is blocked
  const auto websocket = TunnelEndpoint::websocket(7, {testing::ip("192.0.2.1"), 443});
  pair.hand_over(pair.right, copy, websocket);
  pair.hand_over(pair.right, copy, pair.left.here);
  EXPECT_EQ(pair.count_sent(pair.right, kResponse), 1u);
  EXPECT_EQ(pair.right.device.statistics(pair.right.peer, pair.now())->endpoint, websocket);
  // The answer comes the other way, and so becomes the initiator's endpoint too.
  pair.left.device.receive(pair.under_way.front().bytes, websocket, pair.now(), pair.left.out);
  ASSERT_EQ(pair.left.out.batches().size(), 1u);
  EXPECT_EQ(pair.left.out.batches()[0].to, websocket);
  pair.left.device.forget_websocket(7);
  EXPECT_FALSE(pair.left.device.statistics(pair.left.peer, pair.now())->endpoint);
}

TEST(Device, StrangersGetNoAnswer) {
  Pair pair;
  testing::SeededRandom random(99);
  Device stranger(PrivateKey::generate(random), {}, random);
  const auto peer =
      stranger.add_peer({pair.right_key.public_key(), {}, {}, pair.right.here, 0s}, pair.now());
  Output out;
  stranger.initiate(*peer, pair.now(), out);
  for (const Data& datagram : testing::datagrams_of(out)) {
    pair.hand_over(pair.right, datagram, testing::udp("203.0.113.1", 5));
  }
  EXPECT_TRUE(pair.log.empty());
  EXPECT_EQ(pair.right.device.statistics().unknown_peer, 1u);
}

TEST(Device, NothingUnauthenticatedGetsAnAnswer) {
  Pair pair;
  pair.connect();
  testing::SeededRandom random(5);
  for (std::size_t size = 0; size < 300; ++size) {
    for (const unsigned type : {0U, 1U, 2U, 3U, 4U, 5U, 255U}) {
      Data noise(size);
      random.fill(noise);
      if (size >= 4) noise[1] = noise[2] = noise[3] = 0;
      if (size >= 1) noise[0] = static_cast<std::uint8_t>(type);
      pair.hand_over(pair.right, noise, testing::udp("203.0.113.1", 5));
    }
  }
  EXPECT_TRUE(pair.log.empty());
  EXPECT_TRUE(pair.right.packets.empty());
  EXPECT_EQ(pair.right.device.statistics(pair.right.peer, pair.now())->endpoint, pair.left.here);
}

TEST(Device, ReservedBytesMustBeZero) {
  Pair pair;
  pair.connect();
  pair.send(pair.left);
  Data datagram = pair.under_way.front().bytes;
  pair.under_way.clear();
  for (std::size_t at = 1; at < 4; ++at) {
    Data odd = datagram;
    odd[at] = 1;
    pair.hand_over(pair.right, odd, pair.left.here);
  }
  EXPECT_TRUE(pair.right.packets.empty());
  pair.hand_over(pair.right, datagram, pair.left.here);
  EXPECT_EQ(pair.right.packets.size(), 1u);
}

TEST(Device, RoamsWithTheFirstAuthenticatedDatagram) {
  Pair pair;
  pair.connect();
  pair.left.here = testing::udp("198.51.100.77", 4242);
  pair.send(pair.left);
  pair.deliver();
  EXPECT_EQ(pair.count(pair.right, PeerEvent::Kind::EndpointChanged), 1u);
  pair.right.device.send(packet_v6(kRightIp, kLeftIp, 10), pair.now(), pair.right.out);
  ASSERT_EQ(pair.right.out.batches().size(), 1u);
  EXPECT_EQ(pair.right.out.batches()[0].to, pair.left.here);
}

TEST(Device, AKeyThatJumpsToAndFroIsReported) {
  Pair pair;
  pair.connect();
  const auto first = pair.left.here;
  for (int turn = 0; turn < 6; ++turn) {
    pair.run_for(2s);
    pair.left.here = turn % 2 == 0 ? testing::udp("198.51.100.77", 4242) : first;
    pair.send(pair.left);
    pair.deliver();
    pair.send(pair.right);
    pair.deliver();
  }
  EXPECT_TRUE(pair.right.device.statistics(pair.right.peer, pair.now())->is_shared_key_likely);
  EXPECT_FALSE(pair.left.device.statistics(pair.left.peer, pair.now())->is_shared_key_likely);
  pair.run_for(70s);
  EXPECT_FALSE(pair.right.device.statistics(pair.right.peer, pair.now())->is_shared_key_likely);
}

TEST(Device, FullDatagramsToOneEndpointAreOneBatch) {
  Pair pair;
  pair.connect();
  Output out;
  const Data full = packet_v6(kLeftIp, kRightIp, 1240);
  for (int packet = 0; packet < 100; ++packet) {
    ASSERT_EQ(pair.left.device.send(full, pair.now(), out), Sent::Now);
  }
  pair.left.device.send(packet_v6(kLeftIp, kRightIp, 3), pair.now(), out);
  pair.left.device.send(full, pair.now(), out);
  std::vector<std::size_t> counts;
  for (const auto& batch : out.batches()) {
    counts.push_back(batch.count());
    EXPECT_LE(batch.bytes, kMaxBatchBytes);
    EXPECT_EQ(batch.segment_bytes, 1312u);
  }
  // 49 fill a batch; the short one ends the third.
  EXPECT_EQ(counts, (std::vector<std::size_t>{49, 49, 3, 1}));
  for (Data datagram : testing::datagrams_of(out)) {
    pair.hand_over(pair.right, datagram, pair.left.here);
  }
  EXPECT_EQ(pair.right.packets.size(), 102u);
}

TEST(Device, PeersComeAndGo) {
  testing::SeededRandom random(3);
  const PrivateKey own = PrivateKey::generate(random);
  Device device(own, {}, random);
  PeerSettings settings;
  settings.key = own.public_key();
  EXPECT_FALSE(device.add_peer(settings, moment(0s)));
  settings.key = PublicKey{};  // a low-order point
  EXPECT_FALSE(device.add_peer(settings, moment(0s)));
  settings.key = PrivateKey::generate(random).public_key();
  settings.allowed_ips = prefixes({"10.0.0.0/8", "fdaa::/16"});
  const auto first = device.add_peer(settings, moment(0s));
  ASSERT_TRUE(first);
  EXPECT_FALSE(device.add_peer(settings, moment(0s)));
  EXPECT_EQ(device.find_peer(settings.key), first);
  settings.key = PrivateKey::generate(random).public_key();
  settings.allowed_ips = prefixes({"fdaa::/16"});
  const auto second = device.add_peer(settings, moment(0s));
  EXPECT_EQ(device.route(testing::ip("fdaa::1")), second);
  EXPECT_EQ(device.settings(*first)->allowed_ips, prefixes({"10.0.0.0/8"}));
  EXPECT_TRUE(device.remove_peer(*second));
  EXPECT_FALSE(device.remove_peer(*second));
  EXPECT_FALSE(device.route(testing::ip("fdaa::1")));
  EXPECT_FALSE(device.statistics(*second, moment(0s)));
  EXPECT_EQ(device.peers(), std::vector<PeerId>{*first});
}

TEST(Device, ARemovedPeersSessionIsGone) {
  Pair pair;
  pair.connect();
  pair.send(pair.left);
  pair.right.device.remove_peer(pair.right.peer);
  pair.deliver();
  EXPECT_TRUE(pair.right.packets.empty());
  pair.right.device.tick(moment(1h), pair.right.out);
  EXPECT_TRUE(pair.right.out.empty());
}

TEST(Device, AnotherPrivateKeyEndsEverySession) {
  Pair pair;
  pair.connect();
  testing::SeededRandom random(8);
  const PrivateKey changed = PrivateKey::generate(random);
  pair.left.device.set_private_key(changed);
  EXPECT_EQ(pair.left.device.public_key(), changed.public_key());
  pair.run_for(6s);
  pair.send(pair.left);
  pair.deliver();
  EXPECT_TRUE(pair.right.packets.empty());
  EXPECT_EQ(pair.right.device.statistics().unknown_peer, 1u);
}

}  // namespace
}  // namespace rooster::tunnel
