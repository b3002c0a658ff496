#include "proxy/compression.hpp"

#include "tests/proxy/decode.hpp"
#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

#include <string>

namespace rooster::proxy {
namespace {

using testing::decode;
using testing::Edge;
using testing::Peer;
using testing::turn_until;

struct CompressingEdge : Edge {
  CompressingEdge() {
    app.services[0].ports[0].http_options.compress = true;
    adopt();
  }
};

std::string get(std::string_view accept, std::string_view method = "GET",
                std::string_view version = "1.1") {
  return std::string(method) + " / HTTP/" + std::string(version) +
         "\r\nhost: hello.app.dev\r\naccept-encoding: " + std::string(accept) + "\r\n\r\n";
}

std::string text_of(std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; text.size() < bytes; ++i) text += "line " + std::to_string(i) + "\n";
  text.resize(bytes);
  return text;
}

std::string answer(std::string_view body, std::string_view more = "") {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + std::string(more) +
         "content-length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

bool has(std::string_view head, std::string_view line) {
  return head.find("\r\n" + std::string(line) + "\r\n") != std::string_view::npos;
}

// The payload of the chunks that are whole.
std::string unchunk(std::string_view coded, bool* done = nullptr) {
  ChunkedDecoder decoder;
  std::string out;
  while (true) {
    const auto step = decoder.decode(coded);
    out += step.payload;
    coded.remove_prefix(step.consumed);
    if (step.status != ParseStatus::NeedMore || (step.consumed == 0 && step.payload.empty())) break;
  }
  if (done != nullptr) *done = decoder.is_done();
  return out;
}

TEST(Compression, ATextIsSmallerAndTheSame) {
  const std::pair<Coding, std::string_view> cases[] = {
      {Coding::Gzip, "gzip"}, {Coding::Brotli, "gzip, br"}, {Coding::Zstd, "gzip, br, zstd"}};
  const std::string body = text_of(300'000);
  for (const auto& [coding, accept] : cases) {
    CompressingEdge edge;
    Peer client = edge.connect();
    for (int round = 0; round < 2; ++round) {
      ASSERT_TRUE(client.send(get(accept)));
    }
    Peer app = edge.origin.accept();
    for (int round = 0; round < 2; ++round) {
      app.read_head();
      ASSERT_TRUE(app.send(answer(body, "ETag: \"a1\"\r\nAccept-Ranges: bytes\r\n")));
      const std::string head = client.read_head();
      EXPECT_TRUE(has(head, "Content-Encoding: " + std::string(coding_name(coding)))) << head;
      EXPECT_TRUE(has(head, "Vary: Accept-Encoding")) << head;
      EXPECT_TRUE(has(head, "ETag: W/\"a1\"")) << head;
      EXPECT_TRUE(has(head, "Transfer-Encoding: chunked")) << head;
      EXPECT_EQ(head.find("ength: 3"), std::string::npos) << head;
      EXPECT_EQ(head.find("Accept-Ranges"), std::string::npos) << head;
      const std::string coded = unchunk(client.read_until("\r\n0\r\n\r\n"));
      EXPECT_LT(coded.size(), body.size() / 3);
      const auto decoded = decode(coding, coded);
      EXPECT_TRUE(decoded.whole);
      EXPECT_EQ(decoded.text, body);
    }
    client.close();
    app.close();
    edge.expect_all_given_back();
    EXPECT_EQ(edge.context.encoders.in_use(), 0u);
  }
}

TEST(Compression, WhatTheAppHasFlushedArrivesAtOnce) {
  for (const auto& [coding, accept] :
       {std::pair{Coding::Gzip, "gzip"}, {Coding::Brotli, "br"}, {Coding::Zstd, "zstd"}}) {
    CompressingEdge edge;
    Peer client = edge.connect();
    ASSERT_TRUE(client.send(get(accept)));
    Peer app = edge.origin.accept();
    app.read_head();
    ASSERT_TRUE(app.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\ntransfer-encoding: chunked\r\n\r\n"));
    client.read_head();
    std::string coded;
    std::string sent;
    for (const char* part : {"5\r\nfirst\r\n", "6\r\nsecond\r\n", "1\r\n!\r\n"}) {
      ASSERT_TRUE(app.send(part));
      sent += std::string_view(part).substr(3, std::string_view(part).size() - 5);
      EXPECT_TRUE(turn_until(edge.loop,
                             [&] {
                               coded += client.read_some();
                               return decode(coding, unchunk(coded)).text == sent;
                             }))
          << coding_name(coding) << " has " << decode(coding, unchunk(coded)).text;
    }
    ASSERT_TRUE(app.send("0\r\n\r\n"));
    coded += client.read_until("0\r\n\r\n");
    const auto whole = decode(coding, unchunk(coded));
    EXPECT_TRUE(whole.whole);
    EXPECT_EQ(whole.text, sent);
  }
}

TEST(Compression, ATruncatedBodyIsCutAfterWhatCame) {
  CompressingEdge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("gzip")));
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(
      app.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\ncontent-length: 5000\r\n\r\n" +
               text_of(2000)));
  app.finish();
  client.read_head();
  bool done = true;
  const auto decoded = decode(Coding::Gzip, unchunk(client.read_to_end(), &done));
  EXPECT_FALSE(done);
  EXPECT_FALSE(decoded.whole);
  EXPECT_EQ(decoded.text, text_of(2000));
}

// The response as it is: with its length, and not a byte of it changed.
void expect_untouched(CompressingEdge& edge, std::string_view request, std::string_view fields,
                      std::string_view body) {
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(request));
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(app.send("HTTP/1.1 200 OK\r\n" + std::string(fields) + "content-length: " +
                       std::to_string(body.size()) + "\r\n\r\n" + std::string(body)));
  const std::string head = client.read_head();
  EXPECT_TRUE(has(head, "Content-Length: " + std::to_string(body.size()))) << head;
  EXPECT_EQ(head.find("W/"), std::string::npos) << head;
  EXPECT_EQ(client.read(body.size()), body);
  client.close();
  app.close();
  ASSERT_TRUE(turn_until(edge.loop, [&] { return edge.budget.clients.load() == 0; }));
}

