#include "tunnel/netns_stack.hpp"

#include "tests/tunnel/loop_pair.hpp"
#include "tunnel/lwip_stack.hpp"
#include "tunnel/stack_choice.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include <fcntl.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr const char* kOwn = "fdaa:0:33:a7b::2";
constexpr const char* kMachine = "fdaa:0:33:1::2";
constexpr std::size_t kBytes = 8 * 1024 * 1024;

// A device with its loop over a stack that was made elsewhere.
struct End {
  End(Loop& loop, std::unique_ptr<Stack> made) : stack(std::move(made)) {
    key = PrivateKey::generate(random);
    device = std::make_unique<Device>(key, DeviceOptions{}, random);
    tunnel = std::make_unique<DeviceLoop>(loop, *device, stack->packets());
    auto socket = UdpSocket::bind({*IpAddress::parse("127.0.0.1"), 0});
    EXPECT_TRUE(socket.has_value());
    tunnel->add_socket(std::move(*socket));
    tunnel->start();
  }
  void add(const End& other, const char* prefix) {
    PeerSettings settings;
    settings.key = other.key.public_key();
    settings.allowed_ips = {*Prefix::parse(prefix)};
    settings.endpoint =
        TunnelEndpoint::udp({*IpAddress::parse("127.0.0.1"), other.tunnel->listen_port()});
    EXPECT_TRUE(device->add_peer(settings, tunnel->now()));
  }

  SystemRandom random;
  PrivateKey key;
  std::unique_ptr<Stack> stack;
  std::unique_ptr<Device> device;
  std::unique_ptr<DeviceLoop> tunnel;
};

// What a connection does here: sends kBytes, ends its side, reads to the other's end.
Task<> exchange(Loop& loop, TaskGroup& group, Dialled connection, std::size_t& received,
                int& done) {
  Waiter waiter(group);
  Stream stream(loop, std::move(connection.fd), Pollable::kReadable | Pollable::kWritable);
  stream.watch_reset(connection.reset);
  std::string piece(64 * 1024, 'x');
  std::size_t sent = 0;
  bool ended = false;
  for (;;) {
    while (sent < kBytes && !stream.has_pending()) {
      if (!stream.write(piece)) co_return {};
      sent += piece.size();
      if (sent == kBytes) stream.shutdown_write();
    }
    if (ended && sent == kBytes && !stream.has_pending()) break;
    const Interest both{&stream.pollable(), static_cast<std::uint8_t>(
                                                (ended ? 0 : Pollable::kReadable) |
                                                (stream.has_pending() ? Pollable::kWritable : 0))};
    if (co_await waiter.wait(kNever, both) != Woke::Ready) co_return {};
    if (!stream.flush()) co_return {};
    const ReadResult got = ended ? ReadResult{ReadResult::Status::Later} : stream.read(piece);
    if (got.status == ReadResult::Status::Some) received += got.bytes;
    if (got.status == ReadResult::Status::End) ended = true;
    if (got.status == ReadResult::Status::Failed) co_return {};
  }
  ++done;
  co_return {};
}

Task<> dial_and_exchange(Loop& loop, TaskGroup& group, Stack& stack, Dialled& about,
                         std::size_t& received, int& done) {
  Waiter waiter(group);
  auto dialled = co_await stack.dial({*IpAddress::parse(kMachine), 5432}, waiter, loop.now() + 20s);
  EXPECT_TRUE(dialled.has_value()) << (dialled ? "" : dialled.error().detail);
  if (!dialled) co_return dialled.error();
  about.local = dialled->local;
  about.remote = dialled->remote;
  co_return co_await exchange(loop, group, std::move(*dialled), received, done);
}

NetnsOptions client_options() {
  NetnsOptions options;
  options.address = *IpAddress::parse(kOwn);
  return options;
}

