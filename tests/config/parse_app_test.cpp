// Types, defaults and coercions of fly.toml; the traps that real files hold, in texts of our own.
#include "config/parse_app.hpp"

#include "tests/config/shared.hpp"

namespace rooster::config {
namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

bool mentions(const Texts& warnings, std::string_view what) {
  return std::ranges::any_of(warnings,
                             [&](const auto& one) { return one.find(what) != std::string::npos; });
}

TEST(ParseApp, AnEmptyFileIsAnAppWithEveryDefault) {
  Texts warnings;
  const auto app = app_of("", &warnings);
  EXPECT_EQ(app.name, "hello");
  EXPECT_EQ(app.primary_region, "gru");
  EXPECT_EQ(app.kill_signal, "SIGINT");
  EXPECT_EQ(app.kill_timeout, 5s);
  EXPECT_EQ(app.processes, (std::vector{Process{"app", {}}}));
  EXPECT_TRUE(app.services.empty());
  EXPECT_EQ(app.rooster.directory, "/srv/apps");
  EXPECT_EQ(app.rooster.machines, (std::map<std::string, std::uint32_t>{{"gru", 1}}));
  EXPECT_EQ(app.rooster.idle_timeout, 5min);
  EXPECT_EQ(app.rooster.wake_timeout, 60s);
  EXPECT_TRUE(mentions(warnings, "no name; \"hello\" is used"));
  EXPECT_TRUE(mentions(warnings, "nothing can start this app"));
}

TEST(ParseApp, AServicesDefaultsAreFlys) {
  const auto app = app_of("app = 'x'\n[http_service]\n");
  const Service& service = app.services.at(0);
  EXPECT_EQ(service.internal_port, 8080);
  EXPECT_EQ(service.autostop, Autostop::Off);
  EXPECT_TRUE(service.autostart);
  EXPECT_EQ(service.min_machines_running, 0U);
  EXPECT_EQ(service.concurrency, Concurrency{});
  EXPECT_EQ(service.processes, Texts{"app"});
  EXPECT_FALSE(service.ports.at(0).force_https);
}

// Trap group 1
TEST(ParseApp, PortsMayBeTextAndNumbersMayHaveUnderscores) {
  const auto app = app_of(R"(
[[services]]
internal_port = 8_080
[[services.ports]]
port = "80"
[[services.tcp_checks]]
interval = 10_000
[[services]]
internal_port = "9000"
[[services.ports]]
port = 81
)");
  EXPECT_EQ(app.services.at(0).internal_port, 8080);
  EXPECT_EQ(app.services.at(0).ports.at(0).start, 80);
  EXPECT_EQ(app.services.at(0).checks.at(0).interval, 10s);
  EXPECT_EQ(app.services.at(1).internal_port, 9000);
}

// 2
TEST(ParseApp, EmptyListsAreNoProcessesAndNoServices) {
  const auto app = app_of("app='x'\nprocesses = []\nservices = []\n");
  EXPECT_TRUE(app.services.empty());
  const auto with = app_of(
      "app='x'\nprocesses = []\n[[services]]\nprocesses = ['app']\n[[services.ports]]\nport = "
      "80\n");
  EXPECT_EQ(with.services.at(0).processes, Texts{"app"});
}

// 3
TEST(ParseApp, ConcurrencyHasDefaultsAndAnOlderForm) {
  const auto at = [](std::string_view line) {
    return app_of("[[services]]\ninternal_port = 1\n" + std::string(line) + "\n")
        .services.at(0)
        .concurrency;
  };
  EXPECT_EQ(at("[services.concurrency]"), Concurrency{});
  EXPECT_EQ(at("concurrency = { soft_limit = 3, hard_limit = 9 }"),
            (Concurrency{ConcurrencyType::Connections, 3, 9}));
  EXPECT_EQ(at("concurrency = '12,23'"), (Concurrency{ConcurrencyType::Requests, 12, 23}));
  EXPECT_EQ(at("concurrency = { hard_limit = 4 }"),
            (Concurrency{ConcurrencyType::Connections, 4, 4}));
}

// 4 and 5
TEST(ParseApp, HandlersMayBeAbsentEmptyOrOneAlone) {
  const auto app = app_of(R"(
[[services]]
[[services.ports]]
port = 80
[[services.ports]]
port = 443
handlers = []
[[services.ports]]
port = 8443
handlers = ["tcp"]
[[services.ports]]
port = 5432
handlers = ["pg_tls"]
[[services.ports]]
port = 8080
handlers = ["http"]
force_https = true
[[services.ports]]
port = 25
handlers = ["tls", "proxy_proto"]
proxy_proto_options = { version = "v2" }
[[services]]
protocol = "udp"
internal_port = 0
[[services.ports]]
start_port = 49152
[[services.ports]]
end_port = 100
)");
  const auto& ports = app.services.at(0).ports;
  for (const std::size_t raw : {0U, 1U, 2U}) EXPECT_TRUE(ports.at(raw).handlers.empty());
  EXPECT_TRUE(ports.at(3).has(Handler::PgTls));
  EXPECT_TRUE(ports.at(4).force_https);
  EXPECT_EQ(ports.at(5).proxy_proto_version, "v2");
  const auto& range = app.services.at(1);
  EXPECT_EQ(range.internal_port, 0);
  EXPECT_EQ(range.ports.at(0).start, 49152);
  EXPECT_EQ(range.ports.at(0).end, 65535);
  EXPECT_EQ(range.ports.at(1).start, 1);
  EXPECT_EQ(range.ports.at(1).end, 100);
}

// 6
TEST(ParseApp, CheckHeadersComeAsAMapOrAList) {
  const auto app = app_of(R"(
[[services]]
http_checks = []
script_checks = []
[[services]]
internal_port = 1
[[services.http_checks]]
restart_limit = 6
headers = { Host = "x.com", X-Number = 7, X-Yes = true }
[[services.http_checks]]
grace_period = ""
[services.http_checks.headers]
[[services.http_checks]]
headers = [{ name = "A", value = "b" }]
)");
  const auto& checks = app.services.at(1).checks;
  using Headers = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(checks.at(0).headers,
            (Headers{{"Host", "x.com"}, {"X-Number", "7"}, {"X-Yes", "true"}}));
  EXPECT_TRUE(checks.at(1).headers.empty());
  EXPECT_EQ(checks.at(1).grace_period, 1s);
  EXPECT_EQ(checks.at(2).headers, (Headers{{"A", "b"}}));
}

// 7
TEST(ParseApp, TopLevelChecksMayOmitTheirPortAndScriptsAreLeftOut) {
  Texts warnings;
  const auto app = app_of(R"(
[http_service]
internal_port = 3000
[checks.up]
type = "http"
path = "health"
[checks.old]
type = "script"
command = "x"
)",
                          &warnings);
  ASSERT_EQ(app.checks.size(), 1U);
  EXPECT_EQ(app.checks[0].port, 3000);
  EXPECT_EQ(app.checks[0].path, "/health");
  EXPECT_TRUE(mentions(warnings, "script checks are not run"));
  const auto list = app_of("[[checks]]\nname = 'a'\ntype = 'tcp'\nport = '90'\n");
  EXPECT_EQ(list.checks.at(0).name, "a");
  EXPECT_EQ(list.checks.at(0).port, 90);
}

