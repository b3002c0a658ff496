#include "tunnel/udp_socket.hpp"

#include "tests/tunnel/namespace.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include <poll.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

Endpoint loopback(bool v4, std::uint16_t port = 0) {
  return {*IpAddress::parse(v4 ? "127.0.0.1" : "::1"), port};
}

UdpSocket open_socket(bool v4) {
  auto bound = UdpSocket::bind(loopback(v4));
  EXPECT_TRUE(bound.has_value());
  return UdpSocket(std::move(*bound));
}

struct Came {
  std::vector<std::vector<std::uint8_t>> datagrams;
  UdpPath path;
};

// Reads until `wanted` datagrams are there, at most some seconds.
Came receive(UdpSocket& socket, std::size_t wanted) {
  Came came;
  for (int rounds = 0; rounds < 200 && came.datagrams.size() < wanted; ++rounds) {
    pollfd waits{socket.fd(), POLLIN, 0};
    ::poll(&waits, 1, 100);
    for (const UdpBurst& burst : socket.receive()) {
      came.path = burst.path;
      for (std::size_t at = 0; at < burst.bytes.size(); at += burst.segment_bytes) {
        const auto piece =
            burst.bytes.subspan(at, std::min(burst.segment_bytes, burst.bytes.size() - at));
        came.datagrams.emplace_back(piece.begin(), piece.end());
      }
    }
  }
  return came;
}

class UdpSocketOfFamily : public testing::TestWithParam<bool> {};

TEST_P(UdpSocketOfFamily, ARunOfDatagramsArrivesAsItWasSent) {
  UdpSocket a = open_socket(GetParam());
  UdpSocket b = open_socket(GetParam());
  std::vector<std::uint8_t> bytes(100 * 1300 + 77);
  std::iota(bytes.begin(), bytes.end(), std::uint8_t{0});
  UdpPath path{{}, b.local()};
  ASSERT_EQ(a.send(bytes, 1300, path, TimePoint{}), bytes.size());
  const Came came = receive(b, 101);
  ASSERT_EQ(came.datagrams.size(), 101u);
  std::vector<std::uint8_t> joined;
  for (const auto& datagram : came.datagrams) {
    joined.insert(joined.end(), datagram.begin(), datagram.end());
  }
  EXPECT_EQ(joined, bytes);
  EXPECT_EQ(came.datagrams[3].size(), 1300u);
  EXPECT_EQ(came.datagrams.back().size(), 77u);
  EXPECT_EQ(came.path.remote, a.local());
  EXPECT_EQ(came.path.local, b.local().address);
  EXPECT_EQ(a.counters().sent, 101u);
  EXPECT_EQ(b.counters().received, 101u);
}

TEST_P(UdpSocketOfFamily, ASourceAddressThatIsGoneIsForgotten) {
  UdpSocket a = open_socket(GetParam());
  UdpSocket b = open_socket(GetParam());
  const std::vector<std::uint8_t> bytes(64);
  UdpPath path{*IpAddress::parse(GetParam() ? "198.51.100.7" : "2001:db8::7"), b.local()};
  ASSERT_EQ(a.send(bytes, 64, path, TimePoint{}), 64u);
  EXPECT_EQ(path.local, IpAddress());
  EXPECT_EQ(a.counters().source_cleared, 1u);
  EXPECT_EQ(receive(b, 1).datagrams.size(), 1u);
}

// In a child: a route whose MTU is below a segment.
std::string send_over_a_narrow_route(bool v4) {
  if (!raise_loopback(1400)) return "loopback";
  UdpSocket a = open_socket(v4);
  UdpSocket b = open_socket(v4);
  UdpPath path{{}, b.local()};
  const std::vector<std::uint8_t> bytes(10 * 1480);
  const TimePoint now{1h};
  if (a.send(bytes, 1480, path, now) != bytes.size()) return "not sent";
  if (receive(b, 10).datagrams.size() != 10) return "not received in fragments";
  if (a.counters().segment_refused != 1) return "UDP_SEGMENT was not refused";
  a.send(bytes, 1480, path, now + 9min);
  if (a.counters().segment_refused != 1) return "tried again too soon";
  a.send(bytes, 1480, path, now + 11min);
  if (a.counters().segment_refused != 2) return "not tried again";
  if (receive(b, 20).datagrams.size() != 20) return "not received the second time";
  return a.counters().failed == 0 ? "" : "something failed";
}

TEST_P(UdpSocketOfFamily, SegmentsTooLargeForTheRouteGoOneByOneForTenMinutes) {
  EXPECT_EQ(in_namespace([] { return send_over_a_narrow_route(GetParam()); }), "");
}

TEST_P(UdpSocketOfFamily, ADeadPortIsNoError) {
  UdpSocket a = open_socket(GetParam());
  Endpoint gone;
  {
    UdpSocket b = open_socket(GetParam());
    gone = b.local();
  }
  UdpPath path{{}, gone};
  const std::vector<std::uint8_t> bytes(64);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(a.send(bytes, 64, path, TimePoint{}), 64u);
  EXPECT_TRUE(a.receive().empty());
}

INSTANTIATE_TEST_SUITE_P(Families, UdpSocketOfFamily, testing::Bool(),
                         [](const auto& param) { return param.param ? "V4" : "V6"; });

}  // namespace
}  // namespace rooster::tunnel
