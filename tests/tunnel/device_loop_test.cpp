#include "tunnel/device_loop.hpp"

#include "tests/tunnel/loop_pair.hpp"

#include <gtest/gtest.h>

#include <sys/socket.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr const char* kClient = "fdaa:0:33:a7b::2";
constexpr const char* kMachine = "fdaa:0:33:1::2";

class DeviceLoopOverFamily : public testing::TestWithParam<bool> {};

TEST_P(DeviceLoopOverFamily, PacketsPassBothWaysInOrder) {
  LoopPair pair(GetParam());
  std::vector<Bytes> there;
  for (int i = 0; i < 100; ++i) {
    there.push_back(inner_packet(kClient, kMachine, 1200, static_cast<std::uint8_t>(i)));
    pair.client.port.put(there.back());
  }
  ASSERT_TRUE(run_until(pair.loop, [&] { return pair.gateway.port.received.size() >= 100; }));
  EXPECT_EQ(pair.gateway.port.received, there);

  const Bytes back = inner_packet(kMachine, kClient, 100, 7);
  pair.gateway.port.put(back);
  ASSERT_TRUE(run_until(pair.loop, [&] { return !pair.client.port.received.empty(); }));
  EXPECT_EQ(pair.client.port.received.front(), back);
  EXPECT_EQ(pair.gateway.device.statistics(pair.to_client, pair.gateway.tunnel->now())
                ->endpoint.remote.port,
            pair.client.tunnel->listen_port());
}

TEST_P(DeviceLoopOverFamily, AFloodInBothDirectionsArrives) {
  LoopPair pair(GetParam());
  pair.client.port.put(inner_packet(kClient, kMachine, 10));
  ASSERT_TRUE(run_until(pair.loop, [&] { return !pair.gateway.port.received.empty(); }));
  std::size_t sent = 0;
  // What is under way stays below the sockets' buffers without privileges.
  while (sent < 3000) {
    for (int i = 0; i < 50; ++i, ++sent) {
      pair.client.port.put(inner_packet(kClient, kMachine, 1200));
      pair.gateway.port.put(inner_packet(kMachine, kClient, 1200));
    }
    ASSERT_TRUE(run_until(pair.loop, [&] {
      return pair.gateway.port.received.size() > sent && pair.client.port.received.size() >= sent;
    })) << sent;
  }
  EXPECT_EQ(pair.client.tunnel->counters().udp.segment_refused, 0u);
}

INSTANTIATE_TEST_SUITE_P(Families, DeviceLoopOverFamily, testing::Bool(),
                         [](const auto& param) { return param.param ? "V4" : "V6"; });

TEST(DeviceLoop, WhatAKernelSaysToItsNeighboursStaysInside) {
  LoopPair pair;
  pair.client.port.put(inner_packet("fe80::1", "ff02::2", 20));
  pair.client.port.put(inner_packet(kClient, "2001:db8::1", 20));
  pair.client.port.put(inner_packet(kClient, kMachine, 20));
  ASSERT_TRUE(run_until(pair.loop, [&] { return !pair.gateway.port.received.empty(); }));
  EXPECT_EQ(pair.gateway.port.received.size(), 1u);
  EXPECT_EQ(pair.client.tunnel->counters().not_ours, 2u);
}

TEST(DeviceLoop, AnEchoIsAnsweredForWhatExistsOnly) {
  GateRules gate;
  gate.answers_echo = [](PeerId, const IpAddress& at) { return at == *IpAddress::parse(kMachine); };
  LoopPair pair(true, std::move(gate));
  std::vector<Bytes> taken;
  DeviceHooks hooks;
  hooks.packet = [&taken](PeerId, Packet packet) {
    taken.emplace_back(packet.begin(), packet.end());
    return true;
  };
  pair.client.tunnel->set_hooks(std::move(hooks));
  Bytes request(200);
  const Bytes payload = {1, 2, 3, 4};
  for (const char* to : {kMachine, "fdaa:0:33:dead::2"}) {
    const std::size_t bytes = make_echo_request(request, *IpAddress::parse(kClient),
                                                *IpAddress::parse(to), 9, 1, payload);
    pair.client.tunnel->send_packet(std::span(request).first(bytes));
  }
  ASSERT_TRUE(run_until(pair.loop, [&] { return taken.size() == 2; }));
  EXPECT_EQ(taken[0][40], 129);  // an echo reply
  EXPECT_EQ(Bytes(taken[0].end() - 4, taken[0].end()), payload);
  EXPECT_EQ(taken[1][40], 1);  // unreachable: the address
  EXPECT_EQ(taken[1][41], 3);
  EXPECT_TRUE(pair.gateway.port.received.empty());
}

