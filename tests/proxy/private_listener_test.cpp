#include "proxy/private_listener.hpp"

#include "core/private_address.hpp"
#include "net/connect_call.hpp"
#include "net/listen.hpp"
#include "proxy/tcp_session.hpp"
#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;
using machines::WakePhase;
using testing::Edge;
using testing::Peer;
using testing::TcpPair;
using testing::turn_until;

constexpr NetworkId kOurs{0x33};
const IpAddress kLaptop = peer_address(kOurs, GatewayId{2}, 7);
const IpAddress kMachine = machine_address(kOurs, HostId{2}, 1);
const IpAddress kFlycast = flycast_address(kOurs, 1);

// An edge whose app has a raw TCP service at 5432 and HTTP at 80, in a network with one peer.
struct Private {
  explicit Private(PrivateListener::Options options = {})
      : listener(edge.context, {}, std::move(options)) {
    config::Port raw;
    raw.start = raw.end = 5432;
    edge.app.services.front().ports.push_back(raw);
    edge.view_.network = kOurs;
    edge.view_.flycast = kFlycast;
    edge.view_.machines.front().private_address = kMachine;
    adopt();
    add_peer({});
  }
  ~Private() {
    edge.sessions.interrupt_all(Fault::Interrupted);
    EXPECT_TRUE(turn_until(edge.loop, [this] { return edge.sessions.size() == 0; }));
  }
  Private(const Private&) = delete;
  Private& operator=(const Private&) = delete;

  void adopt() {
    edge.adopt();
    listener.adopt(edge.context.views[0]);
  }
  void add_peer(PeerLimits limits, bool removed = false) {
    auto fact = std::make_shared<PeerFact>();
    fact->address = kLaptop;
    fact->network = kOurs;
    fact->name = "laptop";
    fact->removed = removed;
    load = fact->load = std::make_shared<PeerLoad>(limits);
    listener.adopt(PeerFactPtr(fact));
  }
  void sleep() { become(WakePhase::Asleep); }
  void become(WakePhase phase, Fault fault = Fault::None) {
    auto& wake = edge.view_.wakes.front();
    ++wake.generation;
    wake.phase = phase;
    wake.fault = fault;
    wake.retry_at = fault == Fault::None ? TimePoint{} : edge.loop.now() + 10s;
    edge.view_.machines.front().routable = phase == WakePhase::Ready;
    adopt();
  }
  Peer connect(Endpoint to, const IpAddress& from = kLaptop) {
    TcpPair pair;
    listener.serve({.fd = std::move(pair.ours), .local = to, .remote = {from, 40000}});
    return {edge.loop, std::move(pair.theirs)};
  }
  Peer connect_service(std::uint16_t port = 5432) { return connect({kFlycast, port}); }
  Peer call(std::string_view head) {
    Peer peer = connect({infra_address(kOurs), net::kPrivateApiPort});
    EXPECT_TRUE(peer.send(head));
    return peer;
  }
  bool is_waiting() {
    return turn_until(edge.loop, [this] { return edge.gate.waiting() > 0; });
  }
  void expect_all_given_back() {
    edge.expect_all_given_back();
    EXPECT_EQ(listener.connections(), 0u);
    EXPECT_EQ(load->connections(), 0u);
    EXPECT_EQ(load->waiting(), 0u);
    EXPECT_EQ(edge.metrics().tcp_open.read(), 0);
  }
  Edge edge;
  PrivateListener listener;
  std::shared_ptr<PeerLoad> load;
};

std::string call_head(std::string host, std::uint16_t port, bool only_wake = false) {
  return net::encode_connect({.target = {std::move(host), port}, .only_wake = only_wake});
}

TEST(TcpSession, PassesBytesAndHalfClosesBothWays) {
  Private net;
  Peer client = net.connect_service();
  Peer app = net.edge.origin.accept();
  EXPECT_TRUE(client.send("ping"));
  client.finish();
  EXPECT_EQ(app.read_to_end(), "ping");
  EXPECT_EQ(app.end(), Peer::End::Fin);
  EXPECT_TRUE(app.send("the whole answer, long after the client's end"));
  app.close();
  EXPECT_EQ(client.read_to_end(), "the whole answer, long after the client's end");
  EXPECT_EQ(client.end(), Peer::End::Fin);
  net.expect_all_given_back();
  EXPECT_EQ(net.edge.log(), std::vector<std::string>{"0 -"});
  EXPECT_EQ(net.edge.metrics().tcp_sessions.read(), 1u);
  EXPECT_EQ(net.edge.counters().bytes_out.read(), 45u);
}

