#include "proxy/h1_upstream.hpp"

#include "proxy/worker_context.hpp"
#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

#include <string>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;
using State = BodyPiece::State;
using testing::Peer;
using testing::TcpPair;

class H1UpstreamTest : public ::testing::Test {
 protected:
  H1UpstreamTest() {
    TcpPair pair;
    upstream_.emplace(
        std::make_unique<UpstreamConnection>(loop_, std::move(pair.ours), Pollable::kWritable,
                                             load_, std::uint16_t{1}, std::uint16_t{80}),
        scratch_);
    app_.emplace(loop_, std::move(pair.theirs));
  }
  // Sends as the app and lets the loop hear of it.
  void say(std::string_view bytes) {
    app_->send_some(bytes);
    turn();
  }
  void turn() {
    for (int i = 0; i < 3; ++i) loop_.run_for(1ms);
  }
  // What a suspension does: others use the worker's buffers.
  void suspend() {
    upstream_->park();
    std::fill_n(scratch_.in.get(), limits::kRelayBytes, '!');
    scratch_.response.reset();
    turn();
  }
  Parsed head() { return upstream_->next_head({.method = Method::Get}, scratch_.response); }
  void begin_body() { upstream_->begin_body(scratch_.response.body, scratch_.response.head_bytes); }
  // All of the body that is here.
  std::string body(State& end) {
    std::string out;
    while (true) {
      const BodyPiece piece = upstream_->next_body(limits::kRelayBytes);
      out += piece.bytes;
      end = piece.state;
      if (piece.state != State::More) return out;
    }
  }

  Loop loop_;
  Scratch scratch_;
  std::shared_ptr<machines::MachineLoad> load_ = std::make_shared<machines::MachineLoad>(AppId{0});
  std::optional<H1Upstream> upstream_;
  std::optional<Peer> app_;
};

TEST_F(H1UpstreamTest, AHeadMayComeInPiecesWithSuspensionsBetween) {
  say("HTTP/1.1 200 OK\r\ncontent-");
  EXPECT_EQ(head().status, ParseStatus::NeedMore);
  suspend();
  say("length: 3\r\n\r\nab");
  ASSERT_EQ(head().status, ParseStatus::Complete);
  EXPECT_EQ(scratch_.response.status, 200);
  begin_body();
  State end{};
  EXPECT_EQ(body(end), "ab");
  EXPECT_EQ(end, State::Later);
  suspend();
  say("c");
  EXPECT_EQ(body(end), "c");
  EXPECT_EQ(end, State::End);
  EXPECT_TRUE(upstream_->is_clean());
}

TEST_F(H1UpstreamTest, WhatIsNotTakenYetOutlivesASuspension) {
  say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");
  ASSERT_EQ(head().status, ParseStatus::Complete);
  begin_body();
  EXPECT_EQ(upstream_->next_body(limits::kRelayBytes).bytes, "abc");
  suspend();
  State end{};
  EXPECT_EQ(body(end), "def");
  EXPECT_EQ(end, State::End);
  EXPECT_TRUE(upstream_->is_clean());
}

TEST_F(H1UpstreamTest, InterimHeadsComeOneByOne) {
  say("HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n");
  ASSERT_EQ(head().status, ParseStatus::Complete);
  EXPECT_EQ(scratch_.response.status, 103);
  suspend();
  ASSERT_EQ(head().status, ParseStatus::Complete);
  EXPECT_EQ(scratch_.response.status, 100);
  ASSERT_EQ(head().status, ParseStatus::Complete);
  EXPECT_EQ(scratch_.response.status, 204);
  begin_body();
  EXPECT_EQ(upstream_->next_body(limits::kRelayBytes).state, State::End);
  EXPECT_TRUE(upstream_->is_clean());
}

TEST_F(H1UpstreamTest, BytesBehindTheBodyMakeTheConnectionUnclean) {
  say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokX");
  ASSERT_EQ(head().status, ParseStatus::Complete);
  begin_body();
  State end{};
  EXPECT_EQ(body(end), "ok");
  EXPECT_EQ(end, State::End);
  EXPECT_FALSE(upstream_->is_clean());
}

TEST_F(H1UpstreamTest, AnEndBeforeTheHeadIsAReset) {
  app_->close();
  turn();
  EXPECT_EQ(head().fault, Fault::UpstreamReset);
  EXPECT_FALSE(upstream_->has_received());
}

TEST_F(H1UpstreamTest, AnEndInsideTheBodyIsATruncation) {
  for (const std::string_view framing : {"content-length: 9", "transfer-encoding: chunked"}) {
    TcpPair pair;
    upstream_.emplace(
        std::make_unique<UpstreamConnection>(loop_, std::move(pair.ours), Pollable::kWritable,
                                             load_, std::uint16_t{1}, std::uint16_t{80}),
        scratch_);
    app_.emplace(loop_, std::move(pair.theirs));
    say("HTTP/1.1 200 OK\r\n" + std::string(framing) + "\r\n\r\n3\r\nabc");
    ASSERT_EQ(head().status, ParseStatus::Complete);
    begin_body();
    app_->close();
    turn();
    State end{};
    body(end);
    EXPECT_EQ(end, State::Failed);
    EXPECT_FALSE(upstream_->is_clean());
  }
}

TEST_F(H1UpstreamTest, AHeadWithoutEndIsRefused) {
  say("HTTP/1.1 200 OK\r\nx: " + std::string(8000, 'a') + "\r\n");
  Parsed parsed = head();
  for (int i = 0; i < 20 && parsed.status == ParseStatus::NeedMore; ++i) {
    suspend();
    say("x: " + std::string(8000, 'a') + "\r\n");
    parsed = head();
  }
  EXPECT_EQ(parsed.status, ParseStatus::Invalid);
  EXPECT_EQ(parsed.fault, Fault::UpstreamBadResponse);
}

}  // namespace
}  // namespace rooster::proxy
