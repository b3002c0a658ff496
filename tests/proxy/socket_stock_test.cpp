#include "proxy/socket_stock.hpp"

#include "core/private_address.hpp"
#include "proxy/connect_machine.hpp"
#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;
using testing::Edge;
using testing::Peer;
using testing::turn_until;

Descriptor make_socket() {
  return Descriptor(::socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

std::vector<Descriptor> make_sockets(std::size_t count) {
  std::vector<Descriptor> sockets;
  for (std::size_t i = 0; i < count; ++i) sockets.push_back(make_socket());
  return sockets;
}

struct Taking {
  Waiter waiter;
  std::optional<Result<Descriptor>> got;
  explicit Taking(TaskGroup& group) : waiter(group) {}
};

// A stock whose orders the test fills by hand.
struct Stock {
  Stock() { machine = start("m0", 1); }
  machines::MachineView start(std::string id, std::uint16_t generation) {
    machines::MachineView view;
    view.id = {std::move(id)};
    view.load = load;
    view.load_generation = generation;
    view.netns = view.awake = true;
    return view;
  }
  Task<> take_one(std::shared_ptr<Taking> taking, machines::MachineView view) {
    taking->got = co_await stock.take(view, taking->waiter, loop.now() + 10s);
    co_return {};
  }
  std::shared_ptr<Taking> take() { return take(machine); }
  std::shared_ptr<Taking> take(const machines::MachineView& view) {
    auto taking = std::make_shared<Taking>(group);
    group.spawn(take_one(taking, view));
    return taking;
  }
  bool is_done(const std::shared_ptr<Taking>& taking) {
    return turn_until(loop, [&] { return taking->got.has_value(); });
  }
  void fill(std::size_t order) {
    stock.deliver(orders.at(order).id, make_sockets(orders.at(order).count));
  }
  Loop loop;
  TaskGroup group{loop};
  std::shared_ptr<machines::MachineLoad> load = std::make_shared<machines::MachineLoad>(AppId{0});
  std::vector<SocketOrder> orders;
  SocketStock stock{loop, [this](SocketOrder order) { orders.push_back(std::move(order)); }};
  machines::MachineView machine;
};

TEST(SocketStock, OrdersABatchAndServesInTurn) {
  Stock s;
  auto first = s.take();
  auto second = s.take();
  ASSERT_EQ(s.orders.size(), 1u);
  EXPECT_EQ(s.orders.front().machine, "m0");
  s.fill(0);
  ASSERT_TRUE(s.is_done(first));
  ASSERT_TRUE(s.is_done(second));
  EXPECT_TRUE(*first->got);
  EXPECT_TRUE(*second->got);
  EXPECT_EQ(s.stock.size(), s.orders.front().count - 2);
}

TEST(SocketStock, RefillsAheadOfNeedInGrowingBatchesWithABound) {
  Stock s;
  std::size_t filled = 0;
  for (int i = 0; i < 200; ++i) {
    auto taking = s.take();
    while (filled < s.orders.size()) s.fill(filled++);
    ASSERT_TRUE(s.is_done(taking));
    ASSERT_TRUE(*taking->got);
  }
  EXPECT_EQ(s.orders.back().count, 32u);
  EXPECT_LT(s.orders.size(), 20u);
  EXPECT_LE(s.stock.size(), 64u);
}

TEST(SocketStock, AnotherStartHasAnotherNamespace) {
  Stock s;
  auto first = s.take();
  s.fill(0);
  ASSERT_TRUE(s.is_done(first));
  auto later = s.take(s.start("m0", 2));
  ASSERT_EQ(s.orders.size(), 2u);
  EXPECT_FALSE(later->got);
  s.stock.drop(*s.load);
  ASSERT_TRUE(s.is_done(later));
  EXPECT_EQ(later->got->error().fault, Fault::UpstreamRefused);
  EXPECT_EQ(s.stock.size(), 0u);
  s.fill(1);  // made too late: nobody may use them
  EXPECT_EQ(s.stock.size(), 0u);
}

TEST(SocketStock, AFailedOrderIsToldToAllWhoWait) {
  Stock s;
  auto first = s.take();
  auto second = s.take();
  s.stock.deliver(s.orders.front().id, {});
  ASSERT_TRUE(s.is_done(first));
  ASSERT_TRUE(s.is_done(second));
  EXPECT_EQ(first->got->error().reached, Reached::No);
  auto third = s.take();
  ASSERT_EQ(s.orders.size(), 2u);
  s.fill(1);
  ASSERT_TRUE(s.is_done(third));
  EXPECT_TRUE(*third->got);
}

TEST(SocketStock, WhoGivesUpIsForgotten) {
  Stock s;
  auto gone = s.take();
  gone->waiter.interrupt(Fault::ClientLeft);
  ASSERT_TRUE(s.is_done(gone));
  EXPECT_EQ(gone->got->error().fault, Fault::ClientLeft);
  s.fill(0);
  EXPECT_EQ(s.stock.size(), s.orders.front().count);
}

// ---- dialling: what stands for the machine's namespace is the test's own

struct Dialling {
  Dialling() : stock(edge.loop, [this](SocketOrder order) { orders.push_back(std::move(order)); }) {
    edge.context.sockets = &stock;
    edge.view_.machines.front().netns = true;
    edge.view_.machines.front().address = *IpAddress::parse("192.0.2.99");  // never dialled
    edge.adopt();
  }
  Task<> dial(DialWish wish) {
    result = co_await open_connection(edge.context, waiter, edge.view_.machines.front(), wish);
    co_return {};
  }
  Result<UpstreamConnectionPtr> open(DialWish wish) {
    result.reset();
    edge.sessions.spawn(dial(wish));
    EXPECT_TRUE(turn_until(edge.loop, [this] {
      for (const SocketOrder& order : std::exchange(orders, {})) {
        for_hub = for_hub || order.machine.empty();
        stock.deliver(order.id, make_sockets(order.count));
      }
      return result.has_value();
    }));
    return std::move(*result);
  }
  Edge edge;
  std::vector<SocketOrder> orders;
  SocketStock stock;
  bool for_hub = false;
  Waiter waiter{edge.sessions};
  std::optional<Result<UpstreamConnectionPtr>> result;
};

TEST(OpenConnection, ReachesAMachinesLoopbackFromWithin) {
  Dialling d;
  auto opened = d.open({.port = d.edge.origin.port()});
  ASSERT_TRUE(opened);
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  ASSERT_EQ(::getpeername((*opened)->stream.fd(), reinterpret_cast<sockaddr*>(&peer), &size), 0);
  EXPECT_EQ(Endpoint::from(peer).to_string(), "127.0.0.1:" + std::to_string(d.edge.origin.port()));
  EXPECT_FALSE(d.for_hub);
  d.edge.origin.accept().close();
}

TEST(OpenConnection, TriesTheOtherAddressesInTurn) {
  Dialling d;
  // Stands for a private IPv4: what listens at 127.0.0.1 alone isn't there.
  Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(0x7F000002);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  d.edge.view_.machines.front().private_v4 = *IpAddress::parse("127.0.0.2");
  EXPECT_TRUE(d.open({.port = ntohs(address.sin_port)}));
}

TEST(OpenConnection, APrivateClientIsSeenAsTheSource) {
  Dialling d;
  Descriptor listener(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  socklen_t size = sizeof address;
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) {
    GTEST_SKIP() << "no IPv6 loopback here";
  }
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  d.edge.view_.machines.front().private_address = *IpAddress::parse("::1");
  auto opened = d.open({.port = ntohs(address.sin6_port), .source = *IpAddress::parse("::1")});
  ASSERT_TRUE(opened) << opened.error().detail;
  EXPECT_TRUE(d.for_hub);
}

TEST(OpenConnection, AnUndeclaredPortOnLoopbackIsNotOpened) {
  Dialling d;
  const IpAddress source = peer_address(NetworkId{1}, GatewayId{2}, 3);
  auto opened = d.open({.port = d.edge.origin.port(), .source = source, .is_declared = false});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().fault, Fault::ListensOnLoopback);
  auto declared = d.open({.port = d.edge.origin.port(), .source = source});
  EXPECT_TRUE(declared);
}

TEST(OpenConnection, SaysThatNobodyListens) {
  Dialling d;
  const std::uint16_t port = d.edge.origin.port();
  d.edge.origin.close();
  auto opened = d.open({.port = port});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().fault, Fault::UpstreamRefused);
  EXPECT_EQ(opened.error().reached, Reached::No);
}

}  // namespace
}  // namespace rooster::proxy
