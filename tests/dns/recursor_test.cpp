#include "dns/recursor.hpp"

#include "dns/lookup.hpp"
#include "dns/rebinding.hpp"
#include "tests/dns/fake_upstream.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace rooster::dns {
namespace {

using namespace std::chrono_literals;
using testing::FakeUpstream;

const IpAddress kPeer = *IpAddress::parse("fdaa:2:78b0:a7b:1:0:a:102");

struct Ask {
  std::string name;
  std::uint16_t type = type::kAaaa;
  NetworkId network{1};
  IpAddress source = kPeer;
  Carrier carrier = Carrier::Datagram;
};

class RecursorTest : public ::testing::Test {
 protected:
  RecursorOptions options() const {
    return {.upstream = {.servers = {server.address()}, .try_time = 300ms, .tries = 2},
            .gateway_name = "rooster.app.dev",
            .patience = 2s,
            .stale_patience = 200ms};
  }
  static Task<> resolve_into(Recursor& recursor, TaskGroup& group, const Ask& ask, Response& out) {
    Waiter waiter(group);
    const std::string query = *make_query({.name = ask.name, .type = ask.type}, 77);
    const auto read = read_query(query);
    std::string bytes(kMaxMessageBytes, '\0');
    Reply reply(bytes, *read, ask.carrier);
    const Asker asker{ask.network, ask.source};
    if (!recursor.try_answer(asker, *read, reply)) {
      (void)co_await recursor.resolve(asker, *read, reply, waiter);
    }
    bytes.resize(reply.finish());
    const auto response = read_response(bytes);
    EXPECT_TRUE(response && answers(*response, query)) << ask.name;
    if (response) out = *response;
    co_return {};
  }
  /// All at once; their answers in the same order.
  std::vector<Response> ask_all(Recursor& recursor, const std::vector<Ask>& asks) {
    std::vector<Response> responses(asks.size());
    for (std::size_t i = 0; i < asks.size(); ++i) {
      group.spawn(resolve_into(recursor, group, asks[i], responses[i]));
    }
    const auto end = Clock::now() + 20s;
    while (group.size() != 0 && Clock::now() < end) loop.run_for(10ms);
    EXPECT_EQ(group.size(), 0u);
    return responses;
  }
  Response ask(Recursor& recursor, const Ask& one) { return ask_all(recursor, {one}).front(); }
  std::string summary(const Response& response) {
    std::string text = rcode_to_text(response.rcode);
    for (const auto& line : short_lines(response)) text += " " + line;
    return text;
  }

