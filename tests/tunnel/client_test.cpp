#include "tunnel/client.hpp"

#include "net/dial.hpp"
#include "tests/tunnel/loop_pair.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>

#include <sys/socket.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;
using Kind = LinkReport::Kind;

constexpr const char* kOwn = "fdaa:0:33:a7b::2";
constexpr const char* kMachine = "fdaa:0:33:1::2";

/// A Stack that only has a port.
class FakeStack final : public Stack {
 public:
  const char* name() const override { return "fake"; }
  Task<Dialled> dial(Endpoint, Waiter&, TimePoint) override { co_return Error(Fault::Internal); }
  Result<> listen(Inbound) override { return fail(Fault::Internal); }
  PacketPort& packets() override { return port; }
  FakePort port;
};

/// TLS, the upgrade and the gateway's side of WebSocket, on a port of loopback.
class WebsocketDoor {
 public:
  WebsocketDoor(Loop& loop, DeviceLoop& gateway)
      : loop_(loop), gateway_(gateway), group_(loop), context_(SSL_CTX_new(TLS_server_method())) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    SSL_CTX_use_certificate(context_, certificate);
    SSL_CTX_use_PrivateKey(context_, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
    Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_storage address{};
    const socklen_t size = Endpoint{*IpAddress::parse("127.0.0.1"), 0}.to(address);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(socket.get(), 8), 0);
    socklen_t length = sizeof address;
    ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length);
    port = Endpoint::from(address).port;
    listener_ = std::make_unique<Pollable>(loop, std::move(socket));
    group_.spawn(accept());
  }
  ~WebsocketDoor() {
    group_.interrupt_all(Fault::Interrupted);
    bool ended = false;
    group_.when_empty([&ended] { ended = true; });
    EXPECT_TRUE(run_until(loop_, [&ended] { return ended; }));
    SSL_CTX_free(context_);
  }

  std::uint16_t port = 0;
  int accepted = 0;
  std::uint32_t last = 0;

 private:
  Task<> accept() {
    Waiter waiter(group_);
    for (;;) {
      const Woke woke = co_await waiter.wait(kNever, {listener_.get(), Pollable::kReadable});
      if (woke == Woke::Interrupted) co_return {};
      Descriptor fd(::accept4(listener_->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) listener_->clear(Pollable::kReadable);
      if (fd) group_.spawn(serve(std::move(fd)));
    }
  }
  Task<> serve(Descriptor fd) {
    Waiter waiter(group_);
    auto stream = std::make_unique<Stream>(loop_, std::move(fd));
    stream->secure(SslPtr(SSL_new(context_)));
    SSL_set_accept_state(stream->ssl());
    ReadResult::Status status = ReadResult::Status::Later;
    while ((status = stream->handshake()) == ReadResult::Status::Later) {
      if (co_await waiter.wait(kNever, stream->readable()) != Woke::Ready) co_return {};
    }
    std::string head;
    std::array<char, 4096> piece;
    while (head.find("\r\n\r\n") == std::string::npos) {
      const ReadResult got = stream->read(piece);
      if (got.status == ReadResult::Status::Some) head.append(piece.data(), got.bytes);
      if (got.status == ReadResult::Status::Some) continue;
      if (got.status != ReadResult::Status::Later) co_return {};
      if (co_await waiter.wait(kNever, stream->readable()) != Woke::Ready) co_return {};
    }
    const std::size_t at = head.find("Sec-WebSocket-Key: ") + 19;
    const std::string key = head.substr(at, head.find("\r\n", at) - at);
    stream->write(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
        "connection: Upgrade\r\nsec-websocket-accept: " +
        websocket_accept(key) + "\r\n\r\n");
    ++accepted;
    // As the server does: the connection changes threads.
    Stream::Parts parts = stream->release();
    auto moved = std::make_unique<Stream>(loop_, std::move(parts.fd),
                                          Pollable::kReadable | Pollable::kWritable);
    moved->secure(std::move(parts.ssl));
    last = gateway_.add_websocket(std::move(moved), WebsocketRole::Server,
                                  {*IpAddress::parse("127.0.0.1"), 1}, {});
    co_return {};
  }

  Loop& loop_;
  DeviceLoop& gateway_;
  TaskGroup group_;
  SSL_CTX* context_;
  std::unique_ptr<Pollable> listener_;
};

