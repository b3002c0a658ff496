// Real files by others load with the meaning that Fly gives them.
#include "config/document.hpp"
#include "config/show.hpp"
#include "tests/config/shared.hpp"

#include <cstdlib>
#include <functional>
#include <map>

namespace rooster::config {
namespace {

using namespace std::chrono_literals;

std::filesystem::path corpus() {
  return std::filesystem::path(ROOSTER_SHARED_DIR) / "flytoml";
}

/// Absent outside the workshop: then these tests are skipped, in CI they fail.
#define NEED_CORPUS()                                                                            \
  do {                                                                                           \
    if (!std::filesystem::exists(corpus())) {                                                    \
      const char* const ci = std::getenv("ROOSTER_CI");                                          \
      ASSERT_FALSE(ci != nullptr && std::string_view(ci) == "1") << corpus() << " is not there"; \
      GTEST_SKIP() << corpus() << " is not there";                                               \
    }                                                                                            \
  } while (false)

AppConfig load_corpus(const std::string& name) {
  const auto path = corpus() / (name + ".toml");
  auto parsed = parse_app(read_text(path), path.string());
  EXPECT_TRUE(parsed.app) << all_rendered(parsed.diagnostics);
  return parsed.app ? std::move(*parsed.app) : AppConfig{};
}

TEST(FlyToml, EveryFileOfTheCorpusLoads) {
  NEED_CORPUS();
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(corpus())) {
    if (entry.path().extension() != ".toml") continue;
    const auto parsed = parse_app(read_text(entry.path()), entry.path().string());
    EXPECT_TRUE(parsed.app) << all_rendered(parsed.diagnostics);
    ++count;
  }
  EXPECT_GE(count, 36U);
}

TEST(FlyToml, EveryFileLoadsWithWindowsLineEndsAndMeansTheSame) {
  NEED_CORPUS();
  for (const auto& entry : std::filesystem::directory_iterator(corpus())) {
    if (entry.path().extension() != ".toml") continue;
    const std::string text = read_text(entry.path());
    std::string windows = "\xEF\xBB\xBF";
    for (const char c : text) {
      if (c == '\n') windows += '\r';
      windows += c;
    }
    EXPECT_EQ(parse_app(windows, entry.path().string()).app,
              parse_app(text, entry.path().string()).app)
        << entry.path();
  }
}

TEST(FlyToml, WhatIsShownOfAFileReadsBackEqual) {
  NEED_CORPUS();
  for (const auto& entry : std::filesystem::directory_iterator(corpus())) {
    if (entry.path().extension() != ".toml") continue;
    auto app = *parse_app(read_text(entry.path()), entry.path().string()).app;
    for (auto& [name, value] : app.env) value = without_secrets(name, value);
    if (app.driver() != DriverKind::None) app.rooster.driver = app.driver();
    const std::string shown = to_toml(to_document(app));
    auto again = parse_app(shown, entry.path().string());
    ASSERT_TRUE(again.app) << all_rendered(again.diagnostics) << shown;
    // Tables are shown in their own order, and checks by kind.
    for (auto* one : {&app, &*again.app}) {
      for (auto& service : one->services) {
        std::ranges::sort(service.checks, {}, &Check::interval);
        for (auto& check : service.checks) check.name.clear();
      }
    }
    EXPECT_EQ(*again.app, app) << shown;
  }
}

TEST(FlyToml, HttpServiceBecomesPorts80And443) {
  NEED_CORPUS();
  const auto app = load_corpus("0legIv__pii_guard");
  ASSERT_EQ(app.services.size(), 1U);
  const Service& service = app.services[0];
  EXPECT_EQ(app.kill_signal, "SIGTERM");
  EXPECT_EQ(app.primary_region, "fra");
  EXPECT_EQ(service.internal_port, 8080);
  EXPECT_EQ(service.autostop, Autostop::Off);
  EXPECT_EQ(service.min_machines_running, 1U);
  EXPECT_EQ(service.concurrency.hard_limit, 1000U);
  EXPECT_EQ(service.concurrency.soft_limit, 1000U);
  ASSERT_EQ(service.ports.size(), 2U);
  EXPECT_EQ(service.ports[0].start, 80);
  EXPECT_EQ(service.ports[0].handlers, (std::vector{Handler::Http}));
  EXPECT_TRUE(service.ports[0].force_https);
  EXPECT_EQ(service.ports[1].start, 443);
  EXPECT_EQ(service.ports[1].handlers, (std::vector{Handler::Tls, Handler::Http}));
  EXPECT_FALSE(service.ports[1].force_https);
  ASSERT_EQ(service.checks.size(), 1U);
  EXPECT_EQ(service.checks[0].name, "servicecheck-00-http-8080");
  EXPECT_EQ(service.checks[0].path, "/api/health");
  EXPECT_EQ(service.checks[0].method, "GET");
  EXPECT_EQ(service.checks[0].timeout, 5s);
  EXPECT_EQ(service.checks[0].grace_period, 10s);
}

TEST(FlyToml, OldFilesWithPortsAsTextAndMillisecondsLoad) {
  NEED_CORPUS();
  const auto tunnel = load_corpus("agrinman__tunnelto");
  ASSERT_EQ(tunnel.services.size(), 2U);
  EXPECT_EQ(tunnel.services[0].ports[0].start, 10001);
  EXPECT_EQ(tunnel.services[0].checks[0].interval, 10s);
  EXPECT_EQ(tunnel.services[0].checks[0].timeout, 20s);
  EXPECT_EQ(tunnel.services[1].checks[0].name, "servicecheck-01-http-8080");
  EXPECT_EQ(tunnel.services[0].concurrency.type, ConcurrencyType::Connections);
  EXPECT_EQ(tunnel.env[0], (std::pair<std::string, std::string>("ALLOWED_HOSTS",
                                                                "t2-svc.fly.dev,2.tunnelto.dev")));
  EXPECT_EQ(tunnel.env[1].second, "10002");
  const auto venture = load_corpus("christhekeele__ex_venture");
  EXPECT_EQ(venture.services[0].checks[0].port, 4000)
      << "Fly never reads a service check's own port";
}

TEST(FlyToml, RawPortsUdpAndTheProxyProtocolKeepTheirHandlers) {
  NEED_CORPUS();
  const auto specter = load_corpus("zllovesuki__specter@8c7e4bd");
  ASSERT_EQ(specter.services.size(), 5U);
  EXPECT_EQ(specter.kill_timeout, 3min);
  EXPECT_EQ(specter.services[0].protocol, Protocol::Udp);
  EXPECT_TRUE(specter.services[0].ports[0].handlers.empty());
  EXPECT_EQ(specter.services[1].ports[0].handlers, (std::vector{Handler::ProxyProto}));
  EXPECT_EQ(specter.services[1].ports[0].proxy_proto_version, "v1");
  EXPECT_EQ(specter.service_for_port(443), &specter.services[1]) << "UDP isn't a route of TCP";
  EXPECT_EQ(specter.service_for_port(1), nullptr);
  const auto echo = load_corpus("fly-apps__udp-echo-");
  EXPECT_EQ(echo.services[0].internal_port, echo.services[1].internal_port);
  EXPECT_FALSE(echo.is_exposed(echo.services[1].ports[0]));
  const auto grpc = load_corpus("fly-apps__grpc-service");
  EXPECT_EQ(grpc.name, "fly-apps__grpc-service");
  EXPECT_EQ(grpc.services[0].ports[0].handlers, (std::vector{Handler::Tls}));
  EXPECT_TRUE(grpc.is_exposed(grpc.services[0].ports[0]));
}

TEST(FlyToml, TopLevelChecksTakeTheServicesPort) {
  NEED_CORPUS();
  const auto gpt = load_corpus("0swin__0swinGPT");
  ASSERT_EQ(gpt.checks.size(), 1U);
  EXPECT_EQ(gpt.checks[0].name, "alive");
  EXPECT_EQ(gpt.checks[0].port, 8080);
  EXPECT_EQ(gpt.checks[0].kind, Check::Kind::Tcp);
  const auto cockroach = load_corpus("fly-apps__cockroachdb");
  EXPECT_EQ(cockroach.checks[0].protocol, "https");
  EXPECT_TRUE(cockroach.checks[0].tls_skip_verify);
  EXPECT_EQ(cockroach.kill_timeout, 5min);
  EXPECT_EQ(cockroach.driver(), DriverKind::None)
      << "a cmd alone is an argument of the image's entrypoint";
  EXPECT_EQ(load_corpus("fly-apps__postgres-ha").checks.size(), 3U);
}

TEST(FlyToml, CommandsAndGroupsDecideTheDriver) {
  NEED_CORPUS();
  const auto ethernal = load_corpus("tryethernal__ethernal");
  ASSERT_EQ(ethernal.processes.size(), 4U);
  EXPECT_EQ(ethernal.processes[0].group, "api") << "no group is called app: the first by name";
  EXPECT_EQ(ethernal.processes[0].command, (std::vector<std::string>{"node", "index.js"}));
  EXPECT_EQ(ethernal.services[0].processes, (std::vector<std::string>{"api"}));
  EXPECT_EQ(ethernal.services[0].autostop, Autostop::Stop);
  EXPECT_EQ(ethernal.driver(), DriverKind::Process);
  const auto stack = load_corpus("remix-run__indie-stack");
  EXPECT_EQ(stack.processes[0].command, (std::vector<std::string>{"sh", "start.sh"}));
  EXPECT_EQ(load_corpus("drdray1__fly-minecraft-server").driver(), DriverKind::Docker);
  EXPECT_EQ(load_corpus("fly-apps__ublk-app").driver(), DriverKind::None);
  EXPECT_EQ(load_corpus("0bs-chat__doc_processor").services[0].autostop, Autostop::Suspend);
  EXPECT_EQ(load_corpus("openstatusHQ__openstatus").services[0].concurrency.type,
            ConcurrencyType::Requests);
  EXPECT_EQ(load_corpus("021327__kadai-tasklist").statics[0].url_prefix, "/");
}

}  // namespace
}  // namespace rooster::config
