#include "admin/explain.hpp"

#include "tests/admin/facts.hpp"

#include <gtest/gtest.h>

namespace rooster::admin {
namespace {

using namespace testing;
using machines::LedgerEntry;
using machines::WakePhase;

std::string findings(const Explanation& explanation, std::string_view subject) {
  std::string all;
  for (const Finding& finding : explanation.findings) {
    if (finding.subject == subject) all += finding.text + '\n';
  }
  return all;
}

Explanation of_url(std::string_view text, FactsMaker maker) {
  const auto url = parse_url(text);
  EXPECT_TRUE(url);
  const auto set = config_set({maker.config()});
  const RouteAnswer route = find_route(*set, *url);
  const AppFacts facts = maker.make();
  return explain_url(*url, route, route.app ? &facts : nullptr, kNow);
}

TEST(ParseUrl, TakesUrlsWithAndWithoutScheme) {
  EXPECT_EQ(parse_url("hello.app.dev")->port, 443);
  EXPECT_EQ(parse_url("http://h.dev/a?b#c")->path, "/a?b");
  EXPECT_EQ(parse_url("http://h.dev")->port, 80);
  EXPECT_EQ(parse_url("https://h.dev:8443?x")->port, 8443);
  EXPECT_EQ(parse_url("https://h.dev:8443?x")->path, "/?x");
  EXPECT_EQ(parse_url("https://[::1]:8443/")->host, "[::1]");
  EXPECT_EQ(parse_url("https://[::1]/")->port, 443);
  for (const char* bad : {"", "ftp://x", "https://", "https://a:0/", "https://a:99999/",
                          "https://a:b/", "https://u@h/"}) {
    EXPECT_FALSE(parse_url(bad)) << bad;
  }
}

TEST(ExplainUrl, SaysThatNobodyHasTheHost) {
  const Explanation out = of_url("https://nobody.app.dev/", FactsMaker());
  EXPECT_EQ(out.fault, Fault::NoRoute);
  EXPECT_EQ(out.verdict, "Refused with 404: no app here has the host name nobody.app.dev.");
}

TEST(ExplainUrl, FollowsExactWildcardAndDefaultNames) {
  for (const char* url : {"https://hello.app.dev", "https://EXAMPLE.com.",
                          "https://a.b.hello.example.com", "https://hello.app.dev:8443/x"}) {
    EXPECT_EQ(of_url(url, FactsMaker().phase(WakePhase::Ready)).app, "hello") << url;
  }
  EXPECT_EQ(of_url("https://hello.app.dev:9999", FactsMaker()).fault, Fault::NoRoute);
}

TEST(ExplainUrl, KnowsForceHttps) {
  const Explanation out = of_url("http://hello.app.dev:8080/", FactsMaker());
  EXPECT_TRUE(out.verdict.starts_with("Answered with 301"));
  EXPECT_EQ(out.fault, Fault::None);
}

TEST(ExplainUrl, NamesTheMachineThatTakesIt) {
  const Explanation out =
      of_url("https://hello.app.dev/", FactsMaker().phase(WakePhase::Ready).in_flight(2));
  EXPECT_EQ(out.verdict, "Goes to machine 908027d3be7938.");
  EXPECT_EQ(findings(out, "machine 908027d3be7938"),
            "gru: would take it at 127.0.0.1:8000, 2 in flight\n");
}

TEST(ExplainUrl, SaysWhyAMachineDoesNotTakeIt) {
  FactsMaker full;
  full.config().services[0].concurrency.hard_limit = 2;
  full.phase(WakePhase::Ready).in_flight(2);
  const Explanation out = of_url("https://hello.app.dev/", full);
  EXPECT_TRUE(out.verdict.starts_with("Waits for a place"));
  EXPECT_EQ(findings(out, "machine 908027d3be7938"), "gru: at its limit: 2 of 2 in flight\n");

  FactsMaker cordoned;
  cordoned.phase(WakePhase::Ready).machine().cordoned = true;
  EXPECT_EQ(findings(of_url("https://hello.app.dev/", cordoned), "machine 908027d3be7938"),
            "gru: cordoned\n");
}

TEST(ExplainUrl, SaysThatItWakesTheApp) {
  const Explanation out = of_url("https://hello.app.dev/", FactsMaker());
  EXPECT_EQ(out.verdict, "Held until a machine is ready, up to 1m0s: it wakes the app.");
}

TEST(ExplainUrl, SaysWhyItMayNotWakeTheApp) {
  FactsMaker policy;
  policy.config().rooster.wake.deny_paths = {"/robots.txt"};
  EXPECT_EQ(of_url("https://hello.app.dev/robots.txt?x", policy).fault, Fault::WakePolicy);
  EXPECT_EQ(of_url("https://hello.app.dev/", policy).fault, Fault::None);

  FactsMaker by_hand;
  by_hand.wake().autostart = false;
  EXPECT_EQ(of_url("https://hello.app.dev/", by_hand).fault, Fault::AutostartOff);

  FactsMaker cordoned;
  cordoned.machine().cordoned = true;
  EXPECT_EQ(of_url("https://hello.app.dev/", cordoned).fault, Fault::NoHealthyMachine);

  FactsMaker nothing;
  nothing.config().processes = {{.group = "app", .command = {}}};
  EXPECT_EQ(of_url("https://hello.app.dev/", nothing).fault, Fault::NotWakeable);
}

TEST(ExplainUrl, KnowsFailedWakes) {
  const Explanation soon =
      of_url("https://hello.app.dev/", FactsMaker().failed(Fault::ExecFailed, kNow + 8s));
  EXPECT_EQ(soon.fault, Fault::WakeBackoff);
  EXPECT_EQ(soon.verdict, "Refused with 503 for 8s more: the last wake failed (exec_failed).");
  const Explanation never =
      of_url("https://hello.app.dev/", FactsMaker().failed(Fault::ExecFailed, kNever));
  EXPECT_EQ(never.fault, Fault::ExecFailed);
  const Explanation again =
      of_url("https://hello.app.dev/", FactsMaker().failed(Fault::ExecFailed, kNow));
  EXPECT_EQ(again.fault, Fault::None);
  EXPECT_TRUE(again.verdict.starts_with("Held"));
}

Explanation of_app(const FactsMaker& maker) {
  return explain_app(maker.make(), kNow, kBootNow);
}

TEST(ExplainApp, SaysWhatKeepsItAwake) {
  const Explanation busy = of_app(FactsMaker().phase(WakePhase::Ready).in_flight(3));
  EXPECT_EQ(busy.verdict, "hello is awake, 3 in flight.");
  EXPECT_EQ(findings(busy, "machine 908027d3be7938"),
            "gru: 3 in flight: requests, tunnels or sessions keep it awake\n");

  const Explanation idle = of_app(FactsMaker().phase(WakePhase::Ready));
  EXPECT_EQ(findings(idle, "machine 908027d3be7938"),
            "gru: idle for 42s of 5m0s; stopped in 4m18s unless something comes\n");

  FactsMaker always;
  always.config().services[0].autostop = config::Autostop::Off;
  EXPECT_TRUE(has(findings(of_app(always.phase(WakePhase::Ready)), "machine 908027d3be7938"),
                  "auto_stop_machines is off"));

  FactsMaker least;
  least.config().services[0].min_machines_running = 1;
  EXPECT_TRUE(has(findings(of_app(least.phase(WakePhase::Ready)), "machine 908027d3be7938"),
                  "1 must run in gru"));
}

TEST(ExplainApp, SaysWhoWokeItAndWhyItStopped) {
  FactsMaker maker;
  maker.ledger(entry(LedgerEntry::Kind::Exit, 310s, "rooster", "exited normally with code: 0"));
  maker.ledger(entry(LedgerEntry::Kind::Stop, 309s, "rooster", "idle for 5m0s"));
  maker.ledger(entry(LedgerEntry::Kind::Ready, 350ms, "", "ready"));
  maker.ledger(entry(LedgerEntry::Kind::Wake, 0ms, "203.0.113.7", "GET /"));
  const Explanation out = of_app(maker);
  EXPECT_EQ(out.verdict, "hello is asleep: idle for 5m0s.");
  EXPECT_EQ(findings(out, "last wake"),
            "2025-05-27T12:29:13.000Z by 203.0.113.7: GET /; ready after 350ms\n");
  EXPECT_EQ(findings(out, "last stop"),
            "2025-05-27T12:34:22.000Z machine 908027d3be7938: idle for 5m0s\n");
  EXPECT_TRUE(has(findings(out, "to change it"), "rooster machine start"));
}

TEST(ExplainApp, SaysWhyItFailedAndWhatMendsIt) {
  FactsMaker maker;
  maker.failed(Fault::ListensElsewhere, kNow + 4s);
  maker.ledger(
      entry(LedgerEntry::Kind::WakeFailed, 60s, "", "listens on 9000", Fault::ListensElsewhere));
  maker.ledger(entry(LedgerEntry::Kind::Wake, 0ms, "::1", "GET /x"));
  const Explanation out = of_app(maker);
  EXPECT_EQ(out.fault, Fault::ListensElsewhere);
  EXPECT_EQ(out.verdict, "hello could not be woken: listens_elsewhere.");
  EXPECT_TRUE(has(findings(out, "to change it"), describe(Fault::ListensElsewhere).hint));
  EXPECT_TRUE(has(findings(out, "to change it"), "in 4s"));
  EXPECT_TRUE(has(findings(out, "last wake"), "it failed: listens_elsewhere (listens on 9000)"));
}

TEST(ExplainApp, SaysThatAMachineEndedByItself) {
  FactsMaker maker;
  maker.ledger(entry(LedgerEntry::Kind::Exit, 310s, "rooster", "exited with code: 3"));
  maker.ledger(entry(LedgerEntry::Kind::Ready, 305s, "", "ready in 10ms"));
  maker.ledger(entry(LedgerEntry::Kind::Stop, 300s, "operator", "stopped by the operator"));
  EXPECT_EQ(of_app(maker).verdict, "hello is asleep: its process exited with code: 3.");
}

TEST(ExplainApp, KnowsAnAppThatNobodyAskedFor) {
  EXPECT_EQ(of_app(FactsMaker()).verdict, "hello is asleep: nobody has asked for it yet.");
}

}  // namespace
}  // namespace rooster::admin
