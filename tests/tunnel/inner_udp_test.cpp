#include "tunnel/inner_udp.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace rooster::tunnel {
namespace {

TEST(InnerUdp, IsReadAsItWasMade) {
  const std::vector<std::uint8_t> payload = {1, 2, 3, 4, 5};
  const InnerUdp made{{*IpAddress::parse("fdaa:0:33::3"), 53},
                      {*IpAddress::parse("fdaa:0:33:a7b::2"), 40'000},
                      payload};
  std::vector<std::uint8_t> packet(100);
  packet.resize(make_udp(packet, made));
  ASSERT_EQ(packet.size(), 53u);
  const auto read = read_udp(packet);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->from, made.from);
  EXPECT_EQ(read->to, made.to);
  EXPECT_EQ(std::vector<std::uint8_t>(read->payload.begin(), read->payload.end()), payload);
  EXPECT_EQ(make_udp(std::span(packet).first(52), made), 0u);
}

TEST(InnerUdp, WhatIsDamagedOrNoneIsNotRead) {
  const InnerUdp made{{*IpAddress::parse("fdaa::1"), 1}, {*IpAddress::parse("fdaa::2"), 2}, {}};
  std::vector<std::uint8_t> packet(48);
  ASSERT_EQ(make_udp(packet, made), 48u);
  for (std::size_t i = 4; i < packet.size(); ++i) {
    if (i == 7) continue;  // the hop limit is nobody's business here
    std::vector<std::uint8_t> other = packet;
    other[i] ^= 0x41;
    EXPECT_FALSE(read_udp(other)) << i;
  }
  EXPECT_FALSE(read_udp(std::span(packet).first(47)));
  EXPECT_FALSE(read_udp({}));
}

}  // namespace
}  // namespace rooster::tunnel