TEST(TcpSession, TellsTheAppWhoseConnectionItIs) {
  Private net;
  for (const char* version : {"v1", "v2"}) {
    config::Port& port = net.edge.app.services.front().ports.back();
    port.handlers = {config::Handler::ProxyProto};
    port.proxy_proto_version = version;
    net.adopt();
    Peer client = net.connect_service();
    Peer app = net.edge.origin.accept();
    const Endpoints ends{{kLaptop, 40000}, {kFlycast, 5432}};
    const std::string header =
        std::string_view(version) == "v1" ? make_proxy_v1(ends) : make_proxy_v2(ends);
    EXPECT_EQ(app.read(header.size()), header);
    ASSERT_TRUE(client.send("ping"));
    EXPECT_EQ(app.read(4), "ping");
  }
}

TEST(TcpSession, KeepsItsMachineAwakeWhileItIsOpen) {
  Private net;
  Peer client = net.connect_service();
  Peer app = net.edge.origin.accept();
  EXPECT_TRUE(app.send("hello"));
  EXPECT_EQ(client.read(5), "hello");
  EXPECT_EQ(net.edge.load().in_flight(), 1u);
  client.close();
  EXPECT_EQ(app.wait_for_end(), Peer::End::Fin);
  app.close();
  net.expect_all_given_back();
}

TEST(TcpSession, WakesTheAppAndKeepsWhatCameMeanwhile) {
  Private net;
  net.sleep();
  Peer client = net.connect_service();
  EXPECT_TRUE(client.send("early"));
  client.finish();
  ASSERT_TRUE(net.is_waiting());
  ASSERT_EQ(net.edge.wakes.size(), 1u);
  EXPECT_EQ(net.edge.wakes.front().reason, "tcp");
  EXPECT_EQ(net.edge.wakes.front().source, kLaptop.to_string());
  EXPECT_EQ(net.load->waiting(), 1u);
  net.become(WakePhase::Ready);
  Peer app = net.edge.origin.accept();
  EXPECT_EQ(app.read_to_end(), "early");
  EXPECT_TRUE(app.send("late"));
  app.close();
  EXPECT_EQ(client.read_to_end(), "late");
  net.expect_all_given_back();
}

TEST(TcpSession, AClientThatLeavesWhileItWaitsStopsCounting) {
  Private net;
  net.sleep();
  Peer client = net.connect_service();
  ASSERT_TRUE(net.is_waiting());
  client.reset();
  net.expect_all_given_back();
  EXPECT_EQ(net.edge.log(), std::vector<std::string>{"0 client_left"});
}

TEST(TcpSession, AFailedWakeIsAReset) {
  Private net;
  net.sleep();
  Peer client = net.connect_service();
  ASSERT_TRUE(net.is_waiting());
  net.become(WakePhase::Waking);
  net.become(WakePhase::Failed, Fault::ExitedBeforeReady);
  EXPECT_EQ(client.wait_for_end(), Peer::End::Reset);
  net.expect_all_given_back();
  EXPECT_EQ(net.edge.log(), std::vector<std::string>{"0 exited_before_ready"});
}

TEST(TcpSession, TriesAnotherMachineWhereOneRefuses) {
  Private net;
  testing::Origin second(net.edge.loop);
  net.edge.add_machine(second.port());
  net.adopt();
  net.edge.origin.close();
  for (int i = 0; i < 4; ++i) {
    Peer client = net.connect_service();
    Peer app = second.accept();
    client.close();
    app.close();
  }
  net.expect_all_given_back();
}

TEST(TcpSession, ARefusalOfTheAppIsAReset) {
  Private net;
  net.edge.origin.close();
  Peer client = net.connect_service();
  EXPECT_EQ(client.wait_for_end(), Peer::End::Reset);
  net.expect_all_given_back();
  EXPECT_EQ(net.edge.log(), std::vector<std::string>{"0 upstream_refused"});
}

