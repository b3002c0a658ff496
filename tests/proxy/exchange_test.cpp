#include "proxy/exchange.hpp"

#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

#include <string>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;
using testing::Edge;
using testing::Origin;
using testing::Peer;
using testing::turn_until;

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

std::string get(std::string_view path, std::string_view more = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nhost: hello.app.dev\r\n" + std::string(more) +
         "\r\n";
}

std::string post(std::string_view path, std::string_view fields, std::string_view body = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nhost: hello.app.dev\r\n" +
         std::string(fields) + "\r\n" + std::string(body);
}

std::string chunk(std::string_view payload) {
  char header[kMaxChunkHeader];
  return std::string(header, write_chunk_header(header, payload.size())) + std::string(payload) +
         "\r\n";
}

// Bytes that show where they belong.
std::string pattern(std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i)
    text[i] = static_cast<char>('a' + (i * 31 + i / 257) % 26);
  return text;
}

// The payload of a chunked body, which must be whole.
std::string unchunk(std::string_view coded) {
  ChunkedDecoder decoder;
  std::string out;
  while (true) {
    const auto step = decoder.decode(coded);
    out += step.payload;
    coded.remove_prefix(step.consumed);
    if (step.status != ParseStatus::NeedMore || step.consumed == 0) break;
  }
  EXPECT_TRUE(decoder.is_done());
  EXPECT_EQ(coded, "");
  return out;
}

std::string read_ok(Peer& client) {
  std::string got = client.read_head();
  return got.substr(0, got.find('\r')) + " " + client.read(2);
}

TEST(Exchange, KeepsBothConnectionsForTheNextRequest) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("/1")));
  Peer app = edge.origin.accept();
  EXPECT_TRUE(app.read_head().starts_with("GET /1 HTTP/1.1\r\n"));
  ASSERT_TRUE(app.send(kOk));
  EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK ok");
  ASSERT_TRUE(client.send(get("/2")));
  EXPECT_TRUE(app.read_head().starts_with("GET /2 HTTP/1.1\r\n"));
  ASSERT_TRUE(app.send(kOk));
  EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK ok");
  EXPECT_FALSE(edge.origin.has_connection());
  client.finish();
  EXPECT_EQ(client.wait_for_end(), Peer::End::Fin);
  edge.expect_all_given_back();
}

TEST(Exchange, AnswersPipelinedRequestsInTheirOrder) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("/1") + post("/2", "content-length: 3\r\n", "abc") + get("/3")));
  Peer app = edge.origin.accept();
  for (const char* path : {"/1", "/2", "/3"}) {
    const std::string head = app.read_head();
    EXPECT_NE(head.find(path), std::string::npos) << head;
    if (std::string_view(path) == "/2") EXPECT_EQ(app.read(3), "abc");
    ASSERT_TRUE(app.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + std::string(path)));
  }
  for (const char* path : {"/1", "/2", "/3"}) {
    EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK " + std::string(path));
  }
}

