#include "tests/tunnel/loop_pair.hpp"
#include "tunnel/websocket_frames.hpp"
#include "tunnel/websocket_transport.hpp"

#include <gtest/gtest.h>

#include <sys/socket.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

Bytes counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 7);
  return bytes;
}

TEST(WebsocketAccept, IsThatOfTheRfc) {
  EXPECT_EQ(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

// Everything `bytes` carries, fed in pieces of `step`; nothing where it is refused.
std::optional<Bytes> read_all(WebsocketReader& reader, Bytes bytes, std::size_t step) {
  Bytes out;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    std::span<std::uint8_t> piece = std::span(bytes).subspan(at, std::min(step, bytes.size() - at));
    for (;;) {
      WebsocketReader::Piece got;
      const auto more = reader.next(piece, got);
      if (!more) return std::nullopt;
      if (!*more) break;
      out.insert(out.end(), got.payload.begin(), got.payload.end());
    }
  }
  return out;
}

Bytes frame(std::size_t payload, WebsocketRole role) {
  SystemRandom random;
  std::string text;
  append_websocket_frame(text, WebsocketOpcode::Binary, counting(payload), role, random);
  return {text.begin(), text.end()};
}

TEST(WebsocketReader, FramesOfAllSizesComeBackWholeInAnyPieces) {
  for (const std::size_t size : {0ul, 1ul, 125ul, 126ul, 1000ul, 65'535ul, 65'536ul, 200'000ul}) {
    for (const std::size_t step : {1ul, 3ul, 1400ul, 1'000'000ul}) {
      WebsocketReader server(WebsocketRole::Server);
      EXPECT_EQ(read_all(server, frame(size, WebsocketRole::Client), step), counting(size));
      WebsocketReader client(WebsocketRole::Client);
      EXPECT_EQ(read_all(client, frame(size, WebsocketRole::Server), step), counting(size));
    }
  }
}

TEST(WebsocketReader, RefusesWhatTheRfcForbids) {
  const auto refuses = [](WebsocketRole role, Bytes bytes) {
    WebsocketReader reader(role);
    return !read_all(reader, std::move(bytes), 1000);
  };
  EXPECT_TRUE(refuses(WebsocketRole::Server, frame(5, WebsocketRole::Server))) << "not masked";
  EXPECT_TRUE(refuses(WebsocketRole::Client, frame(5, WebsocketRole::Client))) << "masked";
  EXPECT_TRUE(refuses(WebsocketRole::Client, {0xc2, 0x00})) << "compressed";
  EXPECT_TRUE(refuses(WebsocketRole::Client, {0x83, 0x00})) << "opcode 3";
  EXPECT_TRUE(refuses(WebsocketRole::Client, {0x89, 126, 0, 200})) << "a long ping";
  EXPECT_TRUE(refuses(WebsocketRole::Client, {0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0})) << "huge";
}

std::vector<Bytes> datagrams_in(DatagramReader& reader, Bytes bytes, std::size_t step, bool& good) {
  std::vector<Bytes> out;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    std::span<std::uint8_t> piece = std::span(bytes).subspan(at, std::min(step, bytes.size() - at));
    for (;;) {
      const auto got = reader.next(piece);
      good = got.has_value();
      if (!got) return out;
      if (got->empty()) break;
      out.emplace_back(got->begin(), got->end());
    }
  }
  return out;
}

TEST(DatagramReader, FindsDatagramsInAnyPieces) {
  Bytes stream(DatagramReader::kMagic.begin(), DatagramReader::kMagic.end());
  append_datagram(stream, counting(148));
  append_datagram(stream, {});
  append_datagram(stream, counting(1500));
  append_datagram(stream, counting(1));
  for (const std::size_t step : {1ul, 5ul, 700ul, 10'000ul}) {
    DatagramReader reader(true);
    bool good = false;
    const auto found = datagrams_in(reader, stream, step, good);
    EXPECT_TRUE(good);
    EXPECT_EQ(found, (std::vector<Bytes>{counting(148), counting(1500), counting(1)})) << step;
  }
}

TEST(DatagramReader, RefusesOtherProtocolsAndHugeDatagrams) {
  bool good = true;
  DatagramReader server(true);
  datagrams_in(server, {'G', 'E', 'T', ' '}, 10, good);
  EXPECT_FALSE(good);
  DatagramReader client(false);
  datagrams_in(client, {0, 1, 0, 0}, 10, good);
  EXPECT_FALSE(good);
}

struct Transports {
  Transports() : group(loop) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    client = make(fds[0], WebsocketRole::Client, at_client);
    server_fd = fds[1];
  }
  ~Transports() {
    group.interrupt_all(Fault::Interrupted);
    bool ended = false;
    group.when_empty([&ended] { ended = true; });
    EXPECT_TRUE(run_until(loop, [&ended] { return ended; }));
  }
  std::unique_ptr<WebsocketTransport> make(int fd, WebsocketRole role, std::vector<Bytes>& into) {
    WebsocketHooks hooks;
    hooks.received = [&into](std::span<std::uint8_t> got) {
      into.emplace_back(got.begin(), got.end());
    };
    hooks.burst_ended = [] {};
    return std::make_unique<WebsocketTransport>(std::make_unique<Stream>(loop, Descriptor(fd)),
                                                role, std::string(), std::move(hooks));
  }
  Task<> run(WebsocketTransport& transport, Duration patience, Fault& fault) {
    const auto ended = co_await transport.run(group, patience);
    fault = ended ? Fault::None : ended.error().fault;
    co_return {};
  }

  Loop loop;
  TaskGroup group;
  std::vector<Bytes> at_client, at_server;
  std::unique_ptr<WebsocketTransport> client, server;
  int server_fd = -1;
  Fault client_ended = Fault::None, server_ended = Fault::None;
};

TEST(WebsocketTransport, CarriesDatagramsBothWays) {
  Transports pair;
  pair.server = pair.make(pair.server_fd, WebsocketRole::Server, pair.at_server);
  pair.group.spawn(pair.run(*pair.client, 1h, pair.client_ended));
  pair.group.spawn(pair.run(*pair.server, 1h, pair.server_ended));
  for (std::size_t i = 1; i <= 20; ++i) pair.client->send(counting(i * 50));
  pair.client->flush();
  pair.server->send(counting(92));
  pair.server->flush();
  ASSERT_TRUE(run_until(pair.loop,
                        [&] { return pair.at_server.size() == 20 && pair.at_client.size() == 1; }));
  for (std::size_t i = 1; i <= 20; ++i) EXPECT_EQ(pair.at_server[i - 1], counting(i * 50));
  pair.client->close();
  EXPECT_TRUE(run_until(pair.loop, [&] { return pair.server_ended == Fault::UpstreamReset; }));
}

TEST(WebsocketTransport, DropsInsteadOfPushingBack) {
  Transports pair;  // nobody reads at the other end
  pair.group.spawn(pair.run(*pair.client, 1h, pair.client_ended));
  for (int i = 0; i < 4000; ++i) {
    pair.client->send(counting(1400));
    if (i % 40 == 0) pair.client->flush();
  }
  EXPECT_GT(pair.client->dropped(), 1000u);
  ::close(pair.server_fd);
  EXPECT_TRUE(run_until(pair.loop, [&] { return pair.client_ended == Fault::UpstreamReset; }));
}

TEST(WebsocketTransport, WhoShowsNothingIsLeft) {
  Transports pair;
  pair.server = pair.make(pair.server_fd, WebsocketRole::Server, pair.at_server);
  pair.group.spawn(pair.run(*pair.server, 100ms, pair.server_ended));
  EXPECT_TRUE(run_until(pair.loop, [&] { return pair.server_ended == Fault::IdleTimeout; }));
}

TEST(WebsocketTransport, AnswersPingsAndClosing) {
  Transports pair;
  pair.group.spawn(pair.run(*pair.client, 1h, pair.client_ended));
  SystemRandom random;
  std::string frames;
  append_websocket_frame(frames, WebsocketOpcode::Ping, counting(4), WebsocketRole::Server, random);
  append_websocket_frame(frames, WebsocketOpcode::Close, {}, WebsocketRole::Server, random);
  ASSERT_EQ(::send(pair.server_fd, frames.data(), frames.size(), 0),
            static_cast<ssize_t>(frames.size()));
  ASSERT_TRUE(run_until(pair.loop, [&] { return pair.client_ended == Fault::UpstreamReset; }));
  Bytes answer(1000);
  const ssize_t got = ::recv(pair.server_fd, answer.data(), answer.size(), 0);
  ASSERT_GT(got, 0);
  answer.resize(static_cast<std::size_t>(got));
  WebsocketReader reader(WebsocketRole::Server);
  std::span<std::uint8_t> rest(answer);
  WebsocketReader::Piece piece;
  std::vector<WebsocketOpcode> seen;
  while (reader.next(rest, piece).value_or(false)) seen.push_back(piece.opcode);
  EXPECT_EQ(seen, (std::vector<WebsocketOpcode>{WebsocketOpcode::Binary, WebsocketOpcode::Pong,
                                                WebsocketOpcode::Close}));
  ::close(pair.server_fd);
}

}  // namespace
}  // namespace rooster::tunnel
