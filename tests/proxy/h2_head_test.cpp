#include "proxy/h2_head.hpp"

#include "proxy/request_head.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rooster::proxy {
namespace {

using Fields = std::initializer_list<std::pair<std::string_view, std::string_view>>;

H2HeadReader::Result read(Fields fields, bool has_body = false) {
  H2HeadReader reader;
  reader.begin();
  for (const auto& [name, value] : fields) reader.add(name, value);
  return reader.finish(has_body, 42);
}

Fault fault_of(Fields fields) {
  return read(fields).fault;
}

std::vector<std::pair<std::string, std::string>> taken_apart(std::string head) {
  std::vector<nghttp2_nv> fields;
  EXPECT_TRUE(to_h2_fields(head, fields));
  std::vector<std::pair<std::string, std::string>> texts;
  for (const nghttp2_nv& field : fields) {
    texts.emplace_back(std::string(reinterpret_cast<const char*>(field.name), field.namelen),
                       std::string(reinterpret_cast<const char*>(field.value), field.valuelen));
  }
  return texts;
}

TEST(H2HeadReader, MakesTheSameHeadOfHttp1) {
  const auto made = read({{":method", "GET"},
                          {":scheme", "https"},
                          {":authority", "hello.app.dev"},
                          {":path", "/a?b"},
                          {"accept", "*/*"}});
  EXPECT_EQ(made.fault, Fault::None);
  EXPECT_EQ(made.text, "GET /a?b HTTP/1.1\r\nhost: hello.app.dev\r\naccept: */*\r\n\r\n");
}

TEST(H2HeadReader, ABodyWithoutLengthIsChunked) {
  const auto open = read(
      {{":method", "POST"}, {":scheme", "https"}, {":authority", "a.b"}, {":path", "/"}}, true);
  EXPECT_TRUE(open.text.ends_with("transfer-encoding: chunked\r\n\r\n")) << open.text;
  const auto known = read({{":method", "POST"},
                           {":scheme", "https"},
                           {":authority", "a.b"},
                           {":path", "/"},
                           {"content-length", "3"}},
                          true);
  EXPECT_EQ(known.text.find("transfer-encoding"), std::string::npos);
}

TEST(H2HeadReader, JoinsCookieCrumbs) {
  const auto made = read({{":method", "GET"},
                          {":scheme", "https"},
                          {":authority", "a.b"},
                          {":path", "/"},
                          {"cookie", "a=1"},
                          {"x", "y"},
                          {"cookie", "b=2"}});
  EXPECT_TRUE(made.text.ends_with("x: y\r\ncookie: a=1; b=2\r\n\r\n")) << made.text;
}

TEST(H2HeadReader, RefusesWhatWouldBeAnotherRequestAsText) {
  const auto get = [](std::string_view path) {
    return fault_of(
        {{":method", "GET"}, {":scheme", "https"}, {":authority", "a.b"}, {":path", path}});
  };
  EXPECT_EQ(get("/a b"), Fault::BadRequest);
  EXPECT_EQ(get("http://c.d/"), Fault::BadRequest);
  EXPECT_EQ(get("/a\r\nx: y"), Fault::BadRequest);
  const auto with = [](std::string_view name, std::string_view value) {
    return fault_of({{":method", "GET"},
                     {":scheme", "https"},
                     {":authority", "a.b"},
                     {":path", "/"},
                     {name, value}});
  };
  EXPECT_EQ(with("a:b", "c"), Fault::BadRequest);
  EXPECT_EQ(with("a", "b\r\nc: d"), Fault::BadRequest);
  EXPECT_EQ(with("connection", "close"), Fault::BadRequest);
  EXPECT_EQ(with("transfer-encoding", "chunked"), Fault::BadRequest);
  EXPECT_EQ(with("host", "c.d"), Fault::BadHost);
  EXPECT_EQ(with("host", "A.b"), Fault::None);
}

TEST(H2HeadReader, AnExtendedConnectIsAnUpgrade) {
  const auto made = read({{":method", "CONNECT"},
                          {":protocol", "websocket"},
                          {":scheme", "https"},
                          {":authority", "a.b"},
                          {":path", "/ws"},
                          {"sec-websocket-version", "13"},
                          {"sec-websocket-key", "mine"}},
                         true);
  ASSERT_EQ(made.fault, Fault::None);
  EXPECT_TRUE(made.is_extended_connect);
  EXPECT_EQ(made.text.find("mine"), std::string::npos);
  RequestHead head;
  ASSERT_EQ(parse_request_head(made.text, head).status, ParseStatus::Complete) << made.text;
  EXPECT_EQ(head.upgrade, Upgrade::WebSocket);
  EXPECT_EQ(head.method, Method::Get);
}

TEST(H2HeadReader, ABlockThatIsTooLongIsCountedAndNotKept) {
  H2HeadReader reader;
  reader.begin();
  const std::string value(1000, 'x');
  for (int i = 0; i < 500; ++i) reader.add("a", value);
  EXPECT_EQ(reader.fields(), 500u);
  EXPECT_EQ(reader.finish(false, 1).fault, Fault::HeadTooLarge);
}

TEST(ToH2Fields, LeavesOutWhatIsOfAConnection) {
  const auto fields = taken_apart(
      "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nConnection: close\r\nTransfer-Encoding: "
      "chunked\r\nKeep-Alive: x\r\nX-Y: Z\r\n\r\n");
  const std::vector<std::pair<std::string, std::string>> expected{
      {":status", "200"}, {"content-type", "a/b"}, {"x-y", "Z"}};
  EXPECT_EQ(fields, expected);
}

TEST(ToH2Fields, AnUpgradeIsASuccess) {
  const auto fields = taken_apart(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n");
  const std::vector<std::pair<std::string, std::string>> expected{
      {":status", "200"}, {"sec-websocket-protocol", "chat"}};
  EXPECT_EQ(fields, expected);
}

}  // namespace
}  // namespace rooster::proxy
