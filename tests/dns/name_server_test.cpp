#include "dns/name_server.hpp"

#include "tests/dns/fake_upstream.hpp"
#include "tests/dns/village.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <future>
#include <thread>

#include <netinet/in.h>
#include <sys/socket.h>

namespace rooster::dns {
namespace {

using namespace std::chrono_literals;
using testing::FakeUpstream;
using testing::ip;
using testing::kVillage;
using testing::make_village;

Descriptor bound(const IpAddress& address, int kind, std::uint16_t port) {
  sockaddr_storage storage{};
  const socklen_t size = Endpoint{address, port}.to(storage);
  Descriptor fd(::socket(storage.ss_family, kind | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size), 0);
  if (kind == SOCK_STREAM) EXPECT_EQ(::listen(fd.get(), 64), 0);
  return fd;
}

Endpoint local_of(const Descriptor& fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &size);
  return Endpoint::from(storage);
}

struct Ports {
  Endpoint udp6;
  Endpoint udp4;
  Endpoint tcp;
};

/// A NameServer on a thread of its own. Sources in 127.0.0.0/8 but 127.0.0.9 are in the village.
class RunningServer {
 public:
  explicit RunningServer(const std::string& upstream = {}, NameServerOptions options = {}) {
    std::promise<Ports> ready;
    auto ports = ready.get_future();
    thread_ = std::thread([this, upstream, options, &ready] { run(upstream, options, ready); });
    ports_ = ports.get();
  }
  ~RunningServer() {
    loop_->post([this] { server_->stop([this] { loop_->stop(); }); });
    thread_.join();
  }
  const Ports& ports() const { return ports_; }

 private:
  void run(const std::string& upstream, const NameServerOptions& options,
           std::promise<Ports>& ready) {
    Loop loop;
    const Directory directory = make_village();
    RecursorOptions recursion{.upstream = {.try_time = 300ms}};
    if (!upstream.empty()) recursion.upstream.servers = {upstream};
    Recursor recursor(loop, recursion);
    const auto network_of = [](const IpAddress& source) -> std::optional<NetworkId> {
      if (source == ip("127.0.0.9")) return std::nullopt;
      return kVillage;
    };
    NameServer server(loop, directory, upstream.empty() ? nullptr : &recursor, network_of, options);
    Descriptor six = bound(ip("::"), SOCK_DGRAM, 0);
    Descriptor four = bound(ip("0.0.0.0"), SOCK_DGRAM, 0);
    Descriptor stream = bound(ip("0.0.0.0"), SOCK_STREAM, 0);
    const Ports ports{local_of(six), local_of(four), local_of(stream)};
    server.serve_datagrams(std::move(six));
    server.serve_datagrams(std::move(four));
    server.serve_streams(std::move(stream));
    loop_ = &loop;
    server_ = &server;
    ready.set_value(ports);
    loop.run();
  }

