#include "proxy/affinity.hpp"

#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

#include <string>

namespace rooster::proxy {
namespace {

using config::Affinity;
using testing::Edge;
using testing::Origin;
using testing::Peer;

std::string get(std::string_view fields) {
  return "GET / HTTP/1.1\r\nhost: hello.app.dev\r\n" + std::string(fields) + "\r\n";
}

std::string cookie_in(std::string_view fields, std::string_view name) {
  const std::string bytes = get(fields);
  RequestHead head;
  EXPECT_EQ(parse_request_head(bytes, head).status, ParseStatus::Complete);
  return std::string(find_cookie(head, name));
}

TEST(FindCookie, FindsTheOneOfThatName) {
  EXPECT_EQ(cookie_in("cookie: a=1; at=m1; b=2\r\n", "at"), "m1");
  EXPECT_EQ(cookie_in("cookie: a=1\r\ncookie: at=m2\r\n", "at"), "m2");
  EXPECT_EQ(cookie_in("cookie: bat=1; att=2; at\r\n", "at"), "");
  EXPECT_EQ(cookie_in("cookie: at=\r\n", "at"), "");
  EXPECT_EQ(cookie_in("", "at"), "");
}

// An edge whose app has two machines, each an origin of its own.
struct TwoMachines : Edge {
  explicit TwoMachines(Affinity affinity) {
    add_machine(second.port());
    app.rooster.affinity = std::move(affinity);
    adopt();
  }
  Origin second{loop};
};

struct Met {
  std::string head;
  bool by_first = false;
};

// One request by a connection of its own; whichever machine it reaches answers.
Met ask(TwoMachines& edge, std::string_view fields) {
  Peer client = edge.connect();
  EXPECT_TRUE(client.send(get(std::string(fields) + "connection: close\r\n")));
  const std::uint64_t before = edge.view_.machines[0].load->in_flight();
  EXPECT_TRUE(testing::turn_until(edge.loop, [&] {
    return edge.view_.machines[0].load->in_flight() + edge.view_.machines[1].load->in_flight() >
           before;
  }));
  Met met;
  met.by_first = edge.view_.machines[0].load->in_flight() > 0;
  Peer app = (met.by_first ? edge.origin : edge.second).accept();
  app.read_head();
  EXPECT_TRUE(app.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
  met.head = client.read_head();
  client.close();
  EXPECT_TRUE(testing::turn_until(edge.loop, [&] { return edge.budget.clients.load() == 0; }));
  return met;
}

TEST(Affinity, ACookieKeepsAClientAtItsMachine) {
  TwoMachines edge({.kind = Affinity::Kind::Cookie, .name = "at"});
  const Met first = ask(edge, "");
  const std::string mine = first.by_first ? "m0" : "m1";
  EXPECT_NE(first.head.find("Set-Cookie: at=" + mine + "; Path=/; HttpOnly; SameSite=Lax\r\n"),
            std::string::npos)
      << first.head;
  for (int round = 0; round < 8; ++round) {
    const Met next = ask(edge, "cookie: x=1; at=" + mine + "\r\n");
    EXPECT_EQ(next.by_first, first.by_first);
    EXPECT_EQ(next.head.find("Set-Cookie"), std::string::npos) << next.head;
  }
}

TEST(Affinity, WhereTheMachineIsGoneAnotherOneTakesItsPlace) {
  TwoMachines edge({.kind = Affinity::Kind::Cookie, .name = "at"});
  edge.view_.machines[0].routable = false;
  edge.adopt();
  const Met met = ask(edge, "cookie: at=m0\r\n");
  EXPECT_FALSE(met.by_first);
  EXPECT_NE(met.head.find("Set-Cookie: at=m1;"), std::string::npos) << met.head;
}

TEST(Affinity, EqualHeadersMeetAtOneMachine) {
  TwoMachines edge({.kind = Affinity::Kind::Header, .name = "X-Room"});
  int firsts = 0;
  for (const char* room : {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}) {
    const std::string field = "x-room: " + std::string(room) + "\r\n";
    const Met met = ask(edge, field);
    EXPECT_EQ(met.head.find("Set-Cookie"), std::string::npos);
    EXPECT_EQ(ask(edge, field).by_first, met.by_first);
    EXPECT_EQ(ask(edge, field).by_first, met.by_first);
    firsts += met.by_first ? 1 : 0;
  }
  EXPECT_GT(firsts, 0);
  EXPECT_LT(firsts, 10);
}

TEST(Affinity, WithoutItNoCookieIsSet) {
  TwoMachines edge({});
  EXPECT_EQ(ask(edge, "").head.find("Set-Cookie"), std::string::npos);
}

}  // namespace
}  // namespace rooster::proxy