struct World {
  World() : gateway(loop), tls(*net::ClientTls::create("", false)) {
    udp = gateway.open("127.0.0.1");
    key = PrivateKey::generate(gateway.random);
    PeerSettings peer;
    peer.key = key.public_key();
    peer.allowed_ips = {*Prefix::parse("fdaa:0:33:a7b::/120")};
    member = *gateway.device.add_peer(peer, gateway.tunnel->now());
    gateway.tunnel->start();
  }
  ~World() {
    door.reset();
    int wanted = 1;
    int stopped = 0;
    if (client) {
      ++wanted;
      client->stop([&stopped] { ++stopped; });
    }
    gateway.tunnel->stop([&stopped] { ++stopped; });
    EXPECT_TRUE(run_until(loop, [&] { return stopped == wanted; }));
  }
  ClientOptions options() {
    ClientOptions options;
    options.key = key;
    options.address = *IpAddress::parse(kOwn);
    options.gateway = gateway.key.public_key();
    options.allowed_ips = {*Prefix::parse("fdaa:0:33::/48")};
    options.endpoints = {{"127.0.0.1", udp.port}};
    options.clock = [this] {
      Moment now = system_moment();
      now.boot += ahead;
      now.wall += std::chrono::duration_cast<WallTime::duration>(ahead);
      return now;
    };
    return options;
  }
  void start(ClientOptions options) {
    auto fake = std::make_unique<FakeStack>();
    port = &fake->port;
    auto made = Client::create(loop, std::move(options), {std::move(fake), "fake"},
                               [this](const LinkReport& report) { reports.push_back(report); });
    ASSERT_TRUE(made.has_value());
    client = std::move(*made);
    client->start();
  }
  void open_door() { door.emplace(loop, *gateway.tunnel); }
  bool told(Kind kind) const {
    return std::any_of(reports.begin(), reports.end(),
                       [kind](const LinkReport& report) { return report.kind == kind; });
  }

  Loop loop;
  LoopEnd gateway;
  net::ClientTls tls;
  PrivateKey key;
  PeerId member{};
  Endpoint udp;
  FakePort* port = nullptr;
  std::unique_ptr<Client> client;
  std::optional<WebsocketDoor> door;
  std::vector<LinkReport> reports;
  Duration ahead{};
};

TEST(Client, ConnectsAtStartAndCarriesPackets) {
  World world;
  world.start(world.options());
  ASSERT_TRUE(run_until(world.loop, [&] { return world.client->is_up(); }));
  EXPECT_TRUE(world.told(Kind::Connected));
  world.port->put(inner_packet(kOwn, kMachine, 100));
  EXPECT_TRUE(run_until(world.loop, [&] { return !world.gateway.port.received.empty(); }));
  EXPECT_FALSE(world.client->last_sent().is_zero());
}

Task<> ping_to(Client& client, const char* to, Waiter& waiter, Result<PingReply>& out, bool& done) {
  out = co_await client.ping(*IpAddress::parse(to), 56, waiter, waiter.loop().now() + 5s);
  done = true;
  co_return {};
}

TEST(Client, PingsThroughTheTunnel) {
  World world;
  world.start(world.options());
  TaskGroup group(world.loop);
  Waiter waiter(group);
  Result<PingReply> reply = fail(Fault::Internal);
  bool done = false;
  group.spawn(ping_to(*world.client, kMachine, waiter, reply, done));
  // The fake stack of the gateway answers as a kernel would.
  ASSERT_TRUE(run_until(world.loop, [&] { return !world.gateway.port.received.empty(); }));
  GateRules rules;
  rules.answers_echo = [](PeerId, const IpAddress&) { return true; };
  PacketGate gate(std::move(rules));
  Bytes request = world.gateway.port.received.front();
  ASSERT_EQ(gate.judge(world.member, request, {}), PacketGate::Verdict::Answer);
  world.gateway.port.put({gate.answer().begin(), gate.answer().end()});
  ASSERT_TRUE(run_until(world.loop, [&] { return done; }));
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->from, *IpAddress::parse(kMachine));
  EXPECT_EQ(reply->bytes, 56u);
  EXPECT_TRUE(world.port->received.empty()) << "the stack is not bothered with it";
}

TEST(Client, WhereUdpIsSilentWebsocketTakesOverAndUdpComesBack) {
  World world;
  world.open_door();
  ClientOptions options = world.options();
  // A UDP port where nobody answers.
  auto hole = UdpSocket::bind({*IpAddress::parse("127.0.0.1"), 0});
  ASSERT_TRUE(hole.has_value());
  UdpSocket silent(std::move(*hole));
  options.endpoints = {{"127.0.0.1", silent.local().port}};
  options.websocket = HostPort{"127.0.0.1", world.door->port};
  options.tls = &world.tls;
  world.start(std::move(options));
  ASSERT_TRUE(run_until(world.loop, [&] { return world.client->is_up(); }));
  EXPECT_EQ(world.client->carrier(), Carrier::Websocket);
  world.port->put(inner_packet(kOwn, kMachine, 100));
  ASSERT_TRUE(run_until(world.loop, [&] { return !world.gateway.port.received.empty(); }));
  world.gateway.port.put(inner_packet(kMachine, kOwn, 100));
  ASSERT_TRUE(run_until(world.loop, [&] { return !world.port->received.empty(); }));
  const auto statistics =
      world.gateway.device.statistics(world.member, world.gateway.tunnel->now());
  EXPECT_EQ(statistics->endpoint.kind, TunnelEndpoint::Kind::Ws);

  // The connection breaks: another one follows by itself.
  world.gateway.tunnel->close_websocket(world.door->last);
  ASSERT_TRUE(run_until(world.loop, [&] { return world.told(Kind::Lost); }));
  ASSERT_TRUE(run_until(world.loop, [&] { return world.told(Kind::Reconnected); }));
  EXPECT_EQ(world.door->accepted, 2);
}

