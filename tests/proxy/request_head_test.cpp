#include "proxy/request_head.hpp"

#include "tests/proxy/smuggling_corpus.hpp"

#include <gtest/gtest.h>

#include <string>

namespace rooster::proxy {
namespace {

Parsed parse(std::string_view bytes, RequestHead& head) {
  head.reset();
  return parse_request_head(bytes, head);
}

Fault fault_of(std::string_view bytes) {
  RequestHead head;
  return parse(bytes, head).fault;
}

std::string get(std::string_view fields) {
  return "GET / HTTP/1.1\r\nHost: a.b\r\n" + std::string(fields) + "\r\n";
}

TEST(RequestHead, ReadsWhatABrowserSends) {
  const std::string bytes =
      "GET /a/b?c=d&e HTTP/1.1\r\nHost: Hello.App.dev:8443\r\nAccept: */*\r\n"
      "User-Agent: x\r\nEmpty:\r\nSpaced: \t a b \t\r\n\r\nbody";
  RequestHead head;
  ASSERT_EQ(parse(bytes, head).status, ParseStatus::Complete);
  EXPECT_EQ(head.method, Method::Get);
  EXPECT_EQ(head.target, "/a/b?c=d&e");
  EXPECT_EQ(head.path, "/a/b");
  EXPECT_EQ(head.query, "c=d&e");
  EXPECT_TRUE(head.has_query);
  EXPECT_EQ(head.host, "Hello.App.dev:8443");
  EXPECT_EQ(head.host_name, "Hello.App.dev");
  EXPECT_EQ(head.host_port, 8443);
  EXPECT_EQ(head.http_minor, 1);
  EXPECT_TRUE(head.keep_alive);
  EXPECT_FALSE(head.body.has_body());
  EXPECT_EQ(head.head_bytes, bytes.size() - 4);
  ASSERT_EQ(head.fields().size(), 5U);
  EXPECT_EQ(head.find("empty")->value, "");
  EXPECT_EQ(head.find("spaced")->value, "a b");
  EXPECT_EQ(head.find(FieldKind::UserAgent)->value, "x");
  EXPECT_EQ(head.find(FieldKind::Cookie), nullptr);
}

TEST(RequestHead, KnowsTheMethods) {
  const std::pair<std::string_view, Method> table[] = {
      {"GET", Method::Get},         {"HEAD", Method::Head},      {"POST", Method::Post},
      {"PUT", Method::Put},         {"DELETE", Method::Delete},  {"PATCH", Method::Patch},
      {"OPTIONS", Method::Options}, {"PROPFIND", Method::Other}, {"M-SEARCH", Method::Other},
  };
  for (const auto& [text, method] : table) {
    const std::string bytes = std::string(text) + " / HTTP/1.1\r\nHost: a\r\n\r\n";
    RequestHead head;
    ASSERT_EQ(parse(bytes, head).status, ParseStatus::Complete) << text;
    EXPECT_EQ(head.method, method) << text;
    EXPECT_EQ(head.method_text, text);
  }
  EXPECT_TRUE(is_idempotent(Method::Put));
  EXPECT_FALSE(is_idempotent(Method::Post));
  EXPECT_FALSE(is_idempotent(Method::Other));
}

TEST(RequestHead, RefusesTheSmugglingCorpusWithItsFault) {
  for (const SmugglingCase& item : smuggling_corpus()) {
    RequestHead head;
    const Parsed parsed = parse(item.bytes, head);
    if (item.fault == Fault::None || item.in_body) {
      EXPECT_EQ(parsed.status, ParseStatus::Complete) << item.name;
    } else {
      EXPECT_EQ(parsed.status, ParseStatus::Invalid) << item.name;
      EXPECT_EQ(parsed.fault, item.fault) << item.name << ": " << describe(parsed.fault).token;
    }
  }
}

TEST(RequestHead, FedByteByByteGivesTheSame) {
  for (const SmugglingCase& item : smuggling_corpus()) {
    RequestHead whole;
    const Parsed expected = parse(item.bytes, whole);
    RequestHead head;
    Parsed parsed;
    for (std::size_t n = 1; n <= item.bytes.size() && parsed.status == ParseStatus::NeedMore; ++n)
      parsed = parse_request_head(std::string_view(item.bytes).substr(0, n), head);
    EXPECT_EQ(parsed.status, expected.status) << item.name;
    EXPECT_EQ(parsed.fault, expected.fault) << item.name;
    if (expected.status != ParseStatus::Complete) continue;
    EXPECT_EQ(head.head_bytes, whole.head_bytes) << item.name;
    EXPECT_EQ(head.body, whole.body) << item.name;
    EXPECT_EQ(head.target, whole.target) << item.name;
    EXPECT_EQ(head.fields().size(), whole.fields().size()) << item.name;
  }
}

TEST(RequestHead, BeginsAnewWhenTheBytesHaveMoved) {
  const std::string bytes = get("X: y\r\n");
  RequestHead head;
  {
    const std::string part = bytes.substr(0, bytes.size() - 3);
    EXPECT_EQ(parse_request_head(part, head).status, ParseStatus::NeedMore);
  }
  const std::string moved = bytes;
  ASSERT_EQ(parse_request_head(moved, head).status, ParseStatus::Complete);
  EXPECT_EQ(head.target.data(), moved.data() + 4);
  EXPECT_EQ(head.fields().size(), 2U);
}

TEST(RequestHead, FramesTheBody) {
  RequestHead head;
  parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n", head);
  EXPECT_EQ(head.body, (Framing{BodyKind::Length, INT64_MAX}));
  EXPECT_EQ(fault_of("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n"),
            Fault::BadFraming);
  parse("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", head);
  EXPECT_EQ(head.body, (Framing{BodyKind::Length, 3}));
  parse("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", head);
  EXPECT_EQ(head.body.kind, BodyKind::Chunked);
  parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", head);
  EXPECT_FALSE(head.body.has_body());
}

TEST(RequestHead, DecidesWhetherTheConnectionGoesOn) {
  const auto keeps = [](std::string_view bytes) {
    RequestHead head;
    EXPECT_EQ(parse(bytes, head).status, ParseStatus::Complete) << bytes;
    return head.keep_alive;
  };
  EXPECT_TRUE(keeps(get("")));
  EXPECT_FALSE(keeps(get("Connection: close\r\n")));
  EXPECT_FALSE(keeps(get("Connection: keep-alive, CLOSE\r\n")));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: ,Keep-Alive\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n"));
}

TEST(RequestHead, TreatsHttp10ByItsOwnRules) {
  RequestHead head;
  ASSERT_EQ(parse("GET / HTTP/1.0\r\n\r\n", head).status, ParseStatus::Complete);
  EXPECT_FALSE(head.has_host);
  EXPECT_EQ(head.host, "");
  ASSERT_EQ(parse("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n"
                  "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                  head)
                .status,
            ParseStatus::Complete);
  EXPECT_FALSE(head.expect_continue);
  EXPECT_EQ(head.upgrade, Upgrade::None);
}

TEST(RequestHead, FlagsExpectationTrailersAndNominations) {
  RequestHead head;
  parse(
      "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n"
      "TE: trailers, gzip\r\nConnection: TE, X-Mine\r\n\r\n",
      head);
  EXPECT_TRUE(head.expect_continue);
  EXPECT_TRUE(head.te_trailers);
  EXPECT_TRUE(head.nominates);
  parse(get("TE: gzip\r\nConnection: TE\r\n"), head);
  EXPECT_FALSE(head.te_trailers);
  EXPECT_FALSE(head.nominates);
}

TEST(RequestHead, TellsWebSocketsFromOtherUpgrades) {
  const auto upgrade_of = [](std::string_view fields) {
    RequestHead head;
    EXPECT_EQ(parse(get(fields), head).status, ParseStatus::Complete);
    return head.upgrade;
  };
  constexpr std::string_view kKey = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  EXPECT_EQ(upgrade_of("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
                       std::string(kKey) + "Sec-WebSocket-Version: 13\r\n"),
            Upgrade::WebSocket);
  EXPECT_EQ(upgrade_of("Connection: Upgrade\r\nUpgrade: websocket\r\n" + std::string(kKey) +
                       "Sec-WebSocket-Version: 777\r\n"),
            Upgrade::Other);
  EXPECT_EQ(upgrade_of("Connection: Upgrade\r\nUpgrade: my-protocol/2\r\n"), Upgrade::Other);
  for (const char* hidden : {"h2c", "H2C", "h2", "HTTP/2.0", "http/1.1"})
    EXPECT_EQ(upgrade_of("Connection: Upgrade\r\nUpgrade: " + std::string(hidden) + "\r\n"),
              Upgrade::None);
}

TEST(RequestHead, FlagsTheAsterisk) {
  RequestHead head;
  ASSERT_EQ(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", head).status, ParseStatus::Complete);
  EXPECT_TRUE(head.asterisk);
  ASSERT_EQ(parse("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", head).status,
            ParseStatus::Complete);
  EXPECT_TRUE(head.asterisk);
  EXPECT_EQ(head.path, "*");
  ASSERT_EQ(parse("OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n", head).status, ParseStatus::Complete);
  EXPECT_FALSE(head.asterisk);
}

TEST(RequestHead, TakesTheHostFromTheAbsoluteForm) {
  RequestHead head;
  ASSERT_EQ(parse("GET HTTPS://C.d.:99?q HTTP/1.1\r\nHost: a.b\r\n\r\n", head).status,
            ParseStatus::Complete);
  EXPECT_TRUE(head.absolute_form);
  EXPECT_EQ(head.host, "C.d.:99");
  EXPECT_EQ(head.host_name, "C.d");
  EXPECT_EQ(head.host_port, 99);
  EXPECT_EQ(head.path, "/");
  EXPECT_EQ(head.query, "q");
}

TEST(RequestHead, KeepsItsLimits) {
  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n";
  std::string many = start;
  for (std::size_t i = 1; i < limits::kMaxFields; ++i) many += "a: b\r\n";
  EXPECT_EQ(fault_of(many + "\r\n"), Fault::None);
  EXPECT_EQ(fault_of(many + "c: d\r\n\r\n"), Fault::HeadTooLarge);
  const std::string long_value(limits::kMaxFieldBytes - 3, 'v');
  EXPECT_EQ(fault_of(start + "X: " + long_value + "\r\n\r\n"), Fault::None);
  EXPECT_EQ(fault_of(start + "X: " + long_value + "v\r\n\r\n"), Fault::HeadTooLarge);
  std::string large = start;
  for (int i = 0; i < 4; ++i) large += "X: " + long_value + "\r\n";
  EXPECT_EQ(fault_of(large + "\r\n"), Fault::HeadTooLarge);
  const std::string target(limits::kMaxTargetBytes - 1, 't');
  EXPECT_EQ(fault_of("GET /" + target + " HTTP/1.1\r\nHost: a\r\n\r\n"), Fault::None);
  EXPECT_EQ(fault_of("GET /" + target + "t HTTP/1.1\r\nHost: a\r\n\r\n"), Fault::TargetTooLong);
  EXPECT_EQ(fault_of(std::string(33, 'M') + " / HTTP/1.1\r\n\r\n"), Fault::BadRequest);
  std::string options = start + "Connection: a";
  for (int i = 0; i < 32; ++i) options += ",a";
  EXPECT_EQ(fault_of(options + "\r\n\r\n"), Fault::BadRequest);
}

TEST(RequestHead, RefusesWhatGrowsWithoutAnEnd) {
  EXPECT_EQ(fault_of("GET /" + std::string(9000, 't')), Fault::TargetTooLong);
  EXPECT_EQ(fault_of("GET / HTTP/1.1\r\nX: " + std::string(17000, 'v')), Fault::HeadTooLarge);
  EXPECT_EQ(fault_of(std::string("\x16\x03\x01\x02\x00\x01", 6)), Fault::BadRequest);
}

TEST(RequestHead, IsReadyForTheNextAfterReset) {
  const std::string bytes = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
  RequestHead head;
  ASSERT_EQ(parse(bytes, head).status, ParseStatus::Complete);
  const std::string next = "GET /2 HTTP/1.0\r\n\r\n";
  ASSERT_EQ(parse(next, head).status, ParseStatus::Complete);
  EXPECT_EQ(head.body, Framing{});
  EXPECT_EQ(head.path, "/2");
  EXPECT_EQ(head.fields().size(), 0U);
}

}  // namespace
}  // namespace rooster::proxy