TEST(ParseApp, ServiceCheckTimesAreBroughtIntoFlysBounds) {
  Texts warnings;
  const auto app = app_of(
      "[http_service]\n[[http_service.checks]]\ninterval = 100\ntimeout = '2m'\n", &warnings);
  EXPECT_EQ(app.services.at(0).checks.at(0).interval, 1s);
  EXPECT_EQ(app.services.at(0).checks.at(0).timeout, 60s);
  EXPECT_TRUE(mentions(warnings, "http_service.checks[0].interval: 100ms is raised to 1s"));
  EXPECT_TRUE(mentions(warnings, "lowered to 1m"));
}

// 8
TEST(ParseApp, MountsAndTimeoutsComeInManyForms) {
  for (const auto* text :
       {"[mount]\nsource='a'\ndestination='/a'", "[mounts]\nsource='a'\ndestination='/a'",
        "[[mounts]]\nsource='a'\ndestination='/a'\nprocesses=['app']",
        "[deploy]\nmax_unavailable = 1.0\nwait_timeout = '10m'"}) {
    app_of(text);
  }
  EXPECT_EQ(app_of("kill_timeout = 5").kill_timeout, 5s);
  EXPECT_EQ(app_of("kill_timeout = 300").kill_timeout, 300s);
  EXPECT_EQ(app_of("kill_timeout = '5s'").kill_timeout, 5s);
  EXPECT_EQ(app_of("kill_timeout = '3m0s'").kill_timeout, 3min);
  Texts warnings;
  EXPECT_EQ(app_of("kill_timeout = '1h'", &warnings).kill_timeout, 5min);
  EXPECT_TRUE(mentions(warnings, "cut to \"5m\""));
}