// Its connections break before control has heard of its end.
TEST(TcpSession, AnAppThatHasJustExitedIsWokenAgain) {
  Private net;
  net.edge.origin.close();
  Peer client = net.connect_service();
  ASSERT_TRUE(
      turn_until(net.edge.loop, [&] { return net.edge.metrics().upstream_connects.read() == 1; }));
  net.sleep();
  ASSERT_TRUE(net.is_waiting());
  EXPECT_EQ(net.edge.wakes.size(), 1u);
  client.reset();
  net.expect_all_given_back();
}

TEST(TcpSession, AResetOfTheAppIsNotTakenForAnEnd) {
  Private net;
  Peer client = net.connect_service();
  Peer app = net.edge.origin.accept();
  EXPECT_TRUE(app.send("half"));
  EXPECT_EQ(client.read(4), "half");
  app.reset();
  EXPECT_EQ(client.wait_for_end(), Peer::End::Reset);
  net.expect_all_given_back();
  EXPECT_EQ(net.edge.log(), std::vector<std::string>{"0 upstream_reset"});
}

TEST(TcpSession, AResetOfTheClientReachesTheApp) {
  Private net;
  Peer client = net.connect_service();
  Peer app = net.edge.origin.accept();
  EXPECT_TRUE(app.send("x"));
  EXPECT_EQ(client.read(1), "x");
  client.reset();
  EXPECT_EQ(app.wait_for_end(), Peer::End::Reset);
  net.expect_all_given_back();
}

TEST(TcpSession, EndsWithItsMachine) {
  Private net;
  Peer client = net.connect_service();
  Peer app = net.edge.origin.accept();
  ASSERT_TRUE(turn_until(net.edge.loop, [&] { return net.edge.context.tunnels.is_linked(); }));
  static_cast<Tunnel*>(net.edge.context.tunnels.next())->go_away(Fault::Draining);
  EXPECT_EQ(client.wait_for_end(), Peer::End::Reset);
  EXPECT_EQ(app.wait_for_end(), Peer::End::Reset);
  net.expect_all_given_back();
  EXPECT_EQ(net.edge.log(), std::vector<std::string>{"0 draining"});
}

TEST(TcpSession, IsCutWhereItIsSilentForTunnelIdle) {
  Private net;
  net.edge.app.rooster.tunnel_idle = 300ms;
  net.adopt();
  Peer client = net.connect_service();
  Peer app = net.edge.origin.accept();
  EXPECT_EQ(client.wait_for_end(), Peer::End::Reset);
  net.expect_all_given_back();
  EXPECT_EQ(net.edge.log(), std::vector<std::string>{"0 idle_timeout"});
}

TEST(TcpSession, ASlowReaderStopsTheOtherSide) {
  Private net;
  TcpPair pair(4096);
  net.listener.serve(
      {.fd = std::move(pair.ours), .local = {kFlycast, 5432}, .remote = {kLaptop, 1}});
  Peer client(net.edge.loop, std::move(pair.theirs));
  Peer app = net.edge.origin.accept();
  const std::string piece(64 * 1024, 'x');
  std::size_t sent = 0;
  for (int turn = 0; turn < 400; ++turn) {
    sent += app.send_some(piece);
    net.edge.loop.run_for(1ms);
  }
  // What the two sockets of the app's side hold, and one piece of ours: not what was offered.
  EXPECT_LT(sent, std::size_t{16} * 1024 * 1024);
  app.close();
  EXPECT_EQ(client.read_to_end().size(), sent);
  client.close();
  net.expect_all_given_back();
}

TEST(TcpSession, HardLimitMakesOthersWait) {
  Private net;
  net.edge.app.services.front().concurrency.hard_limit = 1;
  net.adopt();
  Peer first = net.connect_service();
  Peer app = net.edge.origin.accept();
  Peer second = net.connect_service();
  ASSERT_TRUE(net.is_waiting());
  first.close();
  app.wait_for_end();
  app.close();
  Peer again = net.edge.origin.accept();
  second.close();
  again.close();
  net.expect_all_given_back();
}