TEST(Exchange, AChunkedBodyLargerThanTheBufferLeavesThePipelinedRequestAlone) {
  Edge edge;
  Peer client = edge.connect();
  const std::string body = pattern(100'000);
  std::string sent = post("/up", "transfer-encoding: chunked\r\n");
  for (std::size_t at = 0; at < body.size(); at += 5000) sent += chunk(body.substr(at, 5000));
  sent += "0\r\n\r\n" + get("/next");
  std::string got;
  std::string_view left = sent;
  ASSERT_TRUE(turn_until(edge.loop, [&] {
    left.remove_prefix(client.send_some(left));
    return left.empty();
  }));
  Peer app = edge.origin.accept();
  EXPECT_TRUE(app.read_head().starts_with("POST /up"));
  EXPECT_EQ(unchunk(app.read_until("0\r\n\r\n")), body);
  ASSERT_TRUE(app.send(kOk));
  EXPECT_TRUE(app.read_head().starts_with("GET /next"));
  ASSERT_TRUE(app.send(kOk));
  EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK ok");
  EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK ok");
}

// One exchange over `client`, so that a connection to the app waits in the pool.
Peer warm_up(Edge& edge, Peer& client) {
  EXPECT_TRUE(client.send(get("/warm")));
  Peer app = edge.origin.accept();
  app.read_head();
  EXPECT_TRUE(app.send(kOk));
  EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK ok");
  return app;
}

TEST(Exchange, AGetIsSentAgainWhenThePooledConnectionTurnsOutClosed) {
  Edge edge;
  Peer client = edge.connect();
  Peer app = warm_up(edge, client);
  // In this order the worker takes the connection before it hears of its end.
  client.send_some(get("/again"));
  app.close();
  Peer second = edge.origin.accept();
  EXPECT_TRUE(second.read_head().starts_with("GET /again"));
  ASSERT_TRUE(second.send(kOk));
  EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK ok");
  EXPECT_EQ(edge.metrics().retries.read(), 1u);
}

TEST(Exchange, ASecondAttemptTrustsNoPooledConnection) {
  Edge edge;
  Peer first = edge.connect();
  Peer second = edge.connect();
  Peer third = edge.connect();
  std::vector<Peer> apps;
  for (Peer* client : {&first, &second, &third}) ASSERT_TRUE(client->send(get("/warm")));
  for (int i = 0; i < 3; ++i) apps.push_back(edge.origin.accept());
  for (Peer& app : apps) {
    app.read_head();
    ASSERT_TRUE(app.send(kOk));
  }
  for (Peer* client : {&first, &second, &third}) read_ok(*client);
  ASSERT_EQ(edge.pool.idle(), 3u);
  first.send_some(get("/again"));
  for (Peer& app : apps) app.close();
  Peer fresh = edge.origin.accept();
  EXPECT_TRUE(fresh.read_head().starts_with("GET /again"));
  ASSERT_TRUE(fresh.send(kOk));
  EXPECT_EQ(read_ok(first), "HTTP/1.1 200 OK ok");
  EXPECT_EQ(edge.metrics().retries.read(), 1u);
}

TEST(Exchange, APostIsNotSentAgain) {
  Edge edge;
  Peer client = edge.connect();
  Peer app = warm_up(edge, client);
  client.send_some(post("/once", "content-length: 3\r\n", "abc"));
  app.close();
  EXPECT_TRUE(client.read_head().starts_with("HTTP/1.1 502 "));
  EXPECT_FALSE(edge.origin.has_connection());
  EXPECT_EQ(edge.metrics().retries.read(), 0u);
}

TEST(Exchange, APostIsSentAgainWhereNobodyListened) {
  Edge edge;
  Origin other(edge.loop);
  const std::uint16_t port = other.port();
  other.close();
  edge.view_.machines.front().ports[edge.origin.port()] = port;
  edge.add_machine(edge.origin.port());
  edge.adopt();
  for (int i = 0; i < 4; ++i) {  // whichever of the two is picked first
    Peer client = edge.connect();
    ASSERT_TRUE(client.send(post("/up", "content-length: 3\r\nconnection: close\r\n", "abc")));
    Peer app = edge.origin.accept();
    app.read_head();
    EXPECT_EQ(app.read(3), "abc");
    ASSERT_TRUE(app.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"));
    EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK ok");
  }
  EXPECT_GE(edge.metrics().retries.read(), 1u);
}

TEST(Exchange, NothingIsSentAgainForAClientThatLeft) {
  Edge edge;
  edge.add_machine(edge.origin.port());
  edge.adopt();
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("/slow")));
  Peer app = edge.origin.accept();
  app.read_head();
  client.reset();
  EXPECT_EQ(app.wait_for_end(), Peer::End::Fin);
  EXPECT_FALSE(edge.origin.has_connection());
  EXPECT_EQ(edge.metrics().retries.read(), 0u);
  edge.expect_all_given_back();
  EXPECT_EQ(edge.log(), std::vector<std::string>{"499 client_left"});
}

TEST(Exchange, NothingIsSentAgainWhenTheDrainCutsIt) {
  Edge edge;
  edge.add_machine(edge.origin.port());
  edge.adopt();
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("/slow")));
  Peer app = edge.origin.accept();
  app.read_head();
  edge.sessions.interrupt_all(Fault::DrainDeadline);
  EXPECT_NE(app.wait_for_end(), Peer::End::Open);
  EXPECT_FALSE(edge.origin.has_connection());
  EXPECT_EQ(edge.metrics().retries.read(), 0u);
  edge.expect_all_given_back();
}

