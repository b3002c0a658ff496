#include "net/http_server.hpp"

#include "tests/net/serving.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cctype>

#include <sys/socket.h>
#include <sys/stat.h>

namespace rooster::net {
namespace {

using namespace std::chrono_literals;
using testing::Folder;
using testing::port_of;
using testing::RawClient;
using testing::Serving;

Task<HttpReply> echo(const HttpRequest& request, Waiter&) {
  std::string text = request.method + " " + std::string(request.path()) + " " + request.body;
  if (request.peer) text += " uid=" + std::to_string(request.peer->uid);
  co_return HttpReply::text(text);
}

Task<> count_to_three(BodyWriter& writer) {
  for (const char* line : {"one\ntw", "o\n", "three\n"}) {
    if (auto written = co_await writer.write(line); !written) co_return written.error();
  }
  co_return {};
}

Task<HttpReply> counting(const HttpRequest&, Waiter&) {
  HttpReply reply = HttpReply::text("zero\n");
  reply.stream = count_to_three;
  co_return reply;
}

Task<> say_and_wait(BodyWriter& writer) {
  if (auto written = co_await writer.write("ready\n"); !written) co_return written.error();
  while (true) {
    if (auto waited = co_await writer.wait(kNever); !waited) co_return waited.error();
  }
}

Task<HttpReply> following(const HttpRequest&, Waiter&) {
  HttpReply reply = HttpReply::text("");
  reply.stream = say_and_wait;
  co_return reply;
}

struct TcpServing {
  explicit TcpServing(HttpServer::Handler handler, HttpServerLimits limits = {})
      : TcpServing(std::move(*listen_tcp("127.0.0.1", 0)), std::move(handler), limits) {}
  TcpServing(Descriptor listener, HttpServer::Handler handler, HttpServerLimits limits)
      : port(port_of(listener)), serving(std::move(listener), std::move(handler), limits) {}
  HttpClient client() const { return HttpClient({"", "127.0.0.1", port}, 5s); }
  std::uint16_t port;
  Serving serving;
};

TEST(HttpServer, KnowsWhoAsksOverAUnixSocket) {
  const Folder folder;
  const std::string path = folder.path("admin.sock");
  Serving serving(std::move(*listen_unix(path, 0600)), echo);
  const auto response =
      HttpClient({path, "", 0}).send({"POST", "/apps?x=1", {}, "body", std::nullopt});
  ASSERT_TRUE(response) << response.error().detail;
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "POST /apps body uid=" + std::to_string(::getuid()));
  EXPECT_EQ(response->field("content-type"), "text/plain; charset=utf-8");
}

TEST(HttpServer, KnowsNobodyOverTcp) {
  const TcpServing server(echo);
  const auto response = server.client().send({});
  ASSERT_TRUE(response) << response.error().detail;
  EXPECT_EQ(response->body, "GET / ");
}

TEST(HttpServer, StreamsLines) {
  const TcpServing server(counting);
  std::vector<std::string> lines;
  const auto response = server.client().stream({}, [&](std::string_view line) {
    lines.emplace_back(line);
    return true;
  });
  ASSERT_TRUE(response) << response.error().detail;
  EXPECT_EQ(lines, (std::vector<std::string>{"zero", "one", "two", "three"}));
}

TEST(HttpServer, StreamsToHttp10WithoutChunks) {
  const TcpServing server(counting);
  RawClient client(server.port);
  client.send("GET / HTTP/1.0\r\n\r\n");
  const std::string all = client.read_all();
  EXPECT_EQ(all.find("Transfer-Encoding"), std::string::npos);
  EXPECT_TRUE(all.ends_with("\r\n\r\nzero\none\ntwo\nthree\n")) << all;
}

TEST(HttpServer, EndsAStreamWhenTheClientLeaves) {
  TcpServing server(following);
  const auto response = server.client().stream({}, [](std::string_view) { return false; });
  EXPECT_TRUE(response);
  EXPECT_TRUE(server.serving.wait_for_connections(0));
}

TEST(HttpServer, InterruptsStreamsWhenStopped) {
  TcpServing server(following);
  RawClient client(server.port);
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(client.read_until("ready\n").find("ready"), std::string::npos);
  server.serving.stop();
  EXPECT_EQ(client.read_all().find("0\r\n\r\n"), std::string::npos) << "a cut stream has no end";
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  const TcpServing server(echo);
  RawClient client(server.port);
  client.send(
      "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\n"
      "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
      "GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string all = client.read_all();
  const auto first = all.find("GET /1 ");
  const auto second = all.find("POST /2 abc");
  const auto third = all.find("GET /3 ");
  EXPECT_NE(third, std::string::npos) << all;
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
}

TEST(HttpServer, AsksForABodyThatWaits) {
  const TcpServing server(echo);
  RawClient client(server.port);
  client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("ok");
  EXPECT_NE(client.read_until("/x ok").find("200 OK"), std::string::npos);
}

TEST(HttpServer, RefusesWhatIsTooLargeOrMalformed) {
  const TcpServing server(echo, {.head_bytes = 1024, .body_bytes = 10});
  const std::pair<std::string, std::string> cases[] = {
      {"GET / HTTP/1.1\r\nX: " + std::string(5000, 'x') + "\r\n\r\n", "431"},
      {"GET / HTTP/1.1\r\nX: " + std::string(40000, 'x'), "431"},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", "413"},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n",
       "413"},
      {"NONSENSE\r\n\r\n", "400"},
      {"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "400"},
  };
  for (const auto& [request, status] : cases) {
    RawClient client(server.port);
    client.send(request);
    const std::string all = client.read_all();
    EXPECT_TRUE(all.starts_with("HTTP/1.1 " + status)) << request.substr(0, 60) << "\n" << all;
  }
}

TEST(HttpServer, GivesUpOnSlowRequests) {
  const TcpServing server(echo, {.request_time = 1ms});
  RawClient client(server.port);
  client.send("GET / HTTP/1.1\r\n");
  EXPECT_TRUE(client.read_all().starts_with("HTTP/1.1 408"));
}

TEST(HttpServer, LetsConnectionsOverItsBoundWait) {
  TcpServing server(echo, {.connections = 1});
  auto first = std::make_unique<RawClient>(server.port);
  first->send("GET /first HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(first->read_until("/first ").find("/first"), std::string::npos);
  RawClient second(server.port);
  second.send("GET /second HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(server.serving.connections(), 1u);
  first.reset();
  EXPECT_NE(second.read_until("/second ").find("/second"), std::string::npos);
}

Task<HttpReply> injected(const HttpRequest& request, Waiter&) {
  HttpReply reply = HttpReply::text("saw [" + std::string(request.field("x-injected")) + "]");
  reply.fields = {{"X-Bad", "a\r\nX-Injected: b"}, {"X-Good", "c"}};
  co_return reply;
}

TEST(HttpServer, NeverLetsAFieldBeginAnother) {
  const TcpServing server(injected);
  HttpRequest request;
  request.fields = {{"X-Bad", "a\r\nX-Injected: b"}};
  const auto response = server.client().send(request);
  ASSERT_TRUE(response) << response.error().detail;
  EXPECT_EQ(response->body, "saw []");
  EXPECT_EQ(response->field("x-injected"), "");
  EXPECT_EQ(response->field("x-good"), "c");
}

TEST(ListenUnix, ReplacesAStaleSocketButNotALivingOne) {
  const Folder folder;
  const std::string path = folder.path("a.sock");
  auto first = listen_unix(path, 0660);
  ASSERT_TRUE(first) << first.error().detail;
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0660u);
  const auto second = listen_unix(path, 0660);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().detail.find("another process listens there"), std::string::npos);
  first->reset();
  EXPECT_TRUE(listen_unix(path, 0660));
  EXPECT_FALSE(listen_unix(folder.path(std::string(120, 'x')), 0600));
}

TEST(HttpClient, SaysWhatToDoWhenNobodyListens) {
  const Folder folder;
  const auto response = HttpClient({folder.path("none.sock"), "", 0}).send({});
  ASSERT_FALSE(response);
  EXPECT_NE(response.error().detail.find("is the node running?"), std::string::npos);
}

TEST(HttpAddress, ReadsItsForms) {
  EXPECT_EQ(HttpAddress::parse("unix:/run/a.sock")->unix_path, "/run/a.sock");
  EXPECT_EQ(HttpAddress::parse("/run/a.sock")->unix_path, "/run/a.sock");
  EXPECT_EQ(HttpAddress::parse("http://127.0.0.1:9000/")->port, 9000);
  EXPECT_EQ(HttpAddress::parse("[::1]:9000")->host, "::1");
  EXPECT_EQ(HttpAddress::parse("[::1]:9000")->to_string(), "http://[::1]:9000");
  EXPECT_FALSE(HttpAddress::parse("nothing"));
  EXPECT_FALSE(HttpAddress::parse("host:0"));
  EXPECT_FALSE(HttpAddress::parse("host:99999"));
}

TEST(HttpRequest, DecodesItsQuery) {
  HttpRequest request;
  request.target = "/logs?app=a%20b&follow&n=1%2B1&bad=%zz";
  EXPECT_EQ(request.path(), "/logs");
  EXPECT_EQ(request.query("app"), "a b");
  EXPECT_EQ(request.query("follow"), "");
  EXPECT_EQ(request.query("n"), "1+1");
  EXPECT_EQ(request.query("bad"), "%zz");
  EXPECT_EQ(request.query("none"), std::nullopt);
  EXPECT_EQ(encode_query("a b/ü"), "a%20b%2F%C3%BC");
}

Task<> shout(Stream& stream, std::string input, Waiter& waiter) {
  while (!input.contains('.')) {
    std::array<char, 100> block{};
    const ReadResult got = stream.read(block);
    if (got.status == ReadResult::Status::Some) {
      input.append(block.data(), got.bytes);
    } else if (got.status != ReadResult::Status::Later) {
      co_return Error(Fault::ClientLeft);
    } else if (co_await waiter.wait(kNever, stream.readable()) == Woke::Interrupted) {
      co_return Error(waiter.interrupted_by());
    }
  }
  for (char& c : input) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  stream.write(input);
  co_return {};
}

Task<HttpReply> upgrading(const HttpRequest& request, Waiter&) {
  HttpReply reply;
  reply.status = request.method == "CONNECT" ? 200 : 101;
  reply.fields = {{"Connection", "Upgrade"}, {"Upgrade", "shout/1"}};
  if (request.source) reply.fields.emplace_back("Source", request.source->to_string());
  if (request.peer) reply.fields.emplace_back("Peer", std::to_string(request.peer->uid));
  reply.takeover = shout;
  co_return reply;
}

TEST(HttpServer, GivesTheConnectionAwayAfterAnUpgrade) {
  TcpServing serving(upgrading);
  RawClient client(serving.port);
  client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}hel");
  EXPECT_EQ(client.read_until("\r\n\r\n"),
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout/1\r\n\r\n");
  client.send("lo.");
  EXPECT_EQ(client.read_all(), "HELLO.");
}

TEST(HttpServer, TakesAConnectsTarget) {
  TcpServing serving(upgrading);
  RawClient client(serving.port);
  client.send("CONNECT db.internal:5432 HTTP/1.1\r\nHost: x\r\n\r\nbytes.");
  const std::string all = client.read_all();
  EXPECT_TRUE(all.starts_with("HTTP/1.1 200 OK\r\n")) << all;
  EXPECT_TRUE(all.ends_with("\r\n\r\nBYTES.")) << all;
}

TEST(HttpServer, TellsAnAdoptedConnectionBySourceAndNeverByCredentials) {
  Loop loop;
  HttpServer server(loop, upgrading, {.connections = 1});
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
  const Descriptor near(ends[0]);
  server.adopt(Descriptor(ends[1]), "GET / HTTP/1.1\r\nHost: x\r\n", *IpAddress::parse("fdaa::9"));
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
  const Descriptor beyond(ends[0]);
  server.adopt(Descriptor(ends[1]), "", *IpAddress::parse("fdaa::9"));
  char byte = 0;
  EXPECT_EQ(::recv(beyond.get(), &byte, 1, 0), 0) << "closed at once";

  ASSERT_EQ(::send(near.get(), "\r\n.", 3, MSG_NOSIGNAL), 3);
  std::string all;
  for (int i = 0; i < 1000 && !all.ends_with("\r\n\r\n."); ++i) {
    loop.run_for(5ms);
    std::array<char, 1000> block{};
    const ssize_t got = ::recv(near.get(), block.data(), block.size(), 0);
    if (got > 0) all.append(block.data(), static_cast<std::size_t>(got));
  }
  EXPECT_NE(all.find("Source: fdaa::9\r\n"), std::string::npos) << all;
  EXPECT_EQ(all.find("Peer:"), std::string::npos) << all;
  bool stopped = false;
  server.stop([&stopped] { stopped = true; });
  for (int i = 0; i < 1000 && !stopped; ++i) loop.run_for(5ms);
  EXPECT_TRUE(stopped);
}

TEST(HttpServer, InterruptsAndCountsAdoptedConnectionsBySource) {
  Loop loop;
  HttpServer server(loop, upgrading, {.per_source = 1});
  const auto adopt = [&server](const char* source) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    server.adopt(Descriptor(ends[1]), "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                 *IpAddress::parse(source));
    return Descriptor(ends[0]);
  };
  const Descriptor gone = adopt("fdaa::8");
  const Descriptor stays = adopt("fdaa::9");
  char byte = 0;
  EXPECT_EQ(::recv(adopt("fdaa::9").get(), &byte, 1, 0), 0) << "one for each source";
  server.interrupt([](const IpAddress& source) { return source == *IpAddress::parse("fdaa::8"); });
  for (int i = 0; i < 1000 && server.connections() > 1; ++i) loop.run_for(5ms);
  EXPECT_EQ(server.connections(), 1U);
  ASSERT_EQ(::send(stays.get(), "still here.", 11, MSG_NOSIGNAL), 11);
  std::string all;
  for (int i = 0; i < 1000 && !all.ends_with("STILL HERE."); ++i) {
    loop.run_for(5ms);
    std::array<char, 1000> block{};
    const ssize_t got = ::recv(stays.get(), block.data(), block.size(), 0);
    if (got > 0) all.append(block.data(), static_cast<std::size_t>(got));
  }
  EXPECT_TRUE(all.ends_with("STILL HERE.")) << all;
  bool stopped = false;
  server.stop([&stopped] { stopped = true; });
  for (int i = 0; i < 1000 && !stopped; ++i) loop.run_for(5ms);
  EXPECT_TRUE(stopped);
}

}  // namespace
}  // namespace rooster::net