// However they come: by the service, or by the machine's own address.
TEST(TcpSession, AMachineThatJustGotReadyIsNotOverrun) {
  for (const bool own : {false, true}) {
    Private net;
    net.sleep();
    const Endpoint to = own ? Endpoint{kMachine, net.edge.origin.port()} : Endpoint{kFlycast, 5432};
    std::vector<Peer> clients;
    for (int i = 0; i < 40; ++i) clients.push_back(net.connect(to));
    ASSERT_TRUE(turn_until(net.edge.loop, [&] { return net.edge.gate.waiting() == 40; }));
    net.become(WakePhase::Ready);
    std::vector<Peer> apps;
    for (std::size_t i = 0; i < limits::kSlowStartConnections; ++i) {
      apps.push_back(net.edge.origin.accept());
    }
    EXPECT_FALSE(net.edge.origin.has_connection());
    EXPECT_EQ(net.edge.gate.waiting(), 40 - limits::kSlowStartConnections);
    for (Peer& app : apps) EXPECT_TRUE(app.send("welcome"));
    while (apps.size() < 40) {
      apps.push_back(net.edge.origin.accept());
      EXPECT_TRUE(apps.back().send("welcome"));
    }
    for (Peer& client : clients) EXPECT_EQ(client.read(7), "welcome");
    EXPECT_EQ(net.edge.load().in_flight(), 40u);
    clients.clear();
    apps.clear();
    net.expect_all_given_back();
  }
}

TEST(TcpSession, AnAppThatSaysNothingIsGivenMoreAllTheSame) {
  Private net;
  net.sleep();
  std::vector<Peer> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(net.connect_service());
  ASSERT_TRUE(turn_until(net.edge.loop, [&] { return net.edge.gate.waiting() == 20; }));
  net.become(WakePhase::Ready);
  std::vector<Peer> apps;
  while (apps.size() < 20) apps.push_back(net.edge.origin.accept());
  clients.clear();
  apps.clear();
  net.expect_all_given_back();
}

TEST(TcpSession, AMachinesOwnAddressCountsAgainstNoLimit) {
  Private net;
  net.edge.app.services.front().concurrency.hard_limit = 1;
  net.adopt();
  const Endpoint own{kMachine, net.edge.origin.port()};
  Peer first = net.connect(own);
  Peer first_app = net.edge.origin.accept();
  Peer second = net.connect(own);
  Peer second_app = net.edge.origin.accept();
  Peer counted = net.connect_service();
  Peer third_app = net.edge.origin.accept();
  EXPECT_EQ(net.edge.load().in_flight(), 3u);
  for (Peer* peer : {&first, &second, &counted, &first_app, &second_app, &third_app}) peer->close();
  net.expect_all_given_back();
}

TEST(TcpSession, AMachinesOwnAddressWakesOnDeclaredPortsOnly) {
  Private net;
  net.sleep();
  Peer declared = net.connect({kMachine, net.edge.origin.port()});
  ASSERT_TRUE(net.is_waiting());
  EXPECT_EQ(net.edge.wakes.size(), 1u);
  Peer other = net.connect({kMachine, 9});
  EXPECT_EQ(other.wait_for_end(), Peer::End::Reset);
  EXPECT_EQ(net.edge.wakes.size(), 1u);
  declared.reset();
  net.expect_all_given_back();
  EXPECT_EQ(net.edge.log(), (std::vector<std::string>{"0 undeclared_port", "0 client_left"}));
}

TEST(TcpSession, AMachineThatSleepsBesideOthersIsWokenByName) {
  Private net;
  testing::Origin second(net.edge.loop);
  net.edge.add_machine(second.port());
  auto& sleeping = net.edge.view_.machines.back();
  sleeping.private_address = machine_address(kOurs, HostId{2}, 2);
  sleeping.routable = sleeping.awake = false;
  net.adopt();
  Peer client = net.connect({sleeping.private_address, net.edge.origin.port()});
  ASSERT_TRUE(turn_until(net.edge.loop, [&] { return !net.edge.wakes.empty(); }));
  EXPECT_EQ(net.edge.wakes.front().machine, "m1");
  EXPECT_EQ(net.load->waiting(), 1u);
  sleeping.routable = sleeping.awake = true;
  net.adopt();
  Peer app = second.accept();
  client.close();
  app.close();
  net.expect_all_given_back();
  EXPECT_FALSE(net.edge.origin.has_connection());
}