TEST(Exchange, AnEarlyAnswerIsForwardedAndBothConnectionsEnd) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(post("/up", "content-length: 1000000\r\n", "abc")));
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(app.send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"));
  EXPECT_EQ(read_ok(client), "HTTP/1.1 413 Too Large no");
  EXPECT_NE(app.wait_for_end(), Peer::End::Open);
  EXPECT_EQ(edge.pool.idle(), 0u);
  EXPECT_EQ(client.wait_for_end(), Peer::End::Fin);
  client.close();
  edge.expect_all_given_back();
}

TEST(Exchange, AnAnswerIsReadEvenIfTheAppTakesNoMoreOfTheBody) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(post("/up", "content-length: 1000000\r\n", "abc")));
  Peer app = edge.origin.accept();
  app.read_head();
  app.read(3);
  ASSERT_TRUE(app.send("HTTP/1.1 403 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"));
  app.close();
  client.send_some(pattern(200'000));
  EXPECT_EQ(read_ok(client), "HTTP/1.1 403 No no");
}

TEST(Exchange, ACutLengthBodyNeverLooksWhole) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("/")));
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(app.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"));
  EXPECT_NE(client.read_head(), "");
  EXPECT_EQ(client.read(4), "half");
  app.close();
  EXPECT_EQ(client.read_to_end(), "");
  edge.expect_all_given_back();
  EXPECT_EQ(edge.log(), std::vector<std::string>{"200 upstream_truncated"});
}

TEST(Exchange, ACutChunkedBodyGetsNoLastChunk) {
  for (const bool reset : {false, true}) {
    Edge edge;
    Peer client = edge.connect();
    ASSERT_TRUE(client.send(get("/")));
    Peer app = edge.origin.accept();
    app.read_head();
    ASSERT_TRUE(app.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"));
    client.read_head();
    EXPECT_EQ(client.read(9), "4\r\nhalf\r\n");
    reset ? app.reset() : app.close();
    EXPECT_EQ(client.read_to_end(), "");
  }
}

TEST(Exchange, ACloseDelimitedBodyThatIsResetNeverLooksWhole) {
  for (const char* minor : {"1", "0"}) {
    Edge edge;
    Peer client = edge.connect();
    ASSERT_TRUE(
        client.send("GET / HTTP/1." + std::string(minor) + "\r\nhost: hello.app.dev\r\n\r\n"));
    Peer app = edge.origin.accept();
    app.read_head();
    ASSERT_TRUE(app.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhalf"));
    client.read_head();
    const bool chunked = minor[0] == '1';
    EXPECT_EQ(client.read(chunked ? 9 : 4), chunked ? "4\r\nhalf\r\n" : "half");
    app.reset();
    const Peer::End end = client.wait_for_end();
    EXPECT_EQ(client.read_some(), "");
    // Without framing only a reset can say that something is missing.
    if (!chunked) EXPECT_EQ(end, Peer::End::Reset);
  }
}

// The send meets the reset first and uses up the socket's error: the read then sees a plain end.
TEST(Exchange, AResetThatTheUploadMeetsFirstIsNoEndOfTheResponse) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(post("/up", "content-length: 1000\r\n", "abc")));
  Peer app = edge.origin.accept();
  app.read_head();
  app.read(3);
  ASSERT_TRUE(app.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhalf"));
  client.read_head();
  EXPECT_EQ(client.read(9), "4\r\nhalf\r\n");
  client.send_some("more");
  app.reset();
  EXPECT_EQ(client.read_to_end(), "");
  edge.expect_all_given_back();
  EXPECT_EQ(edge.log(), std::vector<std::string>{"200 upstream_truncated"});
}

TEST(Exchange, ACloseDelimitedBodyIsChunkedAndWhole) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("/")));
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(app.send("HTTP/1.0 200 OK\r\n\r\nall of it"));
  app.close();
  client.read_head();
  EXPECT_EQ(unchunk(client.read_until("0\r\n\r\n")), "all of it");
  EXPECT_EQ(edge.pool.idle(), 0u);
}

