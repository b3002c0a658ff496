// Service checks against real servers on loopback.
#include "machines/health_checks.hpp"

#include "tests/machines/child.hpp"
#include "tests/machines/small_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace rooster::machines {
namespace {

using namespace std::chrono_literals;
using apps::SmallServer;
using ::testing::HasSubstr;

const MachineId kMachine{"m1"};

TEST(CheckPause, IsShortWhileWakingAndTheIntervalAfterwards) {
  struct Case {
    Duration interval;
    bool is_waking;
    int runs;
    Duration pause;
  };
  for (const Case& one :
       {Case{15s, true, 0, 20ms}, Case{15s, true, 1, 40ms}, Case{15s, true, 5, 120ms},
        Case{15s, true, 100, 250ms}, Case{15s, false, 0, 15s}, Case{100ms, false, 0, 1s},
        Case{10min, false, 3, 60s}, Case{1s, true, 0, 20ms}}) {
    config::Check check;
    check.interval = std::chrono::duration_cast<std::chrono::milliseconds>(one.interval);
    EXPECT_EQ(check_pause(check, one.is_waking, one.runs), one.pause) << one.runs;
  }
}

class HealthChecksTest : public ::testing::Test {
 protected:
  struct Report {
    std::size_t check;
    bool passing;
    std::string output;
  };
  ~HealthChecksTest() override {
    bool done = false;
    checks.stop([&done] { done = true; });
    EXPECT_TRUE(run_until([&done] { return done; })) << "a check did not end";
  }
  template <class Condition>
  bool run_until(Condition condition) {
    const TimePoint end = Clock::now() + 10s;
    while (!condition() && Clock::now() < end) loop.run_for(5ms);
    return condition();
  }
  void watch(const config::Check& check, std::uint16_t port) {
    auto config = std::make_shared<config::AppConfig>();
    config->checks = {check};
    const config::Check* kept = &config->checks.front();
    checks.watch(kMachine, config, {kept}, {Endpoint{IpAddress::v4(0x7F000001), port}});
  }
  Report first_report(const config::Check& check, std::uint16_t port) {
    watch(check, port);
    EXPECT_TRUE(run_until([this] { return !reports.empty(); }));
    return reports.empty() ? Report{} : reports.front();
  }
  static config::Check http(std::string path = "/") {
    config::Check check;
    check.kind = config::Check::Kind::Http;
    check.path = std::move(path);
    return check;
  }

  Loop loop;
  std::vector<Report> reports;
  HealthChecks checks{
      loop,
      [this](const MachineId& id, std::size_t check, bool passing, std::string output) {
        EXPECT_EQ(id, kMachine);
        reports.push_back({check, passing, std::move(output)});
      },
      [](const MachineId&) { return true; }};
};

TEST_F(HealthChecksTest, PassOnATwoHundredAndKeepItsBody) {
  SmallServer server("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine");
  config::Check check = http("/up?deep=1");
  check.method = "post";
  check.headers = {{"Authorization", "secret"}};
  const Report report = first_report(check, server.port());
  EXPECT_TRUE(report.passing) << report.output;
  EXPECT_EQ(report.output, "fine");
  const std::string asked = server.last_request();
  EXPECT_THAT(asked, HasSubstr("POST /up?deep=1 HTTP/1.1\r\n"));
  EXPECT_THAT(asked, HasSubstr("Authorization: secret\r\n"));
}

TEST_F(HealthChecksTest, FailOnAServersErrorAndSayIt) {
  SmallServer server("HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nno db");
  const Report report = first_report(http(), server.port());
  EXPECT_FALSE(report.passing);
  EXPECT_THAT(report.output, HasSubstr("500"));
  EXPECT_THAT(report.output, HasSubstr("no db"));
}

TEST_F(HealthChecksTest, DoNotFollowARedirect) {
  SmallServer server("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n");
  const Report report = first_report(http(), server.port());
  EXPECT_FALSE(report.passing);
  EXPECT_THAT(report.output, HasSubstr("302"));
}

TEST_F(HealthChecksTest, FailWhereNothingListens) {
  const Report report = first_report(http(), apps::free_port());
  EXPECT_FALSE(report.passing);
  EXPECT_FALSE(report.output.empty());
}

TEST_F(HealthChecksTest, TcpPassesOnAConnection) {
  const Descriptor socket = apps::listen_on("127.0.0.1");
  const Report report = first_report({}, apps::port_of(socket));
  EXPECT_TRUE(report.passing) << report.output;
}

TEST_F(HealthChecksTest, GiveUpAtTheirTimeout) {
  const Descriptor mute = apps::listen_on("127.0.0.1");  // accepts by its backlog, never answers
  config::Check check = http();
  check.timeout = 100ms;
  const TimePoint began = Clock::now();
  const Report report = first_report(check, apps::port_of(mute));
  EXPECT_FALSE(report.passing);
  EXPECT_FALSE(report.output.empty());
  EXPECT_GE(Clock::now() - began, 90ms);
}

TEST_F(HealthChecksTest, RunAgainUntilTheyPass) {
  SmallServer server("HTTP/1.1 503 Not yet\r\nContent-Length: 0\r\n\r\n");
  watch(http(), server.port());
  ASSERT_TRUE(run_until([this] { return reports.size() >= 3; }));
  server.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(run_until([this] { return reports.back().passing; }));
}

TEST_F(HealthChecksTest, SayNothingMoreOfAForgottenMachine) {
  const Descriptor mute = apps::listen_on("127.0.0.1");
  watch(http(), apps::port_of(mute));
  for (int turn = 0; turn < 5; ++turn) loop.run_for(1ms);  // it waits for its answer now
  checks.forget(kMachine);
  for (int turn = 0; turn < 20; ++turn) loop.run_for(1ms);
  EXPECT_TRUE(reports.empty());
}

TEST_F(HealthChecksTest, HttpsTakesAnyCertificateOnlyIfToldSo) {
  SmallServer server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", SmallServer::Tls::Yes);
  config::Check check = http();
  check.protocol = "https";
  check.tls_server_name = "app.example";
  const Report strict = first_report(check, server.port());
  EXPECT_FALSE(strict.passing);
  EXPECT_FALSE(strict.output.empty());
  reports.clear();
  check.tls_skip_verify = true;
  const Report lax = first_report(check, server.port());
  EXPECT_TRUE(lax.passing) << lax.output;
  EXPECT_EQ(lax.output, "ok");
}

}  // namespace
}  // namespace rooster::machines
