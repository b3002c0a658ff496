#include "tunnel/udp_packet.hpp"

#include <gtest/gtest.h>

#include <string_view>

namespace rooster::tunnel {
namespace {

const Endpoint kFrom{*IpAddress::parse("fdaa:0:1:a7b:2:0:a:2"), 40000};
const Endpoint kTo{*IpAddress::parse("fdaa:0:1::3"), 53};

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

TEST(UdpPacket, IsReadAsItWasMade) {
  for (const std::string_view text : {"", "x", "query", "a longer one"}) {
    const auto packet = make_udp_packet(kFrom, kTo, bytes_of(text));
    const auto read = parse_udp_packet(packet);
    ASSERT_TRUE(read) << text;
    EXPECT_EQ(read->source, kFrom);
    EXPECT_EQ(read->destination, kTo);
    EXPECT_EQ(std::string(read->payload.begin(), read->payload.end()), text);
  }
}

TEST(UdpPacket, ReadsWhatPythonMade) {
  // IPv6 ::1 -> ::1, UDP 1 -> 2, "hi": checksum 0x976c as computed by an
  // independent implementation of RFC 8200 §8.1.
  const std::vector<std::uint8_t> packet = {
      0x60, 0, 0, 0, 0, 10, 17, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0,    0,    1,   0,
      0,    0, 0, 0, 0, 0,  0,  0,  0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 2, 0, 10, 0x97, 0x6c, 'h', 'i'};
  EXPECT_TRUE(parse_udp_packet(packet));
}

TEST(UdpPacket, DamageIsSeen) {
  auto packet = make_udp_packet(kFrom, kTo, bytes_of("query"));
  for (std::size_t at = 8; at < packet.size(); ++at) {
    packet[at] ^= 1;
    EXPECT_FALSE(parse_udp_packet(packet)) << at;
    packet[at] ^= 1;
  }
  EXPECT_FALSE(parse_udp_packet(std::span(packet).first(packet.size() - 1)));
  EXPECT_FALSE(parse_udp_packet({}));
}

}  // namespace
}  // namespace rooster::tunnel