TEST(Exchange, MegabytesComeDownUnchanged) {
  const std::string body = pattern(5 * 1024 * 1024);
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("/big")));
  Peer app = edge.origin.accept();
  app.read_head();
  std::string sent =
      "HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  std::string_view left = sent;
  std::string got;
  ASSERT_TRUE(turn_until(edge.loop, [&] {
    left.remove_prefix(app.send_some(left));
    got += client.read_some();
    return got.size() >= body.size() && left.empty();
  }));
  got.erase(0, got.find("\r\n\r\n") + 4);
  got += client.read(body.size() - got.size());
  EXPECT_TRUE(got == body);
  EXPECT_EQ(edge.pool.idle(), 1u);
}

TEST(Exchange, MegabytesGoUpUnchanged) {
  const std::string body = pattern(5 * 1024 * 1024);
  for (const bool chunked : {false, true}) {
    Edge edge;
    Peer client = edge.connect();
    std::string sent;
    if (chunked) {
      sent = post("/up", "transfer-encoding: chunked\r\n");
      for (std::size_t at = 0; at < body.size(); at += 70'000) {
        sent += chunk(std::string_view(body).substr(at, 70'000));
      }
      sent += "0\r\n\r\n";
    } else {
      sent = post("/up", "content-length: " + std::to_string(body.size()) + "\r\n") + body;
    }
    std::string_view left = sent;
    left.remove_prefix(client.send_some(left));
    Peer app = edge.origin.accept();
    std::string got;
    ASSERT_TRUE(turn_until(edge.loop, [&] {
      left.remove_prefix(client.send_some(left));
      got += app.read_some();
      return left.empty() && (chunked ? got.ends_with("\r\n0\r\n\r\n") : got.ends_with(body));
    }));
    got.erase(0, got.find("\r\n\r\n") + 4);
    EXPECT_TRUE(chunked ? unchunk(got) == body : got == body);
    ASSERT_TRUE(app.send(kOk));
    EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK ok");
  }
}

TEST(Exchange, ASlowClientHoldsTheAppBack) {
  constexpr std::size_t kBody = 64 * 1024 * 1024;
  Edge edge;
  Peer client = edge.connect(16 * 1024);
  ASSERT_TRUE(client.send(get("/big")));
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(app.send("HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(kBody) + "\r\n\r\n"));
  const std::string piece = pattern(256 * 1024);
  std::size_t sent = 0;
  // Until the app can't send for many turns.
  for (int idle_turns = 0; idle_turns < 50; ++idle_turns) {
    if (const std::size_t went = app.send_some(piece)) {
      sent += went;
      idle_turns = 0;
    }
    ASSERT_LT(sent, 16u * 1024 * 1024);
    edge.loop.run_for(1ms);
  }
  client.reset();
  EXPECT_NE(app.wait_for_end(), Peer::End::Open);
  edge.expect_all_given_back();
}

// The app is reset while the client takes nothing and some of its body is still on its way: nothing
// may spin meanwhile.
TEST(Exchange, AResetOfTheAppIsNoBusyLoopWhileTheClientTakesNothing) {
  Edge edge;
  Peer client = edge.connect(16 * 1024);
  const std::string body = pattern(32 * 1024 * 1024);
  client.send_some(post("/up", "content-length: " + std::to_string(body.size()) + "\r\n"));
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(app.send("HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n"));
  // The app reads nothing and the client neither: both directions fill up.
  std::string_view left = body;
  for (int idle_turns = 0; idle_turns < 50; ++idle_turns) {
    const std::size_t up = client.send_some(left);
    left.remove_prefix(up);
    if (up + app.send_some(std::string_view(body).substr(0, 65536)) > 0) idle_turns = 0;
    edge.loop.run_for(1ms);
  }
  app.reset();
  for (int turn = 0; turn < 20; ++turn) edge.loop.run_for(1ms);
  EXPECT_EQ(edge.sessions.size(), 1u);
  client.reset();
  edge.expect_all_given_back();
}

TEST(Exchange, TheAppsContinueReachesTheClient) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(post("/up", "content-length: 3\r\nexpect: 100-continue\r\n")));
  Peer app = edge.origin.accept();
  EXPECT_NE(app.read_head().find("100-continue"), std::string::npos);
  EXPECT_EQ(client.read_some(), "");
  ASSERT_TRUE(app.send("HTTP/1.1 100 Continue\r\n\r\n"));
  EXPECT_TRUE(client.read_head().starts_with("HTTP/1.1 100 "));
  ASSERT_TRUE(client.send("abc"));
  EXPECT_EQ(app.read(3), "abc");
  ASSERT_TRUE(app.send(kOk));
  EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK ok");
}

TEST(Exchange, EarlyHintsPassToNewClientsOnly) {
  for (const char* minor : {"1", "0"}) {
    Edge edge;
    Peer client = edge.connect();
    ASSERT_TRUE(
        client.send("GET / HTTP/1." + std::string(minor) + "\r\nhost: hello.app.dev\r\n\r\n"));
    Peer app = edge.origin.accept();
    app.read_head();
    ASSERT_TRUE(app.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"));
    if (minor[0] == '1') EXPECT_TRUE(client.read_head().starts_with("HTTP/1.1 103 "));
    ASSERT_TRUE(app.send(kOk));
    EXPECT_EQ(read_ok(client).substr(9), "200 OK ok");
  }
}

TEST(Exchange, TooManyInterimResponsesAreRefused) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send("GET / HTTP/1.0\r\nhost: hello.app.dev\r\n\r\n"));
  Peer app = edge.origin.accept();
  app.read_head();
  std::string interims;
  for (int i = 0; i < 17; ++i) interims += "HTTP/1.1 103 Early Hints\r\n\r\n";
  ASSERT_TRUE(app.send(interims));
  EXPECT_NE(client.read_head().find(" 502 "), std::string::npos);
}

TEST(Exchange, ResponsesWithoutBodyLeaveTheConnectionReusable) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send("HEAD /1 HTTP/1.1\r\nhost: hello.app.dev\r\n\r\n"));
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(app.send("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"));
  EXPECT_NE(client.read_head().find("500"), std::string::npos);
  for (const char* status : {"204 No Content", "304 Not Modified"}) {
    ASSERT_TRUE(client.send(get("/2")));
    app.read_head();
    ASSERT_TRUE(app.send("HTTP/1.1 " + std::string(status) + "\r\n\r\n"));
    EXPECT_NE(client.read_head().find(status), std::string::npos);
  }
  EXPECT_FALSE(edge.origin.has_connection());
}