TEST(Client, AProbeFindsUdpAgain) {
  World world;
  world.open_door();
  ClientOptions options = world.options();
  options.websocket = HostPort{"127.0.0.1", world.door->port};
  options.tls = &world.tls;
  // The gateway does not listen on UDP at first.
  const Endpoint at = world.udp;
  auto hole = UdpSocket::bind({*IpAddress::parse("127.0.0.1"), 0});
  UdpSocket silent(std::move(*hole));
  options.endpoints = {{"127.0.0.1", silent.local().port}};
  world.start(std::move(options));
  ASSERT_TRUE(run_until(world.loop, [&] { return world.client->is_up(); }));
  // What the silent port gets is handed on to the gateway, as if the way had opened.
  bool forward = true;
  UdpPath back;
  const auto relay = [&] {
    while (forward) {
      const auto bursts = silent.receive();
      if (bursts.empty()) break;
      for (const UdpBurst& burst : bursts) {
        const bool from_gateway = burst.path.remote == at;
        if (!from_gateway) back = {{}, burst.path.remote};
        UdpPath to = from_gateway ? back : UdpPath{{}, at};
        silent.send(burst.bytes, burst.segment_bytes, to, {});
      }
    }
  };
  for (int minute = 0; minute < 8 && world.client->carrier() == Carrier::Websocket; ++minute) {
    // In steps below the gap that counts as sleep.
    for (int step = 0; step < 9; ++step) {
      world.ahead += 7s;
      world.gateway.ahead += 7s;
      world.client->poke();
      world.gateway.tunnel->poke();
      for (int turn = 0; turn < 30; ++turn) {
        relay();
        world.loop.run_for(1ms);
      }
    }
  }
  EXPECT_EQ(world.client->carrier(), Carrier::Udp);
  EXPECT_TRUE(world.told(Kind::ToUdp));
  EXPECT_TRUE(run_until(world.loop,
                        [&] { return !world.gateway.tunnel->has_websocket(world.door->last); }));
}

TEST(Client, SleepIsNoticedAndTheLinkMadeAnew) {
  World world;
  world.start(world.options());
  ASSERT_TRUE(run_until(world.loop, [&] { return world.client->is_up(); }));
  world.gateway.ahead += 1s;  // past the gateway's pause between two initiations of a peer
  world.ahead += 2h;
  world.client->poke();
  ASSERT_TRUE(run_until(world.loop, [&] { return world.told(Kind::Woke); }));
  EXPECT_GE(world.reports.back().after, 2h);
}

Task<> wait_up(Client& client, Waiter& waiter, Duration patience, std::string& why, bool& done) {
  const auto up = co_await client.wait_until_up(waiter, waiter.loop().now() + patience);
  if (!up) why = up.error().detail;
  done = true;
  co_return {};
}

TEST(Client, WhoNeverAnswersIsNamed) {
  World world;
  ClientOptions options = world.options();
  options.gateway = options.key.public_key();
  options.gateway.bytes[3] ^= 1;  // another key: the gateway stays silent
  world.start(std::move(options));
  TaskGroup group(world.loop);
  Waiter waiter(group);
  std::string why;
  bool done = false;
  group.spawn(wait_up(*world.client, waiter, 300ms, why, done));
  ASSERT_TRUE(run_until(world.loop, [&] { return done; }));
  EXPECT_NE(why.find("127.0.0.1:" + std::to_string(world.udp.port)), std::string::npos) << why;
  EXPECT_TRUE(run_until(world.loop, [&] { return world.told(Kind::Unanswered); }));
}

TEST(Client, ANameThatDoesNotResolveIsSaid) {
  World world;
  ClientOptions options = world.options();
  options.endpoints = {{"nowhere.invalid", 51820}};
  options.resolver.servers = "127.0.0.1:1";
  options.resolver.try_time = 50ms;
  options.resolver.tries = 1;
  world.start(std::move(options));
  EXPECT_TRUE(run_until(world.loop, [&] { return world.told(Kind::Unresolved); }));
}

// Eight hours of an open laptop, in steps: every rekey works, nothing is reported.
TEST(Client, EightHoursPassWithoutAnythingToSay) {
  World world;
  world.start(world.options());
  ASSERT_TRUE(run_until(world.loop, [&] { return world.client->is_up(); }));
  std::size_t sent = 0;
  for (Duration passed{}; passed < 8h; passed += 8s) {
    world.ahead += 8s;
    world.gateway.ahead += 8s;
    world.client->poke();
    world.gateway.tunnel->poke();
    world.port->put(inner_packet(kOwn, kMachine, 100));
    ++sent;
    ASSERT_TRUE(run_until(world.loop, [&] { return world.gateway.port.received.size() == sent; }))
        << sent;
  }
  EXPECT_EQ(world.reports.size(), 1u);
  EXPECT_TRUE(world.client->is_up());
}

}  // namespace
}  // namespace rooster::tunnel
