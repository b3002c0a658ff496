#include "proxy/tunnel.hpp"

#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;
using testing::Edge;
using testing::Peer;
using testing::turn_until;

constexpr std::string_view kWebSocket =
    "GET /ws HTTP/1.1\r\nhost: hello.app.dev\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr std::string_view kOther =
    "GET /x HTTP/1.1\r\nhost: hello.app.dev\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

std::string switching(std::string_view protocol) {
  return "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: " +
         std::string(protocol) + "\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
}

// An edge with one open tunnel.
struct Open {
  explicit Open(std::string_view request, std::string_view protocol)
      : client(edge.connect()), app(open(request, protocol)) {
    EXPECT_TRUE(client.read_head().starts_with("HTTP/1.1 101 "));
  }
  Peer open(std::string_view request, std::string_view protocol) {
    EXPECT_TRUE(client.send(request));
    Peer accepted = edge.origin.accept();
    accepted.read_head();
    EXPECT_TRUE(accepted.send(switching(protocol)));
    return accepted;
  }
  void go_away(Fault why = Fault::Draining) {
    ASSERT_TRUE(edge.context.tunnels.is_linked());
    static_cast<Tunnel*>(edge.context.tunnels.next())->go_away(why);
  }
  Edge edge;
  Peer client;
  Peer app;
};

const std::string kCloseFromServer{"\x88\x02\x03\xE9", 4};
const std::string kMaskedText{"\x81\x82\1\2\3\4he", 8};
// A client's Close without a code: masked, empty.
const std::string kMaskedClose{"\x88\x80\1\2\3\4", 6};

std::string pattern(std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
  return text;
}

TEST(Tunnel, PassesBytesBothWays) {
  Open tunnel(kOther, "echo");
  ASSERT_TRUE(tunnel.client.send("ping"));
  EXPECT_EQ(tunnel.app.read(4), "ping");
  ASSERT_TRUE(tunnel.app.send("pong"));
  EXPECT_EQ(tunnel.client.read(4), "pong");
  EXPECT_EQ(tunnel.edge.load().in_flight(), 1u) << "a tunnel keeps its machine awake";
  EXPECT_EQ(tunnel.edge.load().connections(), 0u) << "but takes no slot";
  tunnel.client.close();
  EXPECT_EQ(tunnel.app.wait_for_end(), Peer::End::Fin);
  tunnel.app.close();
  tunnel.edge.expect_all_given_back();
}

TEST(Tunnel, WhatCameWithTheHeadsIsPassedOn) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(std::string(kOther) + "early"));
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(app.send(switching("echo") + "hello"));
  client.read_head();
  EXPECT_EQ(client.read(5), "hello");
  EXPECT_EQ(app.read(5), "early");
}