TEST(Exchange, BytesBehindTheResponseEndTheConnectionToTheApp) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("/")));
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(app.send(std::string(kOk) + "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"));
  EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK ok");
  EXPECT_NE(app.wait_for_end(), Peer::End::Open);
  EXPECT_EQ(edge.pool.idle(), 0u);
  ASSERT_TRUE(client.send(get("/next")));
  Peer fresh = edge.origin.accept();
  fresh.read_head();
  ASSERT_TRUE(fresh.send(kOk));
  EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK ok");
}

// ---- waiting

void fall_asleep(Edge& edge) {
  edge.view_.machines.front().routable = edge.view_.machines.front().awake = false;
  edge.view_.wakes.front().phase = machines::WakePhase::Asleep;
  edge.adopt();
}

void wake_up(Edge& edge) {
  edge.view_.machines.front().routable = edge.view_.machines.front().awake = true;
  edge.view_.wakes.front().phase = machines::WakePhase::Ready;
  edge.adopt();
}

TEST(Exchange, IsHeldUntilTheAppIsReadyWithWhatCameOfTheBody) {
  Edge edge;
  fall_asleep(edge);
  Peer client = edge.connect();
  const std::string body = pattern(40'000);
  ASSERT_TRUE(client.send(post("/up", "content-length: 40000\r\n", body.substr(0, 1000))));
  ASSERT_TRUE(turn_until(edge.loop, [&] { return edge.gate.waiting() == 1; }));
  EXPECT_EQ(edge.wakes.size(), 1u);
  EXPECT_EQ(edge.metrics().waiting.read(), 1);
  client.send_some(body.substr(1000));
  EXPECT_FALSE(edge.origin.has_connection());
  wake_up(edge);
  Peer app = edge.origin.accept();
  EXPECT_TRUE(app.read_head().starts_with("POST /up HTTP/1.1"));
  EXPECT_TRUE(app.read(body.size()) == body);
  ASSERT_TRUE(app.send(kOk));
  const std::string head = client.read_head();
  EXPECT_NE(head.find("erver-"), std::string::npos) << "Server-Timing\n" << head;
  EXPECT_EQ(client.read(2), "ok");
  client.close();
  edge.expect_all_given_back();
}

TEST(Exchange, AClientThatLeavesWhileItWaitsStopsCounting) {
  for (const bool reset : {false, true}) {
    Edge edge;
    fall_asleep(edge);
    Peer client = edge.connect();
    ASSERT_TRUE(client.send(get("/")));
    ASSERT_TRUE(turn_until(edge.loop, [&] { return edge.waiting.waiting() == 1; }));
    reset ? client.reset() : client.close();
    edge.expect_all_given_back();
    EXPECT_EQ(edge.log(), std::vector<std::string>{"499 client_left"});
  }
}

TEST(Exchange, AHalfClosedClientMayWaitWhereTheAppAllowsIt) {
  Edge edge;
  edge.app.rooster.half_close = true;
  fall_asleep(edge);
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("/")));
  client.finish();
  ASSERT_TRUE(turn_until(edge.loop, [&] { return edge.waiting.waiting() == 1; }));
  for (int turn = 0; turn < 10; ++turn) edge.loop.run_for(1ms);
  EXPECT_EQ(edge.waiting.waiting(), 1u);
  wake_up(edge);
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(app.send(kOk));
  EXPECT_EQ(read_ok(client), "HTTP/1.1 200 OK ok");
  EXPECT_EQ(client.wait_for_end(), Peer::End::Fin);
}

