#include "proxy/upstream_head.hpp"

#include "tests/proxy/smuggling_corpus.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace rooster::proxy {
namespace {

Forwarding forwarding() {
  Forwarding result;
  result.peer_address = "192.0.2.9";
  result.client_address = "192.0.2.9";
  result.tls = true;
  result.port = 443;
  result.region = "gru";
  result.request_id = "01ABC-gru";
  result.default_host = "only.app";
  return result;
}

std::string rewrite(std::string_view bytes, const Forwarding& way = forwarding()) {
  RequestHead head;
  const Parsed parsed = parse_request_head(bytes, head);
  EXPECT_EQ(parsed.status, ParseStatus::Complete) << bytes;
  if (parsed.status != ParseStatus::Complete) return {};
  std::vector<char> out(kMaxUpstreamHeadBytes);
  const std::size_t size = to_upstream_head(head, way, out.data(), out.size());
  EXPECT_GT(size, 0U);
  return {out.data(), size};
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  });
  return text;
}

TEST(UpstreamHead, IsWrittenLikeThis) {
  EXPECT_EQ(rewrite("GET /a?b HTTP/1.1\r\nhost: hello.app.dev\r\nAccept:*/*\r\n"
                    "Connection: keep-alive\r\ntraceparent: 00-1-2-01\r\nCookie: c\r\n\r\n"),
            "GET /a?b HTTP/1.1\r\n"
            "Host: hello.app.dev\r\n"
            "Accept: */*\r\n"
            "traceparent: 00-1-2-01\r\n"
            "Cookie: c\r\n"
            "Fly-Client-IP: 192.0.2.9\r\n"
            "X-Forwarded-For: 192.0.2.9\r\n"
            "X-Forwarded-Proto: https\r\n"
            "X-Forwarded-SSL: on\r\n"
            "X-Forwarded-Port: 443\r\n"
            "Fly-Forwarded-Port: 443\r\n"
            "Fly-Region: gru\r\n"
            "Fly-Request-Id: 01ABC-gru\r\n"
            "Via: 1.1 rooster\r\n"
            "\r\n");
}

TEST(UpstreamHead, ForwardsTheCorpusInOneForm) {
  for (const SmugglingCase& item : smuggling_corpus()) {
    if (item.fault != Fault::None) continue;
    const std::string head = rewrite(item.bytes);
    for (const std::string& part : item.must_contain)
      EXPECT_NE(head.find(part), std::string::npos) << item.name << ": no " << part << "\n" << head;
    for (const std::string& part : item.must_lack) {
      std::string ours = lower(head);
      EXPECT_EQ(ours.find(part), std::string::npos) << item.name << ": " << part << "\n" << head;
    }
  }
}

TEST(UpstreamHead, ReadAgainHasTheSameFraming) {
  for (const SmugglingCase& item : smuggling_corpus()) {
    RequestHead first;
    if (parse_request_head(item.bytes, first).status != ParseStatus::Complete) continue;
    const std::string head = rewrite(item.bytes);
    RequestHead second;
    ASSERT_EQ(parse_request_head(head, second).status, ParseStatus::Complete) << head;
    EXPECT_EQ(second.head_bytes, head.size()) << item.name;
    EXPECT_EQ(second.body, first.body) << item.name;
    EXPECT_EQ(second.method, first.method) << item.name;
    EXPECT_EQ(second.path, first.path) << item.name;
    EXPECT_EQ(second.query, first.query) << item.name;
    EXPECT_EQ(second.host, first.host) << item.name;
    EXPECT_EQ(second.upgrade, first.upgrade) << item.name;
  }
}

TEST(UpstreamHead, KeepsTheSteeringFieldsOnly) {
  const std::string head = rewrite(
      "GET / HTTP/1.1\r\nHost: a\r\nFly-Prefer-Region: iad\r\nFly-Force-Region: iad\r\n"
      "fly-prefer-instance-id: 1\r\nfly-force-instance-id: 2\r\nfly-replay-cache-control: skip\r\n"
      "Fly-Region: xxx\r\nFly-Forwarded-Port: 1\r\nFly-Request-Id: forged\r\nFly-Anything: "
      "x\r\n\r\n");
  EXPECT_NE(head.find("Fly-Prefer-Region: iad\r\nFly-Force-Region: iad\r\n"), std::string::npos);
  EXPECT_NE(head.find("fly-replay-cache-control: skip\r\n"), std::string::npos);
  EXPECT_EQ(head.find("xxx"), std::string::npos);
  EXPECT_EQ(head.find("forged"), std::string::npos);
  EXPECT_EQ(head.find("Fly-Anything"), std::string::npos);
}