  Ports ports_;
  Loop* loop_ = nullptr;
  NameServer* server_ = nullptr;
  std::thread thread_;
};

/// A blocking client socket that gives up after ten seconds.
class Client {
 public:
  Client(const char* to, std::uint16_t port, int kind, const char* from = nullptr) {
    sockaddr_storage storage{};
    const socklen_t size = Endpoint{ip(to), port}.to(storage);
    fd_ = Descriptor(::socket(storage.ss_family, kind | SOCK_CLOEXEC, 0));
    const timeval patience{.tv_sec = 10};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (from != nullptr) {
      sockaddr_storage source{};
      const socklen_t source_size = Endpoint{ip(from), 0}.to(source);
      EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&source), source_size), 0);
    }
    // A connected datagram socket takes answers only from the very address it asked.
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&storage), size), 0) << to;
  }
  void send(std::string_view bytes) const {
    EXPECT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  /// What one receive gives; empty at the end of a stream.
  std::string receive() const {
    std::array<char, 4096> block;
    const ssize_t got = ::recv(fd_.get(), block.data(), block.size(), 0);
    EXPECT_GE(got, 0) << "no answer";
    return std::string(block.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  }
  /// The next message of a stream; empty at its end.
  std::string receive_frame() {
    while (true) {
      std::string_view rest = input_;
      if (const auto message = take_frame(rest)) {
        std::string copy(*message);
        input_.erase(0, input_.size() - rest.size());
        return copy;
      }
      const std::string more = receive();
      if (more.empty()) return {};
      input_ += more;
    }
  }
  void finish_sending() const { ::shutdown(fd_.get(), SHUT_WR); }

 private:
  Descriptor fd_;
  std::string input_;
};

std::string rcode_of(std::string_view bytes) {
  const auto response = read_response(bytes);
  return response ? rcode_to_text(response->rcode) : "unreadable";
}

TEST(NameServer, AnswersDatagramsFromTheAddressThatWasAsked) {
  const RunningServer server;
  const std::string query = *make_query({.name = "web.internal"}, 1);
  for (const char* address : {"127.0.0.1", "127.0.0.5", "127.1.2.3"}) {
    const Client client(address, server.ports().udp4.port, SOCK_DGRAM);
    client.send(query);
    const auto response = read_response(client.receive());
    ASSERT_TRUE(response) << address;
    EXPECT_EQ(addresses_in(*response).size(), 2u) << address;
  }
  const Client six("::1", server.ports().udp6.port, SOCK_DGRAM);
  six.send(query);
  EXPECT_EQ(rcode_of(six.receive()), "NOERROR");
  const Client mapped("127.0.0.1", server.ports().udp6.port, SOCK_DGRAM);
  mapped.send(query);
  EXPECT_EQ(rcode_of(mapped.receive()), "NOERROR");
}

TEST(NameServer, ManyDatagramsAtOnceAreAllAnswered) {
  const RunningServer server;
  const Client client("127.0.0.1", server.ports().udp4.port, SOCK_DGRAM);
  std::vector<bool> seen(100);
  for (std::uint16_t id = 0; id < seen.size(); ++id) {
    client.send(*make_query({.name = "web.internal"}, id));
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const auto response = read_response(client.receive());
    ASSERT_TRUE(response);
    seen[response->id] = true;
  }
  EXPECT_EQ(std::ranges::count(seen, true), 100);
}

TEST(NameServer, RefusesSourcesOfNoNetwork) {
  const FakeUpstream upstream;
  const RunningServer server(upstream.address());
  for (const char* name : {"web.internal", "one.example"}) {
    const Client client("127.0.0.1", server.ports().udp4.port, SOCK_DGRAM, "127.0.0.9");
    client.send(*make_query({.name = name}, 1));
    EXPECT_EQ(rcode_of(client.receive()), "REFUSED");
  }
  EXPECT_EQ(upstream.questions(), 0);
}

TEST(NameServer, SaysFormerrToADatagramThatWasCutOff) {
  const RunningServer server;
  const Client client("127.0.0.1", server.ports().udp4.port, SOCK_DGRAM);
  client.send(*make_query({.name = "web.internal"}, 1) + std::string(8000, '\0'));
  EXPECT_EQ(rcode_of(client.receive()), "FORMERR");
}

TEST(NameServer, RecursesForDatagramsAndStreams) {
  const FakeUpstream upstream;
  const RunningServer server(upstream.address());
  const Client datagram("127.0.0.1", server.ports().udp4.port, SOCK_DGRAM);
  datagram.send(*make_query({.name = "One.example"}, 1));
  const auto response = read_response(datagram.receive());
  ASSERT_TRUE(response);
  EXPECT_EQ(short_lines(*response), std::vector<std::string>{"2001:db8::1"});
  Client stream("127.0.0.1", server.ports().tcp.port, SOCK_STREAM);
  stream.send(frame(*make_query({.name = "large.example", .type = type::kTxt}, 2)));
  EXPECT_EQ(texts_in(*read_response(stream.receive_frame())), std::vector{std::string(3000, 'x')});
}

TEST(NameServer, AStreamCarriesManyQuestionsAndAnswersTheSlowOnesLater) {
  const FakeUpstream upstream;
  const RunningServer server(upstream.address());
  Client client("127.0.0.1", server.ports().tcp.port, SOCK_STREAM);
  std::string all = frame(*make_query({.name = "mute.example"}, 1000));
  for (std::uint16_t id = 0; id < 300; ++id) {
    all += frame(*make_query({.name = id % 2 == 0 ? "web.internal" : "one.example"}, id));
  }
  client.send(all);
  client.finish_sending();
  std::vector<std::uint16_t> ids;
  for (std::string message; !(message = client.receive_frame()).empty();) {
    ids.push_back(read_response(message)->id);
  }
  EXPECT_EQ(ids.size(), 301u);
  EXPECT_EQ(ids.back(), 1000);  // upstream never answers that one
}

TEST(NameServer, AStreamInSmallPiecesIsTheSame) {
  const RunningServer server;
  Client client("127.0.0.1", server.ports().tcp.port, SOCK_STREAM);
  for (const char byte : frame(*make_query({.name = "web.internal"}, 5))) client.send({&byte, 1});
  EXPECT_EQ(rcode_of(client.receive_frame()), "NOERROR");
}

TEST(NameServer, ClosesStreamsThatIdle) {
  const RunningServer server({}, {.session = {.idle_time = 300ms}});
  Client idle("127.0.0.1", server.ports().tcp.port, SOCK_STREAM);
  EXPECT_EQ(idle.receive_frame(), "");
}

TEST(NameServer, ClosesStreamsThatBreakTheRules) {
  const RunningServer server;
  Client large("127.0.0.1", server.ports().tcp.port, SOCK_STREAM);
  large.send(std::string("\x7f\xff") + "abc");
  EXPECT_EQ(large.receive_frame(), "");
  Client small("127.0.0.1", server.ports().tcp.port, SOCK_STREAM);
  small.send(frame("short"));
  EXPECT_EQ(small.receive_frame(), "");
}

TEST(NameServer, ASourceHasOnlySoManyStreams) {
  const RunningServer server({}, {.sessions_per_source = 2});
  const auto query = frame(*make_query({.name = "web.internal"}, 5));
  std::vector<Client> clients;
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back("127.0.0.1", server.ports().tcp.port, SOCK_STREAM);
    clients.back().send(query);
    EXPECT_EQ(rcode_of(clients.back().receive_frame()), "NOERROR");
  }
  Client third("127.0.0.1", server.ports().tcp.port, SOCK_STREAM);
  EXPECT_EQ(third.receive_frame(), "");
  Client other("127.0.0.1", server.ports().tcp.port, SOCK_STREAM, "127.0.0.2");
  other.send(query);
  EXPECT_EQ(rcode_of(other.receive_frame()), "NOERROR");
}

}  // namespace
}  // namespace rooster::dns