// 9
TEST(ParseApp, ANameThatCannotBeAHostNameComesFromTheFile) {
  for (const auto* text : {"app = ''", "app = '{APP_NAME}'", "[build]",
                           "[experimental]\nprivate_network=true", "app = 'a.b'", "app = '-x'"}) {
    EXPECT_EQ(app_of(text).name, "hello") << text;
  }
  EXPECT_EQ(app_of("app = 'My_App'").name, "my_app");
  EXPECT_EQ(parse_app("", "/x/Zoë & Co@2.toml").app->name, "zo-----co-2");
  EXPECT_EQ(parse_app("", "/x/@.toml").app->name, "app");
}

// 10
TEST(ParseApp, WhatOnlyThePlatformReadsMayHaveAnyType) {
  Texts warnings;
  const auto app = app_of(R"(
[experimental]
private_network = "true"
cmd = "start.sh"
[[mounts]]
encrypted = true
[http_service]
max_machines_running = 3
)",
                          &warnings);
  EXPECT_TRUE(app.processes.at(0).command.empty());
  EXPECT_TRUE(mentions(
      warnings,
      "http_service.max_machines_running: unknown key; did you mean \"min_machines_running\"?"));
  EXPECT_TRUE(mentions(warnings, "mounts[0].encrypted: unknown key"));
  EXPECT_EQ(app_of("[experimental]\nexec = ['a', 'b c']").processes.at(0).command,
            (Texts{"a", "b c"}));
}

// 11
TEST(ParseApp, AutostopIsABooleanOrAWord) {
  const auto at = [](std::string_view value) {
    return app_of("[http_service]\nauto_stop_machines = " + std::string(value))
        .services.at(0)
        .autostop;
  };
  EXPECT_EQ(at("true"), Autostop::Stop);
  EXPECT_EQ(at("'stop'"), Autostop::Stop);
  EXPECT_EQ(at("false"), Autostop::Off);
  EXPECT_EQ(at("\"off\""), Autostop::Off);
  EXPECT_EQ(at("'suspend'"), Autostop::Suspend);
}

// 12
TEST(ParseApp, ChecksOverTlsAndStaticsAtTheRootLoad) {
  const auto app = app_of(R"(
[[statics]]
guest_path = "/app/public"
url_prefix = "/"
[[vm]]
memory = "1gb"
memory_mb = 1024
[http_service]
[[http_service.checks]]
protocol = "https"
tls_skip_verify = true
tls_server_name = "x.com"
headers = { Host = "x.com" }
)");
  const Check& check = app.services.at(0).checks.at(0);
  EXPECT_EQ(check.protocol, "https");
  EXPECT_TRUE(check.tls_skip_verify);
  EXPECT_EQ(check.tls_server_name, "x.com");
  EXPECT_EQ(app.statics.at(0).guest_path, "/app/public");
}

// 13
TEST(ParseApp, WindowsLineEndsLongTextsAndCommentsInAnyAlphabetLoad) {
  const auto app = app_of(
      "# przekazywane — ż\r\napp = 'x'\r\n[env]\r\nTEXT = '''\r\nline ü\r\n'''\r\nEND = \"é\" # ż");
  EXPECT_EQ(app.name, "x");
  EXPECT_EQ(app.env.at(0).second, "line ü\n");
  EXPECT_EQ(app.env.at(1).second, "é");
}