TEST(Tunnel, AHalfCloseOfTheClientLeavesTheOtherDirectionOpen) {
  Open tunnel(kOther, "echo");
  ASSERT_TRUE(tunnel.client.send("last words"));
  tunnel.client.finish();
  EXPECT_EQ(tunnel.app.read_to_end(), "last words");
  const std::string answer = pattern(300'000);
  std::string_view left = answer;
  std::string got;
  ASSERT_TRUE(turn_until(tunnel.edge.loop, [&] {
    left.remove_prefix(tunnel.app.send_some(left));
    got += tunnel.client.read_some();
    return got.size() == answer.size();
  }));
  EXPECT_TRUE(got == answer);
  tunnel.app.close();
  EXPECT_EQ(tunnel.client.wait_for_end(), Peer::End::Fin);
  tunnel.edge.expect_all_given_back();
}

TEST(Tunnel, AHalfCloseOfTheAppLeavesTheOtherDirectionOpen) {
  Open tunnel(kOther, "echo");
  tunnel.app.finish();
  EXPECT_EQ(tunnel.client.wait_for_end(), Peer::End::Fin);
  ASSERT_TRUE(tunnel.client.send("still here"));
  EXPECT_EQ(tunnel.app.read(10), "still here");
  tunnel.client.close();
  EXPECT_EQ(tunnel.app.wait_for_end(), Peer::End::Fin);
  tunnel.edge.expect_all_given_back();
}

TEST(Tunnel, AResetOfEitherSideEndsBoth) {
  for (const bool of_app : {false, true}) {
    Open tunnel(kOther, "echo");
    of_app ? tunnel.app.reset() : tunnel.client.reset();
    EXPECT_NE((of_app ? tunnel.client : tunnel.app).wait_for_end(), Peer::End::Open);
    tunnel.edge.expect_all_given_back();
  }
}

// Both directions are full and one side is reset: nothing may spin, and the rest must end.
TEST(Tunnel, AResetWhileBothDirectionsAreFullEndsBoth) {
  for (const bool of_app : {false, true}) {
    Open tunnel(kOther, "echo");
    const std::string piece = pattern(64 * 1024);
    for (int idle_turns = 0; idle_turns < 20; ++idle_turns) {
      if (tunnel.client.send_some(piece) + tunnel.app.send_some(piece) > 0) idle_turns = 0;
      tunnel.edge.loop.run_for(1ms);
    }
    of_app ? tunnel.app.reset() : tunnel.client.reset();
    Peer& other = of_app ? tunnel.client : tunnel.app;
    EXPECT_NE(other.wait_for_end(), Peer::End::Open);
    tunnel.edge.expect_all_given_back();
  }
}

TEST(Tunnel, GoAwayComesAtTheNextFrameBoundary) {
  Open tunnel(kWebSocket, "websocket");
  const std::string frame = std::string("\x82\x7D", 2) + std::string(125, 'x');
  ASSERT_TRUE(tunnel.app.send(frame.substr(0, 50)));
  EXPECT_EQ(tunnel.client.read(50), frame.substr(0, 50));
  tunnel.go_away();
  // The app is told at once, the client only behind the frame.
  const std::string told = tunnel.app.read(8);
  EXPECT_EQ(told.substr(0, 2), std::string("\x88\x82", 2));
  EXPECT_EQ(tunnel.client.read_some(), "");
  ASSERT_TRUE(tunnel.app.send(frame.substr(50) + frame));
  EXPECT_EQ(tunnel.client.read(frame.size() - 50 + 4), frame.substr(50) + kCloseFromServer);
  ASSERT_TRUE(tunnel.client.send(kMaskedClose));
  EXPECT_NE(tunnel.app.wait_for_end(), Peer::End::Open);
  EXPECT_NE(tunnel.client.wait_for_end(), Peer::End::Open);
  EXPECT_EQ(tunnel.client.read_some(), "") << "nothing follows a Close";
  tunnel.edge.expect_all_given_back();
}

TEST(Tunnel, TheAppHearsGoAwayOnlyBehindTheClientsFrame) {
  Open tunnel(kWebSocket, "websocket");
  ASSERT_TRUE(tunnel.client.send(kMaskedText.substr(0, 7)));
  EXPECT_EQ(tunnel.app.read(7), kMaskedText.substr(0, 7));
  tunnel.go_away();
  EXPECT_EQ(tunnel.client.read(4), kCloseFromServer);
  EXPECT_EQ(tunnel.app.read_some(), "");
  ASSERT_TRUE(tunnel.client.send(kMaskedText.substr(7) + kMaskedText));
  const std::string rest = tunnel.app.read(1 + 8);
  EXPECT_EQ(rest.substr(0, 3), kMaskedText.substr(7) + std::string("\x88\x82", 2));
  ASSERT_TRUE(tunnel.client.send(kMaskedClose));
  EXPECT_NE(tunnel.app.wait_for_end(), Peer::End::Open);
  EXPECT_EQ(tunnel.app.read_some(), "");
  tunnel.edge.expect_all_given_back();
}

TEST(Tunnel, GoAwayCutsWhatIsNoWebSocket) {
  Open tunnel(kOther, "echo");
  tunnel.go_away(Fault::DrainDeadline);
  EXPECT_NE(tunnel.client.wait_for_end(), Peer::End::Open);
  EXPECT_NE(tunnel.app.wait_for_end(), Peer::End::Open);
  tunnel.edge.expect_all_given_back();
  EXPECT_EQ(tunnel.edge.log(), std::vector<std::string>{"101 drain_deadline"});
}

TEST(Tunnel, AClientThatIsGoneNeedsNoFiveSeconds) {
  Open tunnel(kWebSocket, "websocket");
  tunnel.go_away();
  EXPECT_EQ(tunnel.client.read(4), kCloseFromServer);
  const TimePoint began = Clock::now();
  tunnel.client.close();
  tunnel.edge.expect_all_given_back();
  EXPECT_LT(Clock::now() - began, 3s);
}

TEST(Tunnel, ASilentOneIsCutWhereTheAppWantsIt) {
  Edge edge;
  edge.app.rooster.tunnel_idle = 50ms;
  edge.adopt();
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(kWebSocket));
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(app.send(switching("websocket")));
  client.read_head();
  EXPECT_NE(client.wait_for_end(), Peer::End::Open);
  edge.expect_all_given_back();
  EXPECT_EQ(edge.log(), std::vector<std::string>{"101 idle_timeout"});
}

// The slow start of a machine is for what has not been answered yet.
TEST(Tunnel, OneThatIsOpenMakesRoomForThoseWhoWait) {
  Edge edge;
  std::vector<Peer> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(edge.connect());
    ASSERT_TRUE(clients.back().send(kWebSocket));
  }
  std::vector<Peer> apps;
  while (apps.size() < 20) {
    apps.push_back(edge.origin.accept());
    apps.back().read_head();
    ASSERT_TRUE(apps.back().send(switching("websocket")));
  }
  for (Peer& client : clients) EXPECT_TRUE(client.read_head().starts_with("HTTP/1.1 101 "));
  clients.clear();
  apps.clear();
  edge.expect_all_given_back();
}

}  // namespace
}  // namespace rooster::proxy