  FakeUpstream server;
  Loop loop;
  TaskGroup group{loop};
};

TEST_F(RecursorTest, ForwardsAnyTypeAndAnswersAgainFromItsCache) {
  Recursor recursor(loop, options());
  EXPECT_EQ(summary(ask(recursor, {"one.example"})), "NOERROR 2001:db8::1");
  EXPECT_EQ(summary(ask(recursor, {"one.example", type::kA})), "NOERROR 192.0.2.1");
  EXPECT_EQ(summary(ask(recursor, {"alias.example"})), "NOERROR one.example. 2001:db8::1");
  EXPECT_EQ(server.questions(), 3);
  const Response again = ask(recursor, {"OnE.eXample"});
  EXPECT_EQ(summary(again), "NOERROR 2001:db8::1");
  EXPECT_EQ(again.section(Section::Answer)[0].owner, again.name);  // the asker's own case
  EXPECT_EQ(server.questions(), 3);
  EXPECT_EQ(recursor.counts().from_cache, 1u);
}

TEST_F(RecursorTest, TwoNetworksShareNoEntry) {
  Recursor recursor(loop, options());
  ask(recursor, {.name = "one.example", .network = NetworkId{1}});
  ask(recursor, {.name = "one.example", .network = NetworkId{2}});
  EXPECT_EQ(server.questions(), 2);
}

TEST_F(RecursorTest, ThoseWhoAskForTheSameShareOneQuestion) {
  Recursor recursor(loop, options());
  for (const Response& response : ask_all(recursor, std::vector<Ask>(50, {"one.example"}))) {
    EXPECT_EQ(summary(response), "NOERROR 2001:db8::1");
  }
  EXPECT_EQ(server.questions(), 1);
}

TEST_F(RecursorTest, NegativeAnswersAreForgottenWithinSeconds) {
  Recursor recursor(loop, options());
  const Response none = ask(recursor, {"none.example"});
  EXPECT_EQ(summary(none), "NXDOMAIN");
  ASSERT_EQ(none.section(Section::Authority).size(), 1u);
  EXPECT_LE(none.section(Section::Authority)[0].ttl, 5u);  // upstream said 900
}

TEST_F(RecursorTest, AFailureIsKeptForAWhile) {
  RecursorOptions patient = options();
  patient.failure_life = 1h;
  Recursor recursor(loop, patient);
  const Response failed = ask(recursor, {"fail.example"});
  EXPECT_EQ(summary(failed), "SERVFAIL");
  EXPECT_EQ(failed.explanation, static_cast<std::uint16_t>(Explanation::NoReachableAuthority));
  const int asked = server.questions();
  EXPECT_EQ(summary(ask(recursor, {"fail.example"})), "SERVFAIL");
  EXPECT_EQ(server.questions(), asked);
}

TEST_F(RecursorTest, SilenceUpstreamIsServfailBeforeTheAskerGivesUp) {
  Recursor recursor(loop, options());
  EXPECT_EQ(summary(ask(recursor, {"mute.example"})), "SERVFAIL");
  EXPECT_EQ(recursor.counts().failed, 1u);
}

TEST_F(RecursorTest, AnOldAnswerServesWhileUpstreamIsSilent) {
  RecursorOptions short_lived = options();
  short_lived.cache.max_life = short_lived.cache.min_life = 1ms;
  Recursor recursor(loop, short_lived);
  ask(recursor, {"one.example"});
  server.be_silent(true);
  const TimePoint later = loop.now() + 20ms;
  while (loop.now() < later) loop.run_for(10ms);
  const Response old = ask(recursor, {"one.example"});
  EXPECT_EQ(summary(old), "NOERROR 2001:db8::1");
  EXPECT_EQ(old.section(Section::Answer)[0].ttl, 5u);
  EXPECT_EQ(old.explanation, static_cast<std::uint16_t>(Explanation::StaleAnswer));
}

TEST_F(RecursorTest, PrivateAddressesFromUpstreamAreRemoved) {
  Recursor recursor(loop, options());
  EXPECT_EQ(summary(ask(recursor, {"inside.example"})), "NOERROR 2001:db8::1");
  EXPECT_EQ(ask(recursor, {"hint.example", type::kHttps}).section(Section::Answer).size(), 1u);
  EXPECT_EQ(summary(ask(recursor, {"lan.example", type::kA})), "NOERROR 10.0.0.1");
  EXPECT_EQ(summary(ask(recursor, {"Rooster.app.dev", type::kA})), "NOERROR");
}

TEST_F(RecursorTest, WhatADatagramCannotHoldIsFetchedOverTcp) {
  Recursor recursor(loop, options());
  const Ask large{.name = "large.example", .type = type::kTxt, .carrier = Carrier::Stream};
  EXPECT_EQ(texts_in(ask(recursor, large)), std::vector{std::string(3000, 'x')});
  const Response cut = ask(recursor, {"large.example", type::kTxt});
  EXPECT_TRUE(cut.flags & flag::kTruncated);
  EXPECT_TRUE(cut.section(Section::Answer).empty());
}

TEST_F(RecursorTest, AServerWithoutEdnsIsAskedWithout) {
  Recursor recursor(loop, options());
  EXPECT_EQ(summary(ask(recursor, {"plain.example"})), "NOERROR 2001:db8::1");
}

TEST_F(RecursorTest, EachSourceHasItsShare) {
  RecursorOptions tight = options();
  tight.questions_per_second = 10;
  tight.outstanding_per_source = 3;
  Recursor recursor(loop, tight);
  std::vector<Ask> asks;
  for (int i = 0; i < 12; ++i) asks.push_back({fmt::format("one-{}.example", i)});
  asks.push_back({.name = "one.example", .source = *IpAddress::parse("fdaa:2:78b0:a7b:1:0:a:302")});
  const auto responses = ask_all(recursor, asks);
  const auto refused = std::ranges::count_if(
      responses, [](const Response& response) { return response.rcode == 5; });
  EXPECT_EQ(refused, 9);  // 7 for their number, 2 for the rate
  EXPECT_EQ(summary(responses.back()), "NOERROR 2001:db8::1");
  EXPECT_EQ(responses[5].explanation, static_cast<std::uint16_t>(Explanation::Prohibited));
}

TEST_F(RecursorTest, NeverAsksItself) {
  RecursorOptions looped = options();
  looped.upstream.servers = {"fdaa::3", "[fdaa:0:1::3]:53", server.address()};
  looped.upstream.own = {{*IpAddress::parse("127.0.0.1"), server.port()}};
  Recursor recursor(loop, looped);
  EXPECT_TRUE(recursor.upstream().servers().empty());
  EXPECT_EQ(summary(ask(recursor, {"one.example"})), "SERVFAIL");
  EXPECT_EQ(server.questions(), 0);
}

TEST(SourceLimits, APrefixIsOneSource) {
  SourceLimits limits(2, 1);
  const TimePoint now = Clock::now();
  const auto ip = [](const char* text) { return *IpAddress::parse(text); };
  EXPECT_TRUE(limits.ask(ip("fdaa:0:1:5:0:0:9:2"), now));
  EXPECT_TRUE(limits.ask(ip("fdaa:0:1:5:0:0:9:3"), now));  // the machine's /112
  EXPECT_FALSE(limits.ask(ip("fdaa:0:1:5:0:0:9:4"), now));
  EXPECT_TRUE(limits.ask(ip("fdaa:0:1:5:0:0:a9:2"), now));
  EXPECT_TRUE(limits.ask(ip("fdaa:0:1:5:0:0:9:4"), now + 1s));
  EXPECT_TRUE(limits.enter(ip("fdaa:0:1:5:0:0:9:4")));
  EXPECT_FALSE(limits.enter(ip("fdaa:0:1:5:0:0:9:5")));
  limits.leave(ip("fdaa:0:1:5:0:0:9:2"));
  EXPECT_TRUE(limits.enter(ip("fdaa:0:1:5:0:0:9:5")));
}

TEST(SourceLimits, IsBounded) {
  SourceLimits limits(500, 200);
  const TimePoint now = Clock::now();
  for (std::uint32_t i = 0; i < 100'000; ++i) limits.ask(IpAddress::v4(i), now);
  EXPECT_LE(limits.sources(), 16u * 1024);
  EXPECT_TRUE(limits.ask(IpAddress::v4(200'000), now + 2s));
}

TEST(AnswerCache, IsBoundedByNumberAndBytes) {
  AnswerCache cache({.entries = 10, .bytes = 20'000});
  const TimePoint now = Clock::now();
  const auto response = [](std::size_t bytes) {
    Response one{.type = type::kTxt};
    one.section(Section::Answer)
        .push_back({.owner = std::string(1, '\0'),
                    .type = type::kTxt,
                    .ttl = 60,
                    .data = std::string(bytes, 'x')});
    return one;
  };
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(cache.store(std::to_string(i), response(10), now));
  EXPECT_EQ(cache.size(), 10u);
  EXPECT_NE(cache.find("99", now), nullptr);
  EXPECT_EQ(cache.find("89", now), nullptr);
  EXPECT_FALSE(cache.store("huge", response(30'000), now));
  EXPECT_TRUE(cache.store("large", response(15'000), now));
  EXPECT_LE(cache.bytes(), 20'000u);
  EXPECT_EQ(cache.find("large", now + 2h), nullptr);  // too old to give at all
}

TEST(Rebinding, KnowsThePrivateRanges) {
  for (const char* text : {"10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "127.0.0.1",
                           "100.64.0.1", "0.0.0.0", "::1", "::", "fd00::1", "fe80::1"}) {
    EXPECT_TRUE(is_in_private_range(*IpAddress::parse(text))) << text;
  }
  for (const char* text : {"172.32.0.1", "192.0.2.1", "100.128.0.1", "2001:db8::1"}) {
    EXPECT_FALSE(is_in_private_range(*IpAddress::parse(text))) << text;
  }
}

}  // namespace
}  // namespace rooster::dns