TEST(ParseApp, EnvironmentValuesBecomeText) {
  const auto app = app_of("[env]\nA = 1\nB = true\nC = 1.5\nD = ''\n");
  using Env = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(app.env, (Env{{"A", "1"}, {"B", "true"}, {"C", "1.5"}, {"D", ""}}));
  EXPECT_EQ(app_of("env = [{A = 1}, {B = 2}]").env.size(), 2U);
}

TEST(ParseApp, ProcessesComeAsAMapOrAList) {
  const auto map = app_of("[processes]\nweb = \"a 'b c'\"\napp = \"x\"\n");
  EXPECT_EQ(map.processes, (std::vector{Process{"app", {"x"}}, Process{"web", {"a", "b c"}}}));
  const auto list = app_of("[[processes]]\nname = 'web'\ncommand = 'y z'\n");
  EXPECT_EQ(list.processes, (std::vector{Process{"web", {"y", "z"}}}));
}

TEST(ParseApp, HttpOptionsAreKept) {
  const auto app = app_of(R"(
[http_service]
[http_service.http_options]
compress = true
h2_backend = true
idle_timeout = 60
headers_read_timeout = 15
[http_service.http_options.response]
pristine = true
[http_service.http_options.response.headers]
Server = false
X-One = "1"
X-Many = ["a", "b"]
[[http_service.http_options.replay_cache]]
path_prefix = "/"
ttl_seconds = 30
type = "cookie"
name = "s"
[http_service.tls_options]
alpn = ["h2"]
versions = ["TLSv1.3"]
default_self_signed = true
)");
  const Port& port = app.services.at(0).ports.at(1);
  EXPECT_EQ(port.http_options, app.services.at(0).ports.at(0).http_options);
  EXPECT_TRUE(port.http_options.h2_backend && port.http_options.pristine);
  EXPECT_EQ(port.http_options.idle_timeout, 60s);
  EXPECT_EQ(port.http_options.headers_read_timeout, 15s);
  const std::vector<HeaderRule> rules{
      {"Server", {}}, {"X-One", Texts{"1"}}, {"X-Many", Texts{"a", "b"}}};
  EXPECT_EQ(port.http_options.response_headers, rules);
  EXPECT_EQ(port.http_options.replay_cache.at(0).ttl, 30s);
  EXPECT_EQ(port.tls_options, (TlsOptions{{"h2"}, {"TLSv1.3"}, true}));
}

TEST(ParseApp, TheRoosterTableIsReadWhole) {
  const auto app = app_of(R"(
primary_region = "iad"
[rooster]
driver = "process"
directory = "../code"
user = "nobody"
hostnames = ["Example.COM.", "*.example.org"]
machines = { gru = 2, iad = 1 }
min_machines = { gru = 1 }
max_machines = { gru = 2 }
network = "blue"
public = false
idle_timeout = "30m"
wake_timeout = 90
tunnel_idle = "1h"
half_close = true
notify = true
affinity = { cookie = "at" }
[rooster.wake]
allow_paths = ["/api/*"]
allow_methods = ["get"]
deny_user_agents = ["*bot*"]
deny_ranges = ["10.0.0.0/8", "fe80::/10"]
)");
  const RoosterTable& own = app.rooster;
  EXPECT_EQ(own.driver, DriverKind::Process);
  EXPECT_EQ(own.directory, "/srv/code");
  EXPECT_EQ(own.hostnames, (Texts{"example.com", "*.example.org"}));
  EXPECT_EQ(own.machines.at("gru"), 2U);
  EXPECT_EQ(app.min_machines_in("gru"), 1U);
  EXPECT_EQ(app.min_machines_in("iad"), 0U);
  EXPECT_EQ(own.is_public, false);
  EXPECT_EQ(own.idle_timeout, 30min);
  EXPECT_EQ(own.wake_timeout, 90s);
  EXPECT_EQ(own.tunnel_idle, 1h);
  EXPECT_TRUE(own.half_close && own.notify);
  EXPECT_EQ(own.affinity, (Affinity{Affinity::Kind::Cookie, "at"}));
  EXPECT_EQ(own.wake.allow_methods, Texts{"GET"});
  EXPECT_TRUE(own.wake.has_request_rule());
}

