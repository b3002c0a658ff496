#include "proxy/listener.hpp"

#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;
using testing::Edge;
using testing::Peer;
using testing::turn_until;

constexpr std::string_view kUnknown = "GET / HTTP/1.1\r\nhost: nobody.app.dev\r\n\r\n";
// Answered by the proxy, and the connection stays open.
constexpr std::string_view kOptions = "OPTIONS * HTTP/1.1\r\nhost: hello.app.dev\r\n\r\n";

class ListenerTest : public ::testing::Test {
 protected:
  explicit ListenerTest(std::size_t max_clients = 100) : edge_(max_clients) {
    Descriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address_), size), 0);
    EXPECT_EQ(::listen(fd.get(), 256), 0);
    EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address_), &size), 0);
    listener_.emplace(edge_.context, listening_, sources_, std::move(fd),
                      Listener::Options{.external_port = 80, .local_port = 80});
  }
  ~ListenerTest() override {
    listener_->stop();
    EXPECT_TRUE(turn_until(edge_.loop, [this] { return listening_.size() == 0; }));
  }

  Peer connect() {
    Descriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address_), sizeof address_), 0);
    ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    return {edge_.loop, std::move(fd)};
  }
  void start() { listening_.spawn(listener_->accept_loop()); }

  Edge edge_;
  TaskGroup listening_{edge_.loop};
  SourceLimit sources_{4};
  sockaddr_in address_{};
  std::optional<Listener> listener_;
};

class SmallListenerTest : public ListenerTest {
 protected:
  SmallListenerTest() : ListenerTest(2) {}
};

TEST_F(ListenerTest, StartsASessionForEachClient) {
  start();
  std::vector<Peer> clients;
  for (int i = 0; i < 70; ++i) clients.push_back(connect());
  for (Peer& client : clients) ASSERT_TRUE(client.send(kUnknown));
  for (Peer& client : clients) EXPECT_NE(client.read_head().find(" 404 "), std::string::npos);
}

TEST_F(ListenerTest, WhoIsInTheBacklogAtADrainIsAnsweredNotReset) {
  start();
  std::vector<Peer> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(connect());
    clients.back().send_some(kUnknown);
  }
  // As Worker::drain does, before the listener's next turn.
  edge_.context.draining = true;
  listener_->stop();
  for (Peer& client : clients) {
    const std::string head = client.read_head();
    EXPECT_NE(head.find(" 404 "), std::string::npos) << head;
    EXPECT_NE(head.find("onnection: close"), std::string::npos) << head;
    EXPECT_EQ(client.wait_for_end(), Peer::End::Fin);
  }
}

TEST_F(SmallListenerTest, AtTheCapTheOldestIdleClientMakesRoom) {
  start();
  Peer first = connect();
  Peer second = connect();
  for (Peer* client : {&first, &second}) {
    ASSERT_TRUE(client->send(kOptions));
    client->read_head();
  }
  ASSERT_EQ(edge_.budget.clients.load(), 2u);
  Peer third = connect();
  ASSERT_TRUE(third.send(kUnknown));
  EXPECT_NE(third.read_head().find(" 404 "), std::string::npos);
  EXPECT_EQ(first.wait_for_end(), Peer::End::Fin);
  EXPECT_LE(edge_.budget.clients.load(), 2u);
}

// Slowloris: heads that never end fill every place, and lose them to who comes with a request.
TEST_F(SmallListenerTest, AtTheCapWhoHasNotFinishedItsHeadMakesRoom) {
  start();
  Peer first = connect();
  Peer second = connect();
  for (Peer* client : {&first, &second}) {
    ASSERT_TRUE(client->send("GET / HTTP/1.1\r\nhost: hello.app.dev\r\nx-slow: "));
  }
  ASSERT_TRUE(turn_until(edge_.loop, [this] { return edge_.context.idle.is_linked(); }));
  Peer third = connect();
  ASSERT_TRUE(third.send(kUnknown));
  EXPECT_NE(third.read_head().find(" 404 "), std::string::npos);
  EXPECT_NE(first.wait_for_end(), Peer::End::Open);
}

TEST_F(SmallListenerTest, AtTheCapNobodyGoesWhileNobodyComes) {
  start();
  Peer first = connect();
  Peer second = connect();
  for (Peer* client : {&first, &second}) {
    ASSERT_TRUE(client->send(kOptions));
    client->read_head();
  }
  for (int turn = 0; turn < 20; ++turn) edge_.loop.run_for(1ms);
  EXPECT_EQ(edge_.budget.clients.load(), 2u);
}

TEST_F(SmallListenerTest, AtTheCapBusyClientsStay) {
  start();
  Peer first = connect();
  Peer second = connect();
  for (Peer* client : {&first, &second}) {
    ASSERT_TRUE(client->send("GET / HTTP/1.1\r\nhost: hello.app.dev\r\n\r\n"));
  }
  Peer app = edge_.origin.accept();
  Peer other = edge_.origin.accept();
  app.read_head();
  other.read_head();
  Peer third = connect();
  ASSERT_TRUE(third.send(kUnknown));
  for (int turn = 0; turn < 20; ++turn) edge_.loop.run_for(1ms);
  EXPECT_EQ(edge_.budget.clients.load(), 2u);
  for (Peer* peer : {&app, &other}) {
    ASSERT_TRUE(peer->send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
  }
  EXPECT_NE(first.read_head().find(" 200 "), std::string::npos);
  EXPECT_NE(second.read_head().find(" 200 "), std::string::npos);
  EXPECT_NE(third.read_head().find(" 404 "), std::string::npos);
}

TEST_F(ListenerTest, WithoutDescriptorsItNeitherSpinsNorStops) {
  start();
  edge_.loop.run_for(1ms);
  Peer early = connect();
  Peer late = connect();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  for (int turn = 0; turn < 10; ++turn) edge_.loop.run_for(1ms);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_LT(edge_.metrics().connections_refused.read(), 5u);
  Peer fresh = connect();
  ASSERT_TRUE(fresh.send(kUnknown));
  EXPECT_NE(fresh.read_head().find(" 404 "), std::string::npos);
}

TEST(SourceLimit, CountsIpv4ByAddressAndIpv6BySubnet) {
  SourceLimit limit(2);
  const auto at = [](const char* text) { return *IpAddress::parse(text); };
  EXPECT_TRUE(limit.enter(at("192.0.2.1")));
  EXPECT_TRUE(limit.enter(at("192.0.2.1")));
  EXPECT_FALSE(limit.enter(at("192.0.2.1")));
  EXPECT_TRUE(limit.enter(at("192.0.2.2")));
  limit.leave(at("192.0.2.1"));
  EXPECT_TRUE(limit.enter(at("192.0.2.1")));
  EXPECT_TRUE(limit.enter(at("2001:db8::1")));
  EXPECT_TRUE(limit.enter(at("2001:db8::2")));
  EXPECT_FALSE(limit.enter(at("2001:db8::3")));
  EXPECT_TRUE(limit.enter(at("2001:db8:0:1::1")));
}

}  // namespace
}  // namespace rooster::proxy