TEST(DeviceLoop, SleepDropsTheSessionsAndSaysHowLong) {
  LoopPair pair;
  pair.client.port.put(inner_packet(kClient, kMachine, 10));
  ASSERT_TRUE(run_until(pair.loop, [&] { return pair.gateway.port.received.size() == 1; }));
  // Not in the same 20 ms as the first initiation, which would be dropped as a flood.
  pair.gateway.ahead += 1s;
  Duration slept{};
  DeviceHooks hooks;
  hooks.clock_jumped = [&slept](Duration gap) { slept = gap; };
  pair.client.tunnel->set_hooks(std::move(hooks));
  pair.client.ahead += 3h;
  pair.client.tunnel->poke();
  EXPECT_GE(slept, 3h);
  const auto statistics = pair.client.device.statistics(pair.to_gateway, pair.client.tunnel->now());
  EXPECT_FALSE(statistics->has_session);
  EXPECT_EQ(pair.client.tunnel->counters().clock_jumps, 1u);
  pair.client.port.put(inner_packet(kClient, kMachine, 10));
  EXPECT_TRUE(run_until(pair.loop, [&] { return pair.gateway.port.received.size() == 2; }));
}

TEST(DeviceLoop, ASocketCanBeReplacedAndThePeerFollows) {
  LoopPair pair;
  pair.client.port.put(inner_packet(kClient, kMachine, 10));
  ASSERT_TRUE(run_until(pair.loop, [&] { return pair.gateway.port.received.size() == 1; }));
  const std::uint16_t before = pair.client.tunnel->listen_port();
  pair.client.open("127.0.0.1");
  EXPECT_NE(pair.client.tunnel->listen_port(), before);
  pair.client.port.put(inner_packet(kClient, kMachine, 10));
  ASSERT_TRUE(run_until(pair.loop, [&] { return pair.gateway.port.received.size() == 2; }));
  pair.gateway.port.put(inner_packet(kMachine, kClient, 10));
  EXPECT_TRUE(run_until(pair.loop, [&] { return !pair.client.port.received.empty(); }));
}

std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> stream_pair(Loop& loop) {
  int fds[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  return {std::make_unique<Stream>(loop, Descriptor(fds[0])),
          std::make_unique<Stream>(loop, Descriptor(fds[1]))};
}

TEST(DeviceLoop, APeerComesByWebsocketAndIsAnsweredThere) {
  LoopPair pair;
  auto [ours, theirs] = stream_pair(pair.loop);
  const Endpoint source{*IpAddress::parse("192.0.2.9"), 4000};
  const std::uint32_t there =
      pair.gateway.tunnel->add_websocket(std::move(theirs), WebsocketRole::Server, source, {});
  const std::uint32_t here =
      pair.client.tunnel->add_websocket(std::move(ours), WebsocketRole::Client, {}, {});
  ASSERT_NE(here, 0u);
  ASSERT_NE(there, 0u);
  PeerChange change;
  change.endpoint = TunnelEndpoint::websocket(here, {});
  pair.client.device.update_peer(pair.to_gateway, change, pair.client.tunnel->now());
  for (int i = 0; i < 60; ++i) pair.client.port.put(inner_packet(kClient, kMachine, 1200));
  ASSERT_TRUE(run_until(pair.loop, [&] { return pair.gateway.port.received.size() == 60; }));
  pair.gateway.port.put(inner_packet(kMachine, kClient, 500));
  ASSERT_TRUE(run_until(pair.loop, [&] { return pair.client.port.received.size() == 1; }));
  const auto statistics =
      pair.gateway.device.statistics(pair.to_client, pair.gateway.tunnel->now());
  EXPECT_EQ(statistics->endpoint, TunnelEndpoint::websocket(there, source));

  bool ended = false;
  DeviceHooks hooks;
  hooks.websocket_ended = [&](std::uint32_t number, const Error&) { ended = number == there; };
  pair.gateway.tunnel->set_hooks(std::move(hooks));
  pair.client.tunnel->close_websocket(here);
  EXPECT_TRUE(run_until(pair.loop, [&] { return ended; }));
  EXPECT_FALSE(pair.gateway.tunnel->has_websocket(there));
}

TEST(DeviceLoop, AWebsocketThatSpeaksSomethingElseIsClosed) {
  LoopPair pair;
  auto [ours, theirs] = stream_pair(pair.loop);
  const std::uint32_t number =
      pair.gateway.tunnel->add_websocket(std::move(theirs), WebsocketRole::Server, {}, {});
  ASSERT_NE(number, 0u);
  ours->write("GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(run_until(pair.loop, [&] { return !pair.gateway.tunnel->has_websocket(number); }));
}

TEST(DeviceLoop, ASourceHasFewWebsockets) {
  LoopPair pair;
  const Endpoint source{*IpAddress::parse("2001:db8::1"), 4000};
  const Endpoint near{*IpAddress::parse("2001:db8::2"), 4001};  // the same /64
  std::vector<std::unique_ptr<Stream>> others;
  for (std::size_t i = 0; i <= DeviceLoop::kMaxWebsocketsPerSource; ++i) {
    auto [ours, theirs] = stream_pair(pair.loop);
    others.push_back(std::move(ours));
    const std::uint32_t number = pair.gateway.tunnel->add_websocket(
        std::move(theirs), WebsocketRole::Server, i % 2 == 0 ? source : near, {});
    EXPECT_EQ(number == 0, i == DeviceLoop::kMaxWebsocketsPerSource);
  }
  EXPECT_EQ(pair.gateway.tunnel->counters().websockets_refused, 1u);
}

}  // namespace
}  // namespace rooster::tunnel