TEST(TcpSession, NobodyBeginsToWaitInADrain) {
  Private net;
  net.sleep();
  net.edge.context.draining = true;
  Peer client = net.connect_service();
  EXPECT_EQ(client.wait_for_end(), Peer::End::Reset);
  net.expect_all_given_back();
  EXPECT_EQ(net.edge.log(), std::vector<std::string>{"0 draining"});
}

// ---- the listener

TEST(PrivateListener, ResetsWhoIsNobody) {
  Private net;
  Peer client = net.connect({kFlycast, 5432}, peer_address(kOurs, GatewayId{2}, 99));
  EXPECT_EQ(client.wait_for_end(), Peer::End::Reset);
  net.expect_all_given_back();
}

TEST(PrivateListener, AcceptsOnEveryListenerItWasGiven) {
  Edge edge;
  std::vector<Descriptor> listeners;
  std::vector<Endpoint> places;
  for (int i = 0; i < 3; ++i) {
    auto made = net::listen_tcp("127.0.0.1", 0);
    ASSERT_TRUE(made);
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    ::getsockname(made->get(), reinterpret_cast<sockaddr*>(&address), &size);
    places.push_back(Endpoint::from(address));
    listeners.push_back(std::move(*made));
  }
  PrivateListener listener(edge.context, std::move(listeners), {});
  listener.start(edge.sessions);
  for (const Endpoint& place : places) {
    sockaddr_storage address{};
    const socklen_t size = place.to(address);
    Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    ASSERT_EQ(::fcntl(client.get(), F_SETFL, O_NONBLOCK), 0);
    // Nobody's, so a reset: but an answer.
    Peer peer(edge.loop, std::move(client));
    EXPECT_EQ(peer.wait_for_end(), Peer::End::Reset) << place.to_string();
  }
  listener.stop();
  EXPECT_TRUE(turn_until(edge.loop, [&] { return edge.sessions.size() == 0; }));
}

TEST(PrivateListener, ResetsWhatLeadsNowhere) {
  Private net;
  for (const Endpoint& to : {Endpoint{kFlycast, 1}, Endpoint{flycast_address(kOurs, 77), 5432},
                             Endpoint{*IpAddress::parse("192.0.2.1"), 443}}) {
    Peer client = net.connect(to);
    EXPECT_EQ(client.wait_for_end(), Peer::End::Reset) << to.to_string();
  }
  net.expect_all_given_back();
  EXPECT_EQ(net.edge.log(), (std::vector<std::string>{"0 no_route", "0 no_route", "0 no_route"}));
}

TEST(PrivateListener, AMachineDoesNotReachTheNodeByTheWayOut) {
  Private net;
  Peer client = net.connect({*IpAddress::parse("127.0.0.1"), net.edge.origin.port()}, kMachine);
  EXPECT_EQ(client.wait_for_end(), Peer::End::Reset);
  EXPECT_FALSE(net.edge.origin.has_connection());
  net.expect_all_given_back();
  EXPECT_EQ(net.edge.log(), std::vector<std::string>{"0 egress_denied"});
}

