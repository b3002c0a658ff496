#include "net/connect_call.hpp"

#include <gtest/gtest.h>

namespace rooster::net {
namespace {

using State = ConnectReply::State;

TEST(ConnectTarget, IsANameOrAnAddressInBracketsAndAPort) {
  EXPECT_EQ(ConnectTarget::parse("db.internal:5432"), (ConnectTarget{"db.internal", 5432}));
  EXPECT_EQ(ConnectTarget::parse("[fdaa:0:1::2]:80"), (ConnectTarget{"fdaa:0:1::2", 80}));
  for (const char* wrong : {"", "db", "db:", "db:0", "db:65536", "db:5x", ":80", "fdaa::2:80",
                            "a b:80", "a/b:80", "[]:80", "db:+5"}) {
    EXPECT_EQ(ConnectTarget::parse(wrong), std::nullopt) << wrong;
  }
  EXPECT_EQ((ConnectTarget{"fdaa::2", 80}).to_string(), "[fdaa::2]:80");
  EXPECT_EQ((ConnectTarget{"db.flycast", 5432}).to_string(), "db.flycast:5432");
}

TEST(ConnectCall, ComesOutAsItWentIn) {
  for (const bool only_wake : {false, true}) {
    const ConnectCall call{{"fdaa:0:1::2", 5432}, only_wake, "secret"};
    const auto read = parse_connect(encode_connect(call));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->target, call.target);
    EXPECT_EQ(read->only_wake, only_wake);
    EXPECT_EQ(read->token, "secret");
  }
  EXPECT_FALSE(parse_connect("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_FALSE(parse_connect("CONNECT db:1 HTTP/1.1\r\n"));
  EXPECT_FALSE(parse_connect("CONNECT db:1 HTTP/1.0\r\n\r\n"));
}

TEST(ConnectReply, TellsTheProgressThenGivesTheBytesBehindThe200) {
  const std::string bytes = encode_progress("waking db\r\nInjected: 1") +
                            encode_progress("db is ready") + encode_connected("fdaa::2") + "hello";
  // In pieces of every size.
  for (std::size_t size = 1; size <= bytes.size(); ++size) {
    ConnectReply reply;
    std::optional<State> state;
    for (std::size_t at = 0; at < bytes.size(); at += size) {
      state = reply.put(std::string_view(bytes).substr(at, size));
      ASSERT_TRUE(state);
    }
    EXPECT_EQ(*state, State::Connected);
    const std::vector<std::string> lines{"waking db  Injected: 1", "db is ready"};
    EXPECT_EQ(reply.take_progress(), lines);
    EXPECT_EQ(reply.remote(), "fdaa::2");
    EXPECT_EQ(reply.take_rest(), "hello");
  }
}

TEST(ConnectReply, SaysWhyNot) {
  ConnectReply reply;
  EXPECT_EQ(reply.put(encode_connect_refusal(Fault::WakeTimeout, "db did not get ready in 60 s",
                                             std::chrono::seconds(7))),
            State::Refused);
  EXPECT_EQ(reply.refusal().status, 504);
  EXPECT_EQ(reply.refusal().fault, "wake_timeout");
  EXPECT_EQ(reply.refusal().detail, "db did not get ready in 60 s");

  ConnectReply bare;
  EXPECT_EQ(bare.put("HTTP/1.1 403 Forbidden\r\n\r\n"), State::Refused);
  EXPECT_EQ(bare.refusal().detail, "the node answered 403");
}

TEST(ConnectReply, TakesNothingElseForAnAnswer) {
  EXPECT_EQ(ConnectReply().put("SSH-2.0-x\r\n\r\n"), std::nullopt);
  EXPECT_EQ(ConnectReply().put("HTTP/1.1 101 Switching\r\n\r\n"), std::nullopt);
  EXPECT_EQ(ConnectReply().put("HTTP/1.1 xyz\r\n\r\n"), std::nullopt);
  EXPECT_EQ(ConnectReply().put(std::string(kMaxConnectHeadBytes + 1, 'x')), std::nullopt);
}

}  // namespace
}  // namespace rooster::net
