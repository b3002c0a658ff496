#include "proxy/client_head.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace rooster::proxy {
namespace {

ResponseRules rules() {
  ResponseRules result;
  result.request_id = "01ABC-gru";
  result.date = "Sat, 21 Nov 2026 00:00:00 GMT";
  return result;
}

struct Made {
  std::string text;
  ClientHead head;
};

Made make(std::string_view bytes, const ResponseRules& how, Asked asked = {}) {
  asked.method = how.method;
  ResponseHead head;
  EXPECT_EQ(parse_response_head(bytes, asked, head).status, ParseStatus::Complete) << bytes;
  std::vector<char> out(kMaxClientHeadBytes);
  const ClientHead made = to_client_head(head, how, out.data(), out.size());
  EXPECT_GT(made.bytes, 0U);
  return {{out.data(), made.bytes}, made};
}

bool has(const Made& made, std::string_view part) {
  return made.text.find(part) != std::string::npos;
}

TEST(ClientHead, IsWrittenLikeThis) {
  const Made made = make(
      "HTTP/1.1 200 OK\r\nserver: uvicorn\r\nContent-Type: text/plain\r\ncontent-length: 5\r\n"
      "Connection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n\r\n",
      rules());
  EXPECT_EQ(made.text,
            "HTTP/1.1 200 OK\r\n"
            "Content-Type: text/plain\r\n"
            "Date: Sat, 21 Nov 2026 00:00:00 GMT\r\n"
            "Server: Rooster\r\n"
            "Via: 1.1 rooster\r\n"
            "Fly-Request-Id: 01ABC-gru\r\n"
            "Content-Length: 5\r\n"
            "\r\n");
  EXPECT_TRUE(made.head.keep_alive);
  EXPECT_EQ(made.head.body, (Framing{BodyKind::Length, 5}));
}

TEST(ClientHead, PristineLeavesTheFourAlone) {
  ResponseRules how = rules();
  how.pristine = true;
  const Made made = make(
      "HTTP/1.1 200 OK\r\nServer: mine\r\nVia: 1.1 me\r\nFly-Request-Id: x\r\nContent-Length: "
      "0\r\n\r\n",
      how);
  EXPECT_TRUE(has(made, "Server: mine\r\nVia: 1.1 me\r\nFly-Request-Id: x\r\n"));
  EXPECT_FALSE(has(made, "ooster"));
}

TEST(ClientHead, FramesForTheClientsVersion) {
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string until_close = "HTTP/1.1 200 OK\r\n\r\n";
  const std::string length = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
  ResponseRules modern = rules();
  ResponseRules old = rules();
  old.client_minor = 0;
  for (const std::string& bytes : {chunked, until_close}) {
    const Made to_modern = make(bytes, modern);
    EXPECT_EQ(to_modern.head.body.kind, BodyKind::Chunked);
    EXPECT_TRUE(to_modern.head.keep_alive);
    EXPECT_TRUE(has(to_modern, "\r\nTransfer-Encoding: chunked\r\n"));
    const Made to_old = make(bytes, old);
    EXPECT_EQ(to_old.head.body.kind, BodyKind::UntilClose);
    EXPECT_FALSE(to_old.head.keep_alive);
    EXPECT_TRUE(has(to_old, "\r\nConnection: close\r\n"));
    EXPECT_FALSE(has(to_old, "Transfer-Encoding"));
  }
  EXPECT_TRUE(has(make(length, old), "\r\nContent-Length: 2\r\nConnection: keep-alive\r\n"));
  modern.keep_alive = false;
  const Made closing = make(length, modern);
  EXPECT_TRUE(has(closing, "\r\nConnection: close\r\n"));
  EXPECT_FALSE(closing.head.keep_alive);
}

TEST(ClientHead, SaysTheLengthOfABodyThatIsNotSent) {
  ResponseRules how = rules();
  how.method = Method::Head;
  const Made head = make("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", how);
  EXPECT_TRUE(has(head, "\r\nContent-Length: 5\r\n"));
  EXPECT_FALSE(head.head.body.has_body());
  const Made chunked = make("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", how);
  EXPECT_FALSE(has(chunked, "Transfer-Encoding"));
  EXPECT_FALSE(has(make("HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", rules()), "Content-Length"));
}

TEST(ClientHead, AppliesTheAppsRules) {
  const std::vector<config::HeaderRule> table = {
      {"x-powered-by", std::nullopt},
      {"Cache-Control", std::vector<std::string>{"no-store"}},
      {"X-Many", std::vector<std::string>{"a", "b"}},
      {"Server", std::vector<std::string>{"mine"}},
      {"Content-Length", std::vector<std::string>{"999"}},
      {"Transfer-Encoding", std::vector<std::string>{"chunked"}},
      {"X-Split", std::vector<std::string>{"a\r\nSet-Cookie: b"}},
      {"Bad Name", std::vector<std::string>{"x"}},
  };
  ResponseRules how = rules();
  how.headers = table;
  const Made made = make(
      "HTTP/1.1 200 OK\r\nX-Powered-By: x\r\ncache-control: public\r\nContent-Length: 2\r\n\r\n",
      how);
  EXPECT_FALSE(has(made, "X-Powered-By"));
  EXPECT_FALSE(has(made, "public"));
  EXPECT_TRUE(
      has(made, "\r\nCache-Control: no-store\r\nX-Many: a\r\nX-Many: b\r\nServer: mine\r\n"));
  EXPECT_FALSE(has(made, "Server: Rooster"));
  EXPECT_TRUE(has(made, "\r\nContent-Length: 2\r\n"));
  EXPECT_FALSE(has(made, "999"));
  EXPECT_FALSE(has(made, "chunked"));
  EXPECT_FALSE(has(made, "Set-Cookie"));
  EXPECT_FALSE(has(made, "Bad Name"));
}

TEST(ClientHead, KeepsTheAppsDateAndAppendsVia) {
  ResponseRules how = rules();
  how.server_timing = "wake;dur=812";
  const Made made = make(
      "HTTP/1.1 200 OK\r\nDate: then\r\nVia: 1.0 a\r\nServer-Timing: db;dur=1\r\nSet-Cookie: a\r\n"
      "Set-Cookie: b\r\nRooster-Fault: forged\r\nContent-Encoding: none\r\nContent-Length: "
      "0\r\n\r\n",
      how);
  EXPECT_TRUE(has(made, "Date: then\r\n"));
  EXPECT_FALSE(has(made, "2026"));
  EXPECT_TRUE(has(made, "\r\nVia: 1.0 a, 1.1 rooster\r\n"));
  EXPECT_TRUE(has(made, "\r\nServer-Timing: db;dur=1\r\n"));
  EXPECT_TRUE(has(made, "\r\nServer-Timing: wake;dur=812\r\n"));
  EXPECT_TRUE(has(made, "\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"));
  EXPECT_FALSE(has(made, "forged"));
  EXPECT_FALSE(has(made, "Content-Encoding"));
}

TEST(ClientHead, PassesInterimHeadsBare) {
  EXPECT_EQ(
      make("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nConnection: close\r\n\r\n", rules()).text,
      "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
  EXPECT_EQ(make("HTTP/1.1 100 Continue\r\n\r\n", rules()).text, "HTTP/1.1 100 Continue\r\n\r\n");
}

TEST(ClientHead, PassesAnUpgrade) {
  const Made made = make(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: x\r\n\r\n",
      rules(), {.upgrade = Upgrade::WebSocket});
  EXPECT_TRUE(has(made, "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
  EXPECT_TRUE(has(made, "\r\nSec-WebSocket-Accept: x\r\n"));
  EXPECT_FALSE(has(made, "Content-Length"));
}

TEST(ClientHead, ReadAgainHasTheSameFraming) {
  for (const char* framing : {"Content-Length: 7\r\n", "Transfer-Encoding: chunked\r\n"}) {
    const Made made = make("HTTP/1.1 200 OK\r\n" + std::string(framing) + "\r\n", rules());
    ResponseHead again;
    ASSERT_EQ(parse_response_head(made.text, {}, again).status, ParseStatus::Complete);
    EXPECT_EQ(again.body, made.head.body);
    EXPECT_EQ(again.head_bytes, made.text.size());
  }
}

}  // namespace
}  // namespace rooster::proxy
