#include "proxy/h2_upstream.hpp"

#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;
using testing::Edge;
using testing::Peer;
using testing::turn_until;

// An app of HTTP/2 in the test's hands, by nghttp2's server side.
class H2App {
 public:
  struct Request {
    std::map<std::string, std::string> fields;  // trailers too
    std::string body;
    bool ended = false;
    std::optional<std::uint32_t> reset;
  };

  explicit H2App(Peer peer, std::uint32_t max_streams = 100) : peer_(std::move(peer)) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                      std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                      std::uint8_t, void* user) {
          auto& request = static_cast<H2App*>(user)->requests[frame->hd.stream_id];
          request.fields[text(name, name_size)] = text(value, value_size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* bytes,
                      std::size_t size, void* user) {
          static_cast<H2App*>(user)->requests[id].body += text(bytes, size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
          auto& app = *static_cast<H2App*>(user);
          if (frame->hd.type == NGHTTP2_GOAWAY) app.has_goaway = true;
          if (frame->hd.type == NGHTTP2_RST_STREAM) {
            app.requests[frame->hd.stream_id].reset = frame->rst_stream.error_code;
          }
          const bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
          const bool ends = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
          if (is_end && ends) app.requests[frame->hd.stream_id].ended = true;
          return 0;
        });
    nghttp2_session_server_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 1);
    pump();
  }
  ~H2App() { nghttp2_session_del(session_); }
  H2App(const H2App&) = delete;

  /// Reads what is here, sends what is due.
  void pump() {
    const std::string bytes = peer_.read_some();
    const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
    if (!bytes.empty()) nghttp2_session_mem_recv(session_, data, bytes.size());
    const std::uint8_t* out = nullptr;
    while (true) {
      const ssize_t size = nghttp2_session_mem_send(session_, &out);
      if (size <= 0) break;
      sent += static_cast<std::size_t>(size);
      peer_.send(text(out, static_cast<std::size_t>(size)));
    }
  }
  bool wait(const std::function<bool()>& done) {
    return turn_until(peer_.loop(), [&] {
      pump();
      return done();
    });
  }
  /// Waits for the number-th request of this connection to be there as a whole.
  std::int32_t wait_for_request(int number = 1) {
    const std::int32_t id = 2 * number - 1;
    EXPECT_TRUE(wait([&] { return requests[id].ended; })) << id;
    return id;
  }
  void answer(std::int32_t id, const std::string& body,
              std::vector<std::pair<std::string, std::string>> trailers = {}) {
    bodies_.push_back(std::make_unique<std::string>(body));
    body_[id] = {*bodies_.back(), std::move(trailers)};
    nghttp2_data_provider provider{};
    provider.read_callback = [](nghttp2_session* session, std::int32_t stream, std::uint8_t* into,
                                std::size_t size, std::uint32_t* flags, nghttp2_data_source* source,
                                void*) -> ssize_t {
      auto& [left, after] = static_cast<H2App*>(source->ptr)->body_[stream];
      const std::size_t piece = std::min(size, left.size());
      std::copy_n(left.data(), piece, reinterpret_cast<char*>(into));
      left.remove_prefix(piece);
      if (left.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (!after.empty()) {
          *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
          std::vector<nghttp2_nv> fields;
          for (const auto& [name, value] : after) fields.push_back(h2_field(name, value));
          nghttp2_submit_trailer(session, stream, fields.data(), fields.size());
        }
      }
      return static_cast<ssize_t>(piece);
    };
    provider.source.ptr = this;
    const nghttp2_nv head[] = {h2_field(":status", "200")};
    nghttp2_submit_response(session_, id, head, 1, &provider);
    pump();
  }
  nghttp2_session* session() { return session_; }
  Peer& peer() { return peer_; }

  std::map<std::int32_t, Request> requests;
  std::size_t sent = 0;
  bool has_goaway = false;

 private:
  static std::string text(const std::uint8_t* bytes, std::size_t size) {
    return {reinterpret_cast<const char*>(bytes), size};
  }
  Peer peer_;
  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<std::string>> bodies_;
  // What is left of a stream's body, and the trailers after it.
  std::map<std::int32_t,
           std::pair<std::string_view, std::vector<std::pair<std::string, std::string>>>>
      body_;
};

