#include "proxy/response_head.hpp"

#include <gtest/gtest.h>

#include <string>

namespace rooster::proxy {
namespace {

struct Case {
  std::string bytes;
  Asked asked;
  ParseStatus status = ParseStatus::Complete;
  Framing body;
  bool reusable = true;
};

Parsed parse(std::string_view bytes, Asked asked, ResponseHead& head) {
  head.reset();
  return parse_response_head(bytes, asked, head);
}

TEST(ResponseHead, FramesTheBodyByRequestAndStatus) {
  const Framing chunked{BodyKind::Chunked, 0};
  const Framing until_close{BodyKind::UntilClose, 0};
  const Framing five{BodyKind::Length, 5};
  const Framing none;
  const Asked get;
  const Asked head_request{.method = Method::Head};
  const auto good = ParseStatus::Complete;
  const Case table[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", get, good, five, true},
      {"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", get, good, five, true},
      {"HTTP/1.1 200 \r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", get, good, five, true},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", get, good, chunked, true},
      {"HTTP/1.1 200 OK\r\n\r\n", get, good, until_close, false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", get, good, five, false},
      {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", get, good, five,
       false},
      {"HTTP/1.1 204 No Content\r\n\r\n", get, good, none, true},
      {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", get, good, none, true},
      {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", get, good, none, false},
      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", get, good, none, true},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head_request, good, none, true},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", head_request, good, none, true},
      {"HTTP/1.1 100 Continue\r\n\r\n", get, good, none, true},
      {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", get, good, none, true},
      {"HTTP/1.1 599 \xC3\x9C\r\nContent-Length: 5\r\n\r\n", get, good, five, true},
  };
  for (const Case& item : table) {
    ResponseHead head;
    const Parsed parsed = parse(item.bytes, item.asked, head);
    ASSERT_EQ(parsed.status, item.status) << item.bytes;
    EXPECT_EQ(head.body, item.body) << item.bytes;
    EXPECT_EQ(head.reusable, item.reusable) << item.bytes;
    EXPECT_EQ(head.head_bytes, item.bytes.size());
  }
}

TEST(ResponseHead, RefusesWhatCanNotBeTrusted) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::string table[] = {
      ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
      ok + "Content-Length: 5, 5\r\n\r\n",
      ok + "Content-Length: +5\r\n\r\n",
      ok + "Content-Length:\r\n\r\n",
      ok + "Transfer-Encoding: gzip\r\n\r\n",
      ok + "Transfer-Encoding: gzip, chunked\r\n\r\n",
      ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      ok + "X: a\r\n b\r\n\r\n",
      ok + "X : a\r\n\r\n",
      ok + "X: a\rb\r\n\r\n",
      ok + "X: a\nb\r\n\r\n",
      ok + std::string("X: a\0b\r\n\r\n", 10),
      ok + "Set-Cookie\r\n\r\n",
      "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
      "HTTP/1.1 20 OK\r\n\r\n",
      "HTTP/1.1 2000 OK\r\n\r\n",
      "HTTP/1.1 099 OK\r\n\r\n",
      "HTTP/1.1 2x0 OK\r\n\r\n",
      "HTTP/1.1  200 OK\r\n\r\n",
      "HTTP/2.0 200 OK\r\n\r\n",
      "HTTP/1.2 200 OK\r\n\r\n",
      "ICY 200 OK\r\n\r\n",
      "\r\nHTTP/1.1 200 OK\r\n\r\n",
      "<html>hello</html>\r\n",
      "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
      "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
      "HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n",
      ok + "X: " + std::string(limits::kMaxHeadBytes, 'x'),
  };
  for (const std::string& bytes : table) {
    ResponseHead head;
    const Parsed parsed = parse(bytes, {}, head);
    EXPECT_EQ(parsed.status, ParseStatus::Invalid) << bytes.substr(0, 80);
    EXPECT_EQ(parsed.fault, Fault::UpstreamBadResponse) << bytes.substr(0, 80);
  }
}

TEST(ResponseHead, TakesA101OnlyIfItWasAskedFor) {
  const Asked asked{.upgrade = Upgrade::WebSocket};
  ResponseHead head;
  const std::string good =
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  ASSERT_EQ(parse(good, asked, head).status, ParseStatus::Complete);
  EXPECT_TRUE(head.is_upgrade());
  EXPECT_FALSE(head.is_interim());
  EXPECT_FALSE(head.reusable);
  EXPECT_EQ(head.upgrade_protocol, "websocket");
  EXPECT_EQ(parse("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", asked, head).status,
            ParseStatus::Invalid);
  EXPECT_EQ(parse("HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n", asked, head).status,
            ParseStatus::Invalid);
}

TEST(ResponseHead, FedByteByByteGivesTheSame) {
  const std::string bytes =
      "HTTP/1.1 200 OK\r\nServer: x\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n"
      "Content-Length: 12\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\r\n";
  ResponseHead head;
  Parsed parsed;
  for (std::size_t n = 1; n <= bytes.size(); ++n) {
    ASSERT_EQ(parsed.status, ParseStatus::NeedMore);
    parsed = parse_response_head(std::string_view(bytes).substr(0, n), {}, head);
  }
  ASSERT_EQ(parsed.status, ParseStatus::Complete);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.reason, "OK");
  EXPECT_EQ(head.fields().size(), 6U);
  EXPECT_TRUE(head.nominates);
  EXPECT_EQ(head.body, (Framing{BodyKind::Length, 12}));
}

}  // namespace
}  // namespace rooster::proxy