TEST(NetnsStack, KernelTcpMeetsLwipThroughTheTunnel) {
  Loop loop;
  auto netns = make_netns_stack(loop, client_options());
  ASSERT_TRUE(netns.has_value()) << netns.error().detail;
  auto lwip = make_lwip_stack(loop, {*IpAddress::parse("fdaa:0:33::3")});
  ASSERT_TRUE(lwip.has_value()) << lwip.error().detail;
  End client(loop, std::move(*netns));
  End gateway(loop, std::move(*lwip));
  client.add(gateway, "fdaa:0:33::/48");
  gateway.add(client, "fdaa:0:33:a7b::/120");

  TaskGroup group(loop);
  Dialled accepted, dialled;
  std::size_t there = 0, here = 0;
  int done = 0;
  Inbound inbound;
  inbound.is_wanted = [](const Endpoint& local, const Endpoint&) { return local.port == 5432; };
  inbound.accepted = [&](Dialled connection) {
    accepted.local = connection.local;
    accepted.remote = connection.remote;
    group.spawn(exchange(loop, group, std::move(connection), there, done));
  };
  ASSERT_TRUE(gateway.stack->listen(std::move(inbound)));
  group.spawn(dial_and_exchange(loop, group, *client.stack, dialled, here, done));
  EXPECT_TRUE(run_until(loop, [&] { return done == 2; })) << here << ' ' << there;
  EXPECT_EQ(here, kBytes);
  EXPECT_EQ(there, kBytes);
  EXPECT_EQ(accepted.local, (Endpoint{*IpAddress::parse(kMachine), 5432}));
  EXPECT_EQ(accepted.remote.address, *IpAddress::parse(kOwn));
  EXPECT_EQ(accepted.remote, dialled.local);

  group.interrupt_all(Fault::Interrupted);
  int stopped = 0;
  group.when_empty([&] { ++stopped; });
  client.tunnel->stop([&] { ++stopped; });
  gateway.tunnel->stop([&] { ++stopped; });
  EXPECT_TRUE(run_until(loop, [&] { return stopped == 3; }));
}

Task<> dial_only(Loop& loop, TaskGroup& group, Stack& stack, Fault& fault, bool& done) {
  Waiter waiter(group);
  const auto dialled =
      co_await stack.dial({*IpAddress::parse("fdaa:0:33:1::2"), 1}, waiter, loop.now() + 300ms);
  fault = dialled ? Fault::None : dialled.error().fault;
  done = true;
  co_return {};
}

TEST(NetnsStack, ADialWithoutAnAnswerEndsAtItsDeadline) {
  Loop loop;
  auto netns = make_netns_stack(loop, client_options());
  ASSERT_TRUE(netns.has_value()) << netns.error().detail;
  TaskGroup group(loop);
  Fault fault = Fault::None;
  bool done = false;
  group.spawn(dial_only(loop, group, **netns, fault, done));
  ASSERT_TRUE(run_until(loop, [&] { return done; }));
  EXPECT_EQ(fault, Fault::UpstreamConnectTimeout);
}

TEST(StackChoice, WithoutATunDeviceAutoTakesLwipAndSaysWhy) {
  Loop loop;
  NetnsOptions options = client_options();
  options.tun_device = "/nonexistent/tun";
  const auto refused = choose_stack(loop, StackChoice::Netns, options);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().detail.find("/nonexistent/tun"), std::string::npos)
      << refused.error().detail;
  const auto chosen = choose_stack(loop, StackChoice::Auto, options);
  ASSERT_TRUE(chosen.has_value()) << chosen.error().detail;
  EXPECT_STREQ(chosen->stack->name(), "lwip");
  EXPECT_NE(chosen->explanation.find("/nonexistent/tun"), std::string::npos);
}

TEST(StackChoice, EachCanBeAskedFor) {
  Loop loop;
  for (const char* name : {"netns", "lwip"}) {
    const auto chosen = choose_stack(loop, *parse_stack_choice(name), client_options());
    ASSERT_TRUE(chosen.has_value()) << chosen.error().detail;
    EXPECT_STREQ(chosen->stack->name(), name);
  }
  EXPECT_FALSE(parse_stack_choice("kernel"));
}

}  // namespace
}  // namespace rooster::tunnel