class H2UpstreamTest : public ::testing::Test {
 protected:
  H2UpstreamTest() {
    edge_.app.services[0].ports[0].http_options.h2_backend = true;
    edge_.adopt();
  }
  std::string get(const std::string& path, const std::string& fields = "") {
    return "GET " + path + " HTTP/1.1\r\nHost: hello.app.dev\r\n" + fields + "\r\n";
  }
  std::string post(const std::string& body, const std::string& fields = "") {
    return "POST / HTTP/1.1\r\nHost: hello.app.dev\r\n" + fields +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  Edge edge_;
};

TEST_F(H2UpstreamTest, RequestsOfManyClientsShareAConnection) {
  Peer first = edge_.connect();
  Peer second = edge_.connect();
  first.send(get("/a", "X-Thing: One\r\n"));
  second.send(get("/b"));
  H2App app(edge_.origin.accept());
  app.wait_for_request(1);
  app.wait_for_request(2);
  EXPECT_EQ(app.requests[1].fields[":path"], "/a");
  EXPECT_EQ(app.requests[1].fields["x-thing"], "One");
  EXPECT_EQ(app.requests[1].fields[":authority"], "hello.app.dev");
  EXPECT_EQ(app.requests[1].fields.count("host"), 0u);
  app.answer(3, "for b");
  EXPECT_NE(second.read_until("0\r\n\r\n").find("for b"), std::string::npos);
  app.answer(1, "for a");
  EXPECT_NE(first.read_until("0\r\n\r\n").find("for a"), std::string::npos);
  EXPECT_FALSE(edge_.origin.has_connection());
}

TEST_F(H2UpstreamTest, BodiesAndTrailersGoBothWays) {
  Peer client = edge_.connect();
  client.send(
      "POST / HTTP/1.1\r\nHost: hello.app.dev\r\nTE: trailers\r\nConnection: TE\r\n"
      "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n");
  H2App app(edge_.origin.accept());
  const std::int32_t id = app.wait_for_request();
  EXPECT_EQ(app.requests[id].body, "abc");
  EXPECT_EQ(app.requests[id].fields["x-sum"], "7");
  EXPECT_EQ(app.requests[id].fields["te"], "trailers");
  app.answer(id, "hello", {{"grpc-status", "0"}});
  const std::string response = client.read_until("grpc-status: 0\r\n\r\n");
  EXPECT_NE(response.find("hello"), std::string::npos) << response;
}

TEST_F(H2UpstreamTest, ALostClientIsAResetAndNothingElse) {
  Peer stays = edge_.connect();
  Peer leaves = edge_.connect();
  stays.send(get("/stays"));
  H2App app(edge_.origin.accept());
  app.wait_for_request(1);
  leaves.send(get("/leaves"));
  app.wait_for_request(2);
  leaves.reset();
  EXPECT_TRUE(app.wait([&] { return app.requests[3].reset.has_value(); }));
  EXPECT_EQ(app.requests[3].reset, NGHTTP2_CANCEL);
  app.answer(1, "still here");
  EXPECT_NE(stays.read_until("0\r\n\r\n").find("still here"), std::string::npos);
}

TEST_F(H2UpstreamTest, ARequestThatBreaksInTheTurnItCameInIsNeverSeen) {
  Peer client = edge_.connect();
  client.send(get("/1"));
  H2App app(edge_.origin.accept());
  app.answer(app.wait_for_request(1), "x");
  client.read_until("0\r\n\r\n");
  client.send(
      "POST /bad HTTP/1.1\r\nHost: hello.app.dev\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
  EXPECT_NE(client.read_head().find(" 400 "), std::string::npos);
  Peer other = edge_.connect();
  other.send(get("/2"));
  EXPECT_TRUE(app.wait([&] {
    return app.requests.size() == 2 && app.requests.rbegin()->second.fields[":path"] == "/2";
  }));
  app.answer(app.requests.rbegin()->first, "still here");
  EXPECT_NE(other.read_until("0\r\n\r\n").find("still here"), std::string::npos);
  edge_.context.h2_upstreams.drop(edge_.load());
  EXPECT_TRUE(app.wait([&] { return edge_.context.h2_upstreams.size() == 0; }));
}

TEST_F(H2UpstreamTest, WhatNobodyTakesStopsTheAppAtTheWindow) {
  constexpr std::size_t kBody = 32u << 20;
  Peer client = edge_.connect();
  client.send(get("/"));
  H2App app(edge_.origin.accept());
  app.answer(app.wait_for_request(), std::string(kBody, 'x'));
  for (int i = 0; i < 200; ++i) {
    edge_.loop.run_for(1ms);
    app.pump();
  }
  EXPECT_LT(app.sent, kBody / 2);  // what two kernels hold, and one window
  std::size_t got = client.read_head().size();
  const std::size_t head = got;
  EXPECT_TRUE(app.wait([&] {
    got += client.read_some().size();
    return got - head >= kBody;
  }));
}

TEST_F(H2UpstreamTest, AFurtherConnectionIsOpenedWhereTheStreamsAreUsedUp) {
  Peer first = edge_.connect();
  first.send(get("/1"));
  H2App one(edge_.origin.accept(), 1);
  one.wait_for_request(1);
  one.answer(1, "x");
  first.read_until("0\r\n\r\n");
  first.send(get("/2"));
  one.wait_for_request(2);
  Peer second = edge_.connect();
  second.send(get("/3"));
  H2App two(edge_.origin.accept(), 1);
  two.wait_for_request(1);
  two.answer(1, "by two");
  EXPECT_NE(second.read_until("0\r\n\r\n").find("by two"), std::string::npos);
  EXPECT_EQ(edge_.context.h2_upstreams.size(), 2u);
}

TEST_F(H2UpstreamTest, WhatTheAppRefusedUnseenIsSentAgain) {
  Peer client = edge_.connect();
  client.send(post("once"));
  H2App app(edge_.origin.accept());
  app.wait_for_request(1);
  nghttp2_submit_rst_stream(app.session(), NGHTTP2_FLAG_NONE, 1, NGHTTP2_REFUSED_STREAM);
  app.pump();
  app.wait_for_request(2);
  EXPECT_EQ(app.requests[3].body, "once");
  app.answer(3, "done");
  EXPECT_NE(client.read_until("0\r\n\r\n").find("done"), std::string::npos);
}

TEST_F(H2UpstreamTest, AboveTheLastStreamOfGoawayIsSentAgainElsewhere) {
  Peer client = edge_.connect();
  client.send(post("once"));
  H2App app(edge_.origin.accept());
  app.wait_for_request(1);
  nghttp2_submit_goaway(app.session(), NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
  app.pump();
  H2App next(edge_.origin.accept());
  next.wait_for_request(1);
  EXPECT_EQ(next.requests[1].body, "once");
  next.answer(1, "done");
  EXPECT_NE(client.read_until("0\r\n\r\n").find("done"), std::string::npos);
}

TEST_F(H2UpstreamTest, APostThatTheAppMayHaveSeenIsNotSentAgain) {
  Peer client = edge_.connect();
  client.send(post("once"));
  H2App app(edge_.origin.accept());
  app.wait_for_request(1);
  app.peer().close();
  EXPECT_NE(client.read_until("\r\n\r\n").find("502"), std::string::npos);
  EXPECT_FALSE(edge_.origin.has_connection());
}

TEST_F(H2UpstreamTest, AHeadOfManyFramesPasses) {
  Peer client = edge_.connect();
  client.send(post("x"));
  H2App app(edge_.origin.accept());
  app.wait_for_request(1);
  const std::string large(15'000, 'v');
  std::vector<nghttp2_nv> head{h2_field(":status", "200")};
  for (int i = 0; i < 4; ++i) head.push_back(h2_field("x-large", large));
  nghttp2_submit_headers(app.session(), NGHTTP2_FLAG_END_STREAM, 1, nullptr, head.data(),
                         head.size(), nullptr);
  app.pump();
  const std::string within = client.read_head();
  EXPECT_TRUE(within.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_NE(within.find("Content-Length: 0\r\n"), std::string::npos);
}

TEST_F(H2UpstreamTest, WhatIsNoHttp2IsSaid) {
  Peer client = edge_.connect();
  client.send(post("x"));
  Peer app = edge_.origin.accept();
  app.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  EXPECT_NE(client.read_head().find("upstream_bad_response"), std::string::npos);
}

TEST_F(H2UpstreamTest, AMachineThatIsStoppedKeepsNoConnection) {
  Peer client = edge_.connect();
  client.send(get("/"));
  H2App app(edge_.origin.accept());
  app.wait_for_request(1);
  edge_.context.h2_upstreams.drop(edge_.load());
  app.answer(1, "the last");
  EXPECT_NE(client.read_until("0\r\n\r\n").find("the last"), std::string::npos);
  EXPECT_TRUE(app.wait([&] { return app.has_goaway; }));
  EXPECT_NE(app.peer().wait_for_end(), Peer::End::Open);
  EXPECT_EQ(edge_.context.h2_upstreams.size(), 0u);
  client.close();
  edge_.expect_all_given_back();
}

TEST_F(H2UpstreamTest, ACallGetsOurErrorsAsItsStatus) {
  edge_.origin.close();
  Peer client = edge_.connect();
  client.send(post("x", "Content-Type: application/grpc+proto\r\n"));
  const std::string head = client.read_head();
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200 OK\r\n")) << head;
  EXPECT_NE(head.find("Grpc-Status: 14\r\n"), std::string::npos) << head;
}

TEST_F(H2UpstreamTest, ACallEndsAtItsOwnDeadline) {
  Peer client = edge_.connect();
  client.send(post("x", "Content-Type: application/grpc\r\ngrpc-timeout: 2S\r\n"));
  H2App app(edge_.origin.accept());
  app.wait_for_request(1);
  EXPECT_TRUE(app.wait([&] { return app.requests[1].reset.has_value(); }));
  EXPECT_EQ(app.requests[1].reset, NGHTTP2_CANCEL);
  EXPECT_NE(client.read_head().find("Grpc-Status: 4\r\n"), std::string::npos);
}

TEST_F(H2UpstreamTest, AHeldCallEndsAtItsOwnDeadlineToo) {
  edge_.view_.wakes[0].phase = machines::WakePhase::Asleep;
  edge_.view_.wakes[0].autostart = true;
  edge_.view_.machines[0].routable = edge_.view_.machines[0].awake = false;
  edge_.adopt();
  Peer client = edge_.connect();
  client.send(post("x", "Content-Type: application/grpc\r\ngrpc-timeout: 100m\r\n"));
  EXPECT_NE(client.read_head().find("Grpc-Status: 4\r\n"), std::string::npos);
  EXPECT_EQ(edge_.wakes.size(), 1u);
}

}  // namespace
}  // namespace rooster::proxy