TEST(Compression, LeavesAloneWhatIsNotItsOwn) {
  CompressingEdge edge;
  const std::string body = text_of(4000);
  constexpr std::string_view kText = "Content-Type: text/plain\r\nETag: \"a\"\r\n";
  expect_untouched(edge, get("identity"), kText, body);
  expect_untouched(edge, get("gzip;q=0"), kText, body);
  expect_untouched(edge, get("gzip", "GET", "1.0"), kText, body);
  expect_untouched(edge, get("gzip"), kText, body.substr(0, limits::kMinCompressedBytes - 1));
  expect_untouched(edge, get("gzip"), "Content-Type: image/png\r\n", body);
  expect_untouched(edge, get("gzip"), "Content-Type: text/event-stream\r\n", body);
  expect_untouched(edge, get("gzip"), "", body);
  expect_untouched(edge, get("gzip"), "Content-Type: text/css\r\nContent-Encoding: br\r\n", body);
  expect_untouched(edge, get("gzip"), "Content-Type: text/css\r\nCache-Control: no-transform\r\n",
                   body);
  edge.app.services[0].ports[0].http_options.compress.reset();
  edge.adopt();
  expect_untouched(edge, get("gzip"), kText, body);
}

TEST(Compression, AHeadsAnswerKeepsItsLength) {
  CompressingEdge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send(get("gzip", "HEAD")));
  Peer app = edge.origin.accept();
  app.read_head();
  ASSERT_TRUE(
      app.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\ncontent-length: 5000\r\n\r\n"));
  const std::string head = client.read_head();
  EXPECT_TRUE(has(head, "Content-Length: 5000")) << head;
  EXPECT_TRUE(has(head, "Vary: Accept-Encoding")) << head;
  EXPECT_EQ(head.find("Content-Encoding"), std::string::npos);
}

TEST(Compression, WhereEveryEncoderIsInUseABodyGoesAsItIs) {
  CompressingEdge edge;
  std::vector<std::unique_ptr<Encoder>> all;
  while (auto one = edge.context.encoders.take(Coding::Gzip, std::nullopt)) {
    all.push_back(std::move(one));
  }
  expect_untouched(edge, get("gzip"), "Content-Type: text/plain\r\n", text_of(4000));
  for (auto& one : all) edge.context.encoders.give(std::move(one));
}

TEST(Compression, ASlowClientHoldsTheAppBack) {
  CompressingEdge edge;
  Peer client = edge.connect(4096);
  ASSERT_TRUE(client.send(get("gzip")));
  Peer app = edge.origin.accept();
  app.read_head();
  const std::size_t many = 64u * 1024 * 1024;
  ASSERT_TRUE(app.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: " +
                       std::to_string(many) + "\r\n\r\n"));
  std::string noise(256 * 1024, '\0');
  for (char& c : noise) c = static_cast<char>(edge.context.random());
  std::size_t sent = 0;
  std::size_t before = 1;
  for (int turn = 0; turn < 5000 && sent < many; ++turn) {
    sent += app.send_some(noise);
    edge.loop.run_for(std::chrono::milliseconds(0));
    if (turn % 500 == 499 && std::exchange(before, sent) == sent) break;
  }
  EXPECT_LT(sent, many / 2);
}

}  // namespace
}  // namespace rooster::proxy