TEST(ParseApp, AnAddressMakesTheAddressDriver) {
  const auto app = app_of("[rooster]\naddress = '10.0.0.5'\n[http_service]\n");
  EXPECT_EQ(app.driver(), DriverKind::Address);
}

struct Contradiction {
  const char* text;
  const char* warning;
};

TEST(ParseApp, ContradictionsAreWarnings) {
  for (const auto& [text, warning] : {
           Contradiction{"[http_service]\nauto_stop_machines = true\nauto_start_machines = false",
                         "http_service.auto_start_machines: machines stop by themselves and "
                         "nothing starts them"},
           {"[http_service]\nconcurrency = { soft_limit = 9, hard_limit = 5 }",
            "hard_limit 5 is below soft_limit 9"},
           {"[[services]]\n[[services.ports]]\nport = 80\nhandlers = ['http']\nforce_https = true",
            "services[0].force_https: redirects to https, which no port serves"},
           {"[[services]]\n[[services.ports]]\nport = 443\nhandlers = ['tls']\nforce_https = true",
            "services[0].ports[0].force_https: has no effect without the http handler"},
           {"[[services]]\ninternal_port = 1", "services[0].ports: no port leads to this service"},
           {"[http_service]\n[[services]]\n[[services.ports]]\nport = 443",
            "services[0].ports: port 443 is http_service's already"},
           {"[rooster]\nmin_machines = { iad = 1 }",
            "rooster.min_machines.iad: no machine is in \"iad\""},
           {"[rooster]\nmachines = { gru = 1 }\nmin_machines = { gru = 2 }",
            "2 of 1 machines can't run"},
           {"[rooster]\ndriver = 'process'", "the process driver has no command"},
           {"[processes]\na = 'x'\nb = 'y'\n[http_service]",
            "several process groups and none is named; \"a\" is used"},
           {"[processes]\napp = 'cd /x && run'",
            "no shell reads this, so \"&&\" is passed on as a word"},
           {"[http_service]\n[services.concurrency]\nsoft_limit = 1",
            "services.concurrency: has no effect: no [[services]] here; it belongs under "
            "[http_service.concurrency]"},
           {"[http_service]\nsoft_limit = 1", "it belongs under [http_service.concurrency]"},
           {"internal_port = 1",
            "internal_port: unknown key here; it belongs under [http_service]"},
           {"[[services]]\nprotocol = 'udp'\n[[services.ports]]\nport = 53\nhandlers = ['tls']",
            "UDP has no handlers"},
       }) {
    Texts warnings;
    app_of(text, &warnings);
    EXPECT_TRUE(mentions(warnings, warning)) << text << "\n" << testing::PrintToString(warnings);
  }
}

TEST(ParseApp, ANetworksNameIsALetterAndWhatFollows) {
  EXPECT_EQ(app_of("[rooster]\nnetwork = 'Staging-2'").rooster.network, "Staging-2");
  for (const char* name : {"2", "-a", "a_b", "a.b", ""}) {
    const auto parsed = parse_app("[rooster]\nnetwork = '" + std::string(name) + "'", "/a.toml");
    EXPECT_FALSE(parsed.app) << name;
    EXPECT_TRUE(all_rendered(parsed.diagnostics).find(":2:11: rooster.network: a network's name") !=
                std::string::npos)
        << all_rendered(parsed.diagnostics);
  }
}

TEST(ParseApp, AFileWithoutContradictionsHasNoWarnings) {
  Texts warnings;
  app_of(R"(
app = "fastzero"
primary_region = "gru"
[processes]
  app = "uvicorn fast_zero.app:app --host 0.0.0.0 --port 8000"
[http_service]
  internal_port = 8000
  force_https = true
  auto_stop_machines = "stop"
  auto_start_machines = true
  min_machines_running = 0
[rooster]
  driver = "process"
  machines = { gru = 2, iad = 1 }
)",
         &warnings);
  EXPECT_TRUE(warnings.empty()) << testing::PrintToString(warnings);
}

}  // namespace
}  // namespace rooster::config