TEST(PrivateListener, AServiceOfHttpIsAnHttpSession) {
  Private net;
  net.edge.app.services.front().ports.front().force_https = true;  // means the public side
  net.edge.app.rooster.is_public = false;
  net.adopt();
  Peer client = net.connect_service(80);
  EXPECT_TRUE(client.send("GET / HTTP/1.1\r\nhost: hello.flycast\r\n\r\n"));
  Peer app = net.edge.origin.accept();
  const std::string head = app.read_head();
  EXPECT_TRUE(head.contains("X-Forwarded-For: " + kLaptop.to_string()) ||
              head.contains("x-forwarded-for: " + kLaptop.to_string()))
      << head;
  EXPECT_TRUE(app.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
  EXPECT_TRUE(client.read_head().starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(client.read(2), "ok");
  client.close();
  app.close();
  net.expect_all_given_back();
}

TEST(PrivateListener, BoundsThePeersConnectionsAndItsWaiting) {
  Private net;
  net.add_peer({.connections = 2, .waiting = 1, .new_per_second = 100});
  net.sleep();
  Peer first = net.connect_service();
  ASSERT_TRUE(net.is_waiting());
  Peer second = net.connect_service();
  EXPECT_EQ(second.wait_for_end(), Peer::End::Reset);
  net.become(WakePhase::Ready);
  Peer app = net.edge.origin.accept();
  Peer third = net.connect_service();
  Peer third_app = net.edge.origin.accept();
  Peer fourth = net.connect_service();
  EXPECT_EQ(fourth.wait_for_end(), Peer::End::Reset);
  EXPECT_EQ(net.load->refusals(), 2u);
  for (Peer* peer : {&first, &third, &app, &third_app}) peer->close();
  net.expect_all_given_back();
}

TEST(PrivateListener, BoundsANetwork) {
  Private net({.max_per_network = 1});
  Peer first = net.connect_service();
  Peer app = net.edge.origin.accept();
  Peer second = net.connect_service();
  EXPECT_EQ(second.wait_for_end(), Peer::End::Reset);
  first.close();
  app.close();
  net.expect_all_given_back();
  Peer third = net.connect_service();
  Peer third_app = net.edge.origin.accept();
  third.close();
  third_app.close();
  net.expect_all_given_back();
}

TEST(PrivateListener, ARemovedPeersConnectionsAreReset) {
  Private net;
  const auto before = net.load;
  Peer open = net.connect_service();
  Peer app = net.edge.origin.accept();
  Peer http = net.connect_service(80);
  ASSERT_TRUE(turn_until(net.edge.loop, [&] { return net.edge.context.tunnels.is_linked(); }));
  net.add_peer({}, true);
  EXPECT_EQ(open.wait_for_end(), Peer::End::Reset);
  EXPECT_EQ(app.wait_for_end(), Peer::End::Reset);
  EXPECT_NE(http.wait_for_end(), Peer::End::Open);
  net.expect_all_given_back();
  EXPECT_EQ(before->connections(), 0u);
}

// ---- the call

TEST(PrivateCall, ToldOfTheWakeThenConnected) {
  Private net;
  net.sleep();
  Peer client = net.call(call_head("hello.internal", net.edge.origin.port()) + "first bytes");
  net::ConnectReply reply;
  ASSERT_TRUE(turn_until(net.edge.loop, [&] {
    EXPECT_TRUE(reply.put(client.read_some()));
    return !reply.take_progress().empty();
  }));
  net.become(WakePhase::Ready);
  Peer app = net.edge.origin.accept();
  EXPECT_EQ(app.read(11), "first bytes");
  EXPECT_TRUE(app.send("answer"));
  std::string rest;
  ASSERT_TRUE(turn_until(net.edge.loop, [&] {
    EXPECT_TRUE(reply.put(client.read_some()));
    if (reply.state() == net::ConnectReply::State::Connected) rest += reply.take_rest();
    return rest.size() == 6;
  }));
  EXPECT_EQ(rest, "answer");
  client.finish();
  EXPECT_EQ(app.wait_for_end(), Peer::End::Fin);
  EXPECT_TRUE(app.send("after your end"));
  app.close();
  EXPECT_EQ(client.read_to_end(), "after your end");
  EXPECT_EQ(client.end(), Peer::End::Fin);
  net.expect_all_given_back();
}

TEST(PrivateCall, OnlyWakesWhereAsked) {
  Private net;
  net.sleep();
  Peer client = net.call(call_head("hello.flycast", 5432, true));
  ASSERT_TRUE(net.is_waiting());
  net.become(WakePhase::Ready);
  EXPECT_TRUE(client.read_to_end().contains("HTTP/1.1 200 "));
  EXPECT_FALSE(net.edge.origin.has_connection());
  client.close();
  net.expect_all_given_back();
}

TEST(PrivateCall, ExplainsARefusal) {
  Private net;
  net.edge.view_.wakes.front().autostart = false;
  net.sleep();
  Peer client = net.call(call_head("hello.internal", net.edge.origin.port()));
  const std::string answer = client.read_to_end();
  EXPECT_EQ(client.end(), Peer::End::Fin);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_TRUE(answer.contains("Rooster-Fault: autostart_off\r\n")) << answer;
  client.close();
  net.expect_all_given_back();
  EXPECT_EQ(net.edge.log(), std::vector<std::string>{"0 autostart_off"});
}

TEST(PrivateCall, UnknownNamesAreRefused) {
  Private net;
  for (const char* name : {"nobody.internal", "_api.internal", "example.com", "10.0.0.1"}) {
    Peer client = net.call(call_head(name, 80));
    EXPECT_TRUE(client.read_to_end().contains("Rooster-Fault: no_route\r\n")) << name;
    client.close();
  }
  net.expect_all_given_back();
}

TEST(PrivateCall, KnowsTheApiByItsName) {
  std::string handed;
  PrivateListener::Options options;
  options.hand_over = [&handed](Descriptor, std::string input, const PrivateSource&) {
    handed = std::move(input);
  };
  Private net(std::move(options));
  Peer client = net.call(call_head("_API.internal", net::kPrivateApiPort));
  EXPECT_EQ(client.read(26), "HTTP/1.1 200 Connected\r\n\r\n");
  ASSERT_TRUE(client.send("GET /v1/apps HTTP/1.1\r\nHost: _api.internal\r\n\r\n"));
  EXPECT_TRUE(turn_until(net.edge.loop, [&handed] { return !handed.empty(); }));
  EXPECT_TRUE(handed.starts_with("GET /v1/apps "));
  Peer only = net.call(call_head("_api.internal", net::kPrivateApiPort, true));
  EXPECT_TRUE(only.read_to_end().starts_with("HTTP/1.1 200 "));
  // A call within a call is none.
  Peer nested = net.call(call_head("_api.internal", net::kPrivateApiPort) +
                         call_head("_api.internal", net::kPrivateApiPort));
  EXPECT_EQ(nested.read_to_end(), "HTTP/1.1 200 Connected\r\n\r\n");
  client.close();
  only.close();
  nested.close();
  net.expect_all_given_back();
}

TEST(PrivateCall, IsNotForMachines) {
  Private net;
  Peer client = net.connect({infra_address(kOurs), 4280}, kMachine);
  EXPECT_TRUE(client.send(call_head("hello.internal", 80)));
  EXPECT_TRUE(client.read_to_end().contains("Rooster-Fault: not_allowed\r\n"));
  client.close();
  net.expect_all_given_back();
}

TEST(PrivateCall, MalformedOrEndlessHeadsAreRefused) {
  Private net;
  Peer bad = net.call("CONNECT hello.internal HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(bad.read_to_end().starts_with("HTTP/1.1 400 "));
  bad.close();
  Peer endless = net.call("CONNECT hello.internal:80 HTTP/1.1\r\nx: " + std::string(20000, 'x'));
  EXPECT_TRUE(endless.read_to_end().starts_with("HTTP/1.1 431 "));
  endless.close();
  net.expect_all_given_back();
}

TEST(PrivateCall, WhatIsNoCallIsHandedOver) {
  std::string input;
  PrivateSource source;
  Descriptor taken;
  Private net({.hand_over = [&](Descriptor fd, std::string read, PrivateSource from) {
    taken = std::move(fd);
    input = std::move(read);
    source = std::move(from);
  }});
  Peer client = net.call("POST /v1/apps/hello/machines/m0/exec HTTP/1.1\r\n");
  ASSERT_TRUE(turn_until(net.edge.loop, [&] { return static_cast<bool>(taken); }));
  EXPECT_TRUE(input.starts_with("POST /v1/"));
  EXPECT_EQ(source.name, "laptop");
  EXPECT_EQ(client.end(), Peer::End::Open);
  client.close();
  net.expect_all_given_back();
}

TEST(PrivateCall, AnOperatorsComesFromOutside) {
  Private net;
  TcpPair pair;
  net.listener.serve_operator(std::move(pair.ours),
                              call_head("hello", net.edge.origin.port()) + "hi");
  Peer client(net.edge.loop, std::move(pair.theirs));
  Peer app = net.edge.origin.accept();
  EXPECT_EQ(app.read(2), "hi");
  EXPECT_TRUE(client.read_head().starts_with("HTTP/1.1 200 "));
  client.close();
  app.close();
  net.expect_all_given_back();
}

}  // namespace
}  // namespace rooster::proxy