TEST(UpstreamHead, BelievesATrustedPeer) {
  Forwarding way = forwarding();
  way.trusted = true;
  way.tls = false;
  way.port = 80;
  way.client_address = "198.51.100.7";
  const std::string head = rewrite(
      "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 198.51.100.7\r\n"
      "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: shop\r\n"
      "X-Forwarded-Port: 8443\r\nForwarded: for=1.2.3.4\r\nVia: 1.1 front\r\n\r\n",
      way);
  EXPECT_NE(head.find("\r\nX-Forwarded-For: 1.2.3.4, 198.51.100.7, 192.0.2.9\r\n"),
            std::string::npos);
  EXPECT_NE(head.find("\r\nFly-Client-IP: 198.51.100.7\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nX-Forwarded-Proto: https\r\n"), std::string::npos);
  EXPECT_EQ(head.find("X-Forwarded-Proto: http\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nX-Forwarded-SSL: on\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nX-Forwarded-Port: 8443\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nFly-Forwarded-Port: 80\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nX-Forwarded-Host: shop\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nForwarded: for=1.2.3.4\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nVia: 1.1 front, 1.1 rooster\r\n"), std::string::npos);
}

TEST(UpstreamHead, SaysTheSameWithAPlaceMadeBeforehand) {
  const std::string place = place_fields(443, "gru");
  for (const char* request : {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                              "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Port: 8443\r\n\r\n"}) {
    for (const bool trusted : {false, true}) {
      Forwarding way = forwarding();
      way.trusted = trusted;
      const std::string made_here = rewrite(request, way);
      way.place = place;
      EXPECT_EQ(rewrite(request, way), made_here);
    }
  }
  EXPECT_EQ(place_fields(80, ""), "X-Forwarded-Port: 80\r\nFly-Forwarded-Port: 80\r\n");
  EXPECT_EQ(place_fields(80, "a\r\nb").find("Fly-Region"), std::string::npos);
}

TEST(UpstreamHead, PassesAWebSocketHandshake) {
  const std::string head = rewrite(
      "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: p\r\n\r\n");
  EXPECT_NE(head.find("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nSec-WebSocket-Key: k\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nSec-WebSocket-Protocol: p\r\n"), std::string::npos);
}

TEST(UpstreamHead, FollowsTheWayItIsTold) {
  Forwarding way = forwarding();
  way.close = true;
  way.expect = false;
  way.preferred_unavailable = "1234";
  const std::string head = rewrite(
      "PUT / HTTP/1.0\r\nTE: trailers\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", way);
  EXPECT_TRUE(head.starts_with("PUT / HTTP/1.1\r\nHost: only.app\r\n"));
  EXPECT_NE(head.find("\r\nConnection: close, TE\r\nTE: trailers\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nFly-Preferred-Instance-Unavailable: 1234\r\n"), std::string::npos);
  EXPECT_EQ(head.find("Expect"), std::string::npos);
  EXPECT_NE(
      rewrite("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
          .find("\r\nExpect: 100-continue\r\n"),
      std::string::npos);
}

TEST(UpstreamHead, LetsNothingOfOursBreakTheLine) {
  Forwarding way = forwarding();
  way.region = "gru\r\nX-Injected: 1";
  way.request_id = std::string_view("a\0b", 3);
  const std::string head = rewrite("GET / HTTP/1.1\r\nHost: a\r\n\r\n", way);
  EXPECT_EQ(head.find("Injected"), std::string::npos);
  EXPECT_EQ(head.find('\0'), std::string::npos);
}

TEST(UpstreamHead, SaysWhenItDoesNotFit) {
  RequestHead head;
  const std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n";
  ASSERT_EQ(parse_request_head(bytes, head).status, ParseStatus::Complete);
  std::vector<char> out(kMaxUpstreamHeadBytes);
  const std::size_t size = to_upstream_head(head, forwarding(), out.data(), out.size());
  for (std::size_t n = 0; n < size; ++n) {
    std::vector<char> small(n);
    EXPECT_EQ(to_upstream_head(head, forwarding(), small.data(), n), 0U) << n;
  }
  EXPECT_EQ(to_upstream_head(head, forwarding(), out.data(), size), size);
}

TEST(UpstreamHead, FitsWhateverTheParserTakes) {
  std::string bytes = "GET / HTTP/1.1\r\nHost:a\r\n";
  for (std::size_t i = 1; i < limits::kMaxFields; ++i)
    bytes += "a:" + std::string(640, 'v') + "\r\n";
  bytes += "\r\n";
  RequestHead head;
  ASSERT_EQ(parse_request_head(bytes, head).status, ParseStatus::Complete);
  std::vector<char> out(kMaxUpstreamHeadBytes);
  EXPECT_GT(to_upstream_head(head, forwarding(), out.data(), out.size()), bytes.size());
}

}  // namespace
}  // namespace rooster::proxy