TEST(Exchange, AWaitEndsAtWakeTimeout) {
  Edge edge;
  edge.app.rooster.wake_timeout = 50ms;
  fall_asleep(edge);
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("/")));
  EXPECT_NE(client.read_head().find(" 504 "), std::string::npos);
  client.close();
  edge.expect_all_given_back();
}

TEST(Exchange, TheHeadIsWholeAgainAfterALongWait) {
  Edge edge;
  fall_asleep(edge);
  Peer client = edge.connect();
  Peer other = edge.connect();
  ASSERT_TRUE(client.send(get("/one", "x-mark: first\r\n") + get("/two", "x-mark: second\r\n")));
  ASSERT_TRUE(other.send(get("/other", "x-mark: other\r\n")));
  ASSERT_TRUE(turn_until(edge.loop, [&] { return edge.gate.waiting() == 2; }));
  wake_up(edge);
  Peer first = edge.origin.accept();
  Peer second = edge.origin.accept();
  const std::string heads = first.read_head() + second.read_head();
  EXPECT_NE(heads.find("x-mark: first"), std::string::npos);
  EXPECT_NE(heads.find("x-mark: other"), std::string::npos);
  ASSERT_TRUE(first.send(kOk));
  ASSERT_TRUE(second.send(kOk));
  read_ok(client);
  std::string next = first.read_some() + second.read_some();
  ASSERT_TRUE(turn_until(edge.loop, [&] {
    next += first.read_some() + second.read_some();
    return next.find("\r\n\r\n") != std::string::npos;
  }));
  EXPECT_NE(next.find("x-mark: second"), std::string::npos);
}

TEST(Exchange, WaitersAreRefusedAndTheRestIsServedInADrain) {
  Edge edge;
  Peer busy = edge.connect();
  ASSERT_TRUE(busy.send(get("/busy")));
  Peer app = edge.origin.accept();
  app.read_head();
  fall_asleep(edge);
  Peer waiting = edge.connect();
  Peer idle = edge.connect();
  ASSERT_TRUE(waiting.send(get("/")));
  ASSERT_TRUE(turn_until(edge.loop, [&] { return edge.waiting.waiting() == 1; }));
  edge.context.draining = true;
  edge.gate.fail_all(Fault::Draining);
  edge.sessions.notify_all();
  EXPECT_NE(waiting.read_head().find(" 503 "), std::string::npos);
  EXPECT_EQ(idle.wait_for_end(), Peer::End::Fin);
  ASSERT_TRUE(app.send(kOk));
  const std::string head = busy.read_head();
  EXPECT_NE(head.find("onnection: close"), std::string::npos) << head;
  EXPECT_EQ(busy.read(2), "ok");
  EXPECT_EQ(busy.wait_for_end(), Peer::End::Fin);
  waiting.close();
  busy.close();
  edge.expect_all_given_back();
}

}  // namespace
}  // namespace rooster::proxy
