#include "proxy/h1_session.hpp"

#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;
using testing::Edge;
using testing::Peer;
using testing::turn_until;

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

TEST(H1Session, TakesAHeadByteByByte) {
  Edge edge;
  Peer client = edge.connect();
  for (const char byte : std::string_view("GET /slow HTTP/1.1\r\nhost: hello.app.dev\r\n\r\n")) {
    ASSERT_TRUE(client.send({&byte, 1}));
    edge.loop.run_for(0ms);
  }
  Peer app = edge.origin.accept();
  EXPECT_TRUE(app.read_head().starts_with("GET /slow HTTP/1.1\r\n"));
}

// Beyond one block of the read buffer, then another one: the first one's size is no bound.
TEST(H1Session, TakesLargeHeadsOneAfterTheOther) {
  Edge edge;
  Peer client = edge.connect();
  std::string request = "GET / HTTP/1.1\r\nhost: hello.app.dev\r\n";
  for (int i = 0; i < 3; ++i) request += "x-large: " + std::string(12'000, 'a') + "\r\n";
  request += "\r\n";
  client.send_some(request + request + "GET /small HTTP/1.1\r\nhost: hello.app.dev\r\n\r\n");
  Peer app = edge.origin.accept();
  for (int i = 0; i < 3; ++i) {
    const std::string head = app.read_head();
    EXPECT_EQ(head.size() > 36'000, i < 2);
    ASSERT_TRUE(app.send(kOk));
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(client.read_head().find(" 200 "), std::string::npos);
    client.read(2);
  }
}

TEST(H1Session, RefusesAHeadThatNeverEndsAndCloses) {
  Edge edge;
  Peer client = edge.connect();
  std::string request = "GET / HTTP/1.1\r\nhost: hello.app.dev\r\n";
  for (int i = 0; i < 12; ++i) request += "x-large: " + std::string(12'000, 'a') + "\r\n";
  client.send_some(request);
  EXPECT_NE(client.read_head().find(" 431 "), std::string::npos);
  EXPECT_NE(client.wait_for_end(), Peer::End::Open);
  client.close();
  edge.expect_all_given_back();
}

TEST(H1Session, AnswersABrokenHeadAndCloses) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send("GET / HTTP/1.1\r\nhost : hello.app.dev\r\n\r\n"));
  EXPECT_NE(client.read_head().find(" 400 "), std::string::npos);
  EXPECT_EQ(client.wait_for_end(), Peer::End::Fin);
  client.close();
  edge.expect_all_given_back();
}

TEST(H1Session, SaysNothingToAClientThatLeftInsideTheHead) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send("GET / HT"));
  edge.loop.run_for(1ms);
  client.finish();
  EXPECT_EQ(client.read_to_end(), "");
  edge.expect_all_given_back();
}

// Requests that need no app never suspend; a flood of them must not keep the loop to itself.
TEST(H1Session, AFloodOfPipelinedRequestsLetsOthersIn) {
  Edge edge;
  Peer flood = edge.connect();
  Peer other = edge.connect();
  std::string requests;
  for (int i = 0; i < 300; ++i) {
    requests += "OPTIONS * HTTP/1.1\r\nhost: hello.app.dev\r\n\r\n";
  }
  flood.send_some(requests);
  other.send_some("GET / HTTP/1.1\r\nhost: nobody.app.dev\r\n\r\n");
  EXPECT_NE(other.read_head().find(" 404 "), std::string::npos);
  std::vector<std::string> log;
  ASSERT_TRUE(turn_until(edge.loop, [&] {
    for (auto& line : edge.log()) log.push_back(std::move(line));
    return log.size() == 301;
  }));
  const auto at = std::find(log.begin(), log.end(), "404 no_route") - log.begin();
  EXPECT_LT(at, 50);
}

TEST(H1Session, AnIdleClientHoldsNoMemoryOfTheWorkers) {
  Edge edge;
  Peer client = edge.connect();
  ASSERT_TRUE(client.send("GET / HTTP/1.1\r\nhost: nobody.app.dev\r\n\r\n"));
  EXPECT_NE(client.read_head().find(" 404 "), std::string::npos);
  client.read_some();
  // The block that the request was read into is back in the pool, and is lent again.
  auto block = edge.context.blocks.take();
  const char* first = block.get();
  edge.context.blocks.give(std::move(block));
  EXPECT_EQ(edge.context.blocks.take().get(), first);
}

}  // namespace
}  // namespace rooster::proxy
