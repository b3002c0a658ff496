#include "cli/ping_command.hpp"

#include "cli/tunnel_way.hpp"

#include <gtest/gtest.h>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;
using Kind = tunnel::LinkReport::Kind;

TEST(Ping, TakesFlysTargets) {
  EXPECT_TRUE(parse_ping_target("")->is_gateway);
  EXPECT_TRUE(parse_ping_target("gateway")->is_gateway);
  EXPECT_EQ(parse_ping_target("db.internal.")->name, "db.internal");
  EXPECT_EQ(parse_ping_target("fdaa:0:1::2")->address, IpAddress::parse("fdaa:0:1::2"));
  EXPECT_EQ(parse_ping_target("example.com").error(),
            "bad target name: Fly.io DNS names end in '.internal'");
  EXPECT_FALSE(parse_ping_target("192.0.2.1"));
  EXPECT_FALSE(parse_ping_target("2001:db8::1"));
}

TEST(Ping, TakesGosDurations) {
  EXPECT_EQ(parse_interval("1s"), 1000ms);
  EXPECT_EQ(parse_interval("0.5s"), 500ms);
  EXPECT_EQ(parse_interval("100ms"), 100ms);
  for (const char* wrong : {"", "1", "s", "99ms", "-1s", "1h", "nan s", "1s "}) {
    EXPECT_FALSE(parse_interval(wrong)) << wrong;
  }
}

TEST(Ping, WritesFlysLine) {
  EXPECT_EQ(ping_line(12, *IpAddress::parse("fdaa:0:1::3"), "gateway", 4, 1234us),
            "12 bytes from fdaa:0:1::3 (gateway), seq=4 time=1.2ms");
}

TEST(LinkLine, SaysWhatHappenedToTheTunnel) {
  const auto line = [](Kind kind, Duration after = {}, std::string detail = {},
                       bool verbose = false) {
    return link_line({.kind = kind, .after = after, .detail = std::move(detail)}, verbose);
  };
  EXPECT_EQ(line(Kind::Connected, 23ms), "");
  EXPECT_EQ(line(Kind::Connected, 23ms, "", true), "tunnel up after 23ms, over UDP");
  EXPECT_EQ(line(Kind::Lost, 15s), "no answer from the gateway for 15s; reconnecting");
  EXPECT_EQ(line(Kind::Reconnected, 32s), "the tunnel works again, after 32s");
  EXPECT_EQ(line(Kind::Woke, 200s), "this machine was asleep for 3m20s; the tunnel works again");
  EXPECT_EQ(line(Kind::ToWebsocket), "UDP does not get through; going on by WebSocket");
  EXPECT_EQ(line(Kind::ToUdp), "UDP gets through again; going on by UDP");
  EXPECT_EQ(line(Kind::WebsocketFailed, {}, "refused"), "");
  EXPECT_EQ(line(Kind::Unresolved, {}, "no such name"),
            "the gateway's name does not resolve (no such name)");
}

}  // namespace
}  // namespace rooster::cli
