// Two Devices in memory: sessions, queues, routes, who is believed.
#include "tunnel/device.hpp"

#include "tests/tunnel/pair.hpp"

namespace rooster::tunnel {
namespace {

using testing::Data;
using testing::Pair;
using testing::Side;
using namespace std::chrono_literals;

TEST(Device, FirstPacketMakesASessionAndArrives) {
  Pair pair;
  EXPECT_EQ(pair.send(pair.left), Sent::Queued);
  pair.deliver();
  ASSERT_EQ(pair.right.packets.size(), 1u);
  EXPECT_EQ(pair.right.packets[0], testing::packet_v6(testing::kLeftIp, testing::kRightIp, 60, 1));
  EXPECT_EQ(pair.count(pair.left, PeerEvent::Kind::Established), 1u);
  EXPECT_EQ(pair.count(pair.right, PeerEvent::Kind::Established), 1u);
  // The responder learned where the initiator is.
  EXPECT_EQ(pair.send(pair.right), Sent::Now);
  pair.deliver();
  EXPECT_EQ(pair.left.packets.size(), 1u);
}

}  // namespace
}  // namespace rooster::tunnel
