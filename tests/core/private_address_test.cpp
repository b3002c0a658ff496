#include "core/private_address.hpp"

#include <gtest/gtest.h>

namespace rooster {
namespace {

constexpr NetworkId kNet{0x000277b0};

TEST(PrivateAddress, IsLaidOutAsFlyDoes) {
  EXPECT_EQ(machine_address(kNet, HostId{0x0a7c1f60}, 0x3f74a755).to_string(),
            "fdaa:2:77b0:a7c:1f60:3f74:a755:2");
  EXPECT_EQ(flycast_address(kNet, 10).to_string(), "fdaa:2:77b0:0:1::a");
  EXPECT_EQ(infra_address(NetworkId{0x18}).to_string(), "fdaa:0:18::3");
  EXPECT_EQ(machine_dns_address().to_string(), "fdaa::3");
  EXPECT_EQ(peer_address(NetworkId{0x18}, GatewayId{0xd6b}, 0).to_string(),
            "fdaa:0:18:a7b:d6b:0:a:2");
  EXPECT_EQ(peer_address(NetworkId{0x18}, GatewayId{0xd6b}, 0x1b).to_string(),
            "fdaa:0:18:a7b:d6b:0:a:1b02");
  EXPECT_EQ(peer_address(NetworkId{0x18}, GatewayId{0xd6b}, kPeerIndices - 1).to_string(),
            "fdaa:0:18:a7b:d6b:ffff:a:ff02");
  EXPECT_EQ(node_address(2).to_string(), "fdaa:0:0:2::1");
  EXPECT_EQ(network_prefix(kNet).to_string(), "fdaa:2:77b0::");
}

TEST(PrivateAddress, SaysItsKindAndNetwork) {
  const auto kind = [](const char* text) { return private_kind(*IpAddress::parse(text)); };
  EXPECT_EQ(kind("fdaa:2:77b0:0:2:3f74:a755:2"), PrivateKind::Machine);
  EXPECT_EQ(kind("fdaa:2:77b0:0:2:3f74:a755:77"), PrivateKind::Machine);
  EXPECT_EQ(kind("fdaa:2:77b0:0:1::a"), PrivateKind::Flycast);
  EXPECT_EQ(kind("fdaa:2:77b0:0:1:7::a"), PrivateKind::Other);
  EXPECT_EQ(kind("fdaa:2:77b0:a7b:2:0:a:102"), PrivateKind::Peer);
  EXPECT_EQ(kind("fdaa:2:77b0:a7b:2:0:b:102"), PrivateKind::Other);
  EXPECT_EQ(kind("fdaa:2:77b0::3"), PrivateKind::Infra);
  EXPECT_EQ(kind("fdaa::3"), PrivateKind::Infra);
  EXPECT_EQ(kind("fdaa::4"), PrivateKind::Other);
  EXPECT_EQ(kind("fdaa:0:0:2::1"), PrivateKind::Node);
  EXPECT_EQ(kind("fdab::3"), PrivateKind::None);
  EXPECT_EQ(kind("10.0.0.1"), PrivateKind::None);
  EXPECT_EQ(network_of(*IpAddress::parse("fdaa:2:77b0:0:1::a")), kNet);
  EXPECT_EQ(network_of(*IpAddress::parse("fdaa::3")), NetworkId{0});
  EXPECT_FALSE(network_of(*IpAddress::parse("::1")));
}

TEST(PrivateAddress, PrefixClearsWhatFollows) {
  const IpAddress peer = *IpAddress::parse("fdaa:2:77b0:a7b:2:1:a:17ff");
  EXPECT_EQ(prefix_of(peer, 120).to_string(), "fdaa:2:77b0:a7b:2:1:a:1700");
  EXPECT_EQ(prefix_of(peer, 48).to_string(), "fdaa:2:77b0::");
  EXPECT_EQ(prefix_of(peer, 0), IpAddress());
  EXPECT_EQ(prefix_of(peer, 128), peer);
  EXPECT_EQ(prefix_of(*IpAddress::parse("ffff::"), 13).to_string(), "fff8::");
}

}  // namespace
}  // namespace rooster
