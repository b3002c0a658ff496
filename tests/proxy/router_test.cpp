// Host and port to app: names, wildcards, deltas, hostile hosts.
#include "proxy/router.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace rooster::proxy {
namespace {

using config::AppConfig;
using config::Handler;

config::Port port_of(std::uint16_t start, std::vector<Handler> handlers) {
  config::Port port;
  port.start = port.end = start;
  port.handlers = std::move(handlers);
  return port;
}

std::shared_ptr<AppConfig> app_of(std::string name, std::vector<std::string> hostnames = {}) {
  auto app = std::make_shared<AppConfig>();
  app->name = std::move(name);
  app->rooster.hostnames = std::move(hostnames);
  auto& service = app->services.emplace_back();
  service.ports = {port_of(80, {Handler::Http}), port_of(443, {Handler::Tls, Handler::Http})};
  return app;
}

/// The number of the app that `host` leads to on port 443; -1: none; -2: no host name at all.
int owner(const Router& router, std::string_view host) {
  const auto route = router.match(host, 443);
  if (route) return static_cast<int>(route->app.value);
  return route.error().fault == Fault::NoRoute ? -1 : -2;
}

TEST(Router, FindsAnAppByItsNameInTheDomain) {
  Router router("app.dev");
  router.adopt(AppId{7}, app_of("hello"));
  const auto route = router.match("hello.app.dev", 443);
  ASSERT_TRUE(route);
  EXPECT_EQ(route->app, AppId{7});
  EXPECT_EQ(route->port->start, 443);
  EXPECT_EQ(router.match("hello.app.dev", 80)->port->start, 80);
}

TEST(Router, ReadsOneNameInEverySpelling) {
  Router router("app.dev");
  router.adopt(AppId{1}, app_of("hello", {"10.0.0.5", "2001:db8::1", "xn--bcher-kva.example"}));
  for (const auto* host : {"HELLO.app.DEV", "hello.app.dev.", "hello.app.dev:443",
                           "Hello.App.Dev.:1", "hello.app.dev:65535", "10.0.0.5", "10.0.0.5:80",
                           "[2001:db8::1]", "[2001:DB8:0:0::1]:443", "XN--BCHER-KVA.example"}) {
    EXPECT_EQ(owner(router, host), 1) << host;
  }
}

TEST(Router, RefusesWhatIsNoHostName) {
  Router router("app.dev");
  router.adopt(AppId{1}, app_of("hello"));
  const std::string long_label(64, 'a');
  std::string long_name;
  for (int i = 0; i < 130; ++i) long_name += "a.";
  for (const std::string& host : {std::string(),
                                  std::string("."),
                                  std::string("hello.app.dev.."),
                                  std::string("hello..app.dev"),
                                  std::string(".hello.app.dev"),
                                  std::string("hello.app.dev:"),
                                  std::string("hello.app.dev:0"),
                                  std::string("hello.app.dev:65536"),
                                  std::string("hello.app.dev:99999999999999999999"),
                                  std::string("hello.app.dev:443:443"),
                                  std::string("hello.app.dev:+1"),
                                  std::string("hello.app.dev:4 3"),
                                  std::string("hello .app.dev"),
                                  std::string("hello.app.dev\t"),
                                  std::string("h\xC3\xA9llo.app.dev"),
                                  std::string("hello\0.app.dev", 14),
                                  std::string("hello.app.dev/"),
                                  std::string("user@hello.app.dev"),
                                  std::string("*.app.dev"),
                                  std::string("hello.app.dev,evil.dev"),
                                  std::string("-hello.app.dev"),
                                  std::string("[::1"),
                                  std::string("[::1]x"),
                                  std::string("[::1]:"),
                                  std::string("[]"),
                                  std::string("[1.2.3.4]"),
                                  std::string("[fe80::1%25eth0]"),
                                  std::string("::1"),
                                  std::string("1.2.3"),
                                  std::string("010.0.0.1"),
                                  std::string("1.2.3.256"),
                                  std::string("0x7f.1"),
                                  long_label + ".app.dev",
                                  long_name,
                                  std::string(100'000, 'a'),
                                  std::string(100'000, '.')}) {
    EXPECT_EQ(owner(router, host), -2) << host.substr(0, 80);
  }
}

TEST(Router, AnUnknownNameHasNoRoute) {
  Router router("app.dev");
  router.adopt(AppId{1}, app_of("hello"));
  for (const auto* host : {"app.dev", "x.hello.app.dev", "hello.app.dev.evil.dev", "hello",
                           "1.2.3.4", "[::1]", "under_score.app.dev", "hello.app.de"}) {
    EXPECT_EQ(owner(router, host), -1) << host;
  }
}

TEST(Router, TheExactNameBeatsTheWildcardAndTheLongerWildcardTheShorter) {
  Router router("app.dev");
  router.adopt(AppId{1}, app_of("wide", {"*.example.com"}));
  router.adopt(AppId{2}, app_of("deep", {"*.eu.example.com"}));
  router.adopt(AppId{3}, app_of("exact", {"shop.example.com"}));
  EXPECT_EQ(owner(router, "a.example.com"), 1);
  EXPECT_EQ(owner(router, "a.b.example.com"), 1);
  EXPECT_EQ(owner(router, "a.eu.example.com"), 2);
  EXPECT_EQ(owner(router, "eu.example.com"), 1);
  EXPECT_EQ(owner(router, "shop.example.com"), 3);
  EXPECT_EQ(owner(router, "example.com"), -1);
  EXPECT_EQ(owner(router, "badexample.com"), -1);
}

TEST(Router, AnAddressIsNeverMatchedByAWildcardOfItsDigits) {
  Router router("app.dev");
  router.adopt(AppId{1}, app_of("hello", {"*.example.com"}));
  EXPECT_EQ(owner(router, "10.0.0.5"), -1);
}

TEST(Router, NamesMoveBetweenAppsInAnyOrderOfDeltas) {
  Router router("app.dev");
  router.adopt(AppId{1}, app_of("one", {"x.com", "*.x.com"}));
  router.adopt(AppId{2}, app_of("two", {"y.com"}));
  // The two swap their names.
  router.adopt(AppId{1}, app_of("one", {"y.com"}));
  router.adopt(AppId{2}, app_of("two", {"x.com", "*.x.com"}));
  EXPECT_EQ(owner(router, "x.com"), 2);
  EXPECT_EQ(owner(router, "y.com"), 1);
  EXPECT_EQ(owner(router, "a.x.com"), 2);
  router.remove(AppId{1});
  EXPECT_EQ(owner(router, "y.com"), -1);
  EXPECT_EQ(owner(router, "one.app.dev"), -1);
  EXPECT_EQ(owner(router, "x.com"), 2);
  router.remove(AppId{1});
  EXPECT_EQ(router.size(), 1U);
}

TEST(Router, ARouteLeadsIntoTheConfigAdoptedLast) {
  Router router("app.dev");
  router.adopt(AppId{1}, app_of("hello"));
  const auto next = app_of("hello");
  next->services[0].internal_port = 9000;
  router.adopt(AppId{1}, next);
  EXPECT_EQ(router.match("hello.app.dev", 443)->service, next->services.data());
}

TEST(Router, OnlyPublicPortsThatSpeakHttpAreRoutes) {
  Router router("app.dev");
  const auto app = app_of("mixed");
  app->services[0].ports = {port_of(80, {}), port_of(443, {Handler::Tls}),
                            port_of(8080, {Handler::Http})};
  router.adopt(AppId{1}, app);
  EXPECT_EQ(router.match("mixed.app.dev", 80).error().fault, Fault::NoRoute);
  EXPECT_EQ(router.match("mixed.app.dev", 443).error().fault, Fault::NoRoute);
  EXPECT_TRUE(router.match("mixed.app.dev", 8080));
  const auto hidden = app_of("hidden");
  hidden->rooster.is_public = false;
  router.adopt(AppId{2}, hidden);
  EXPECT_EQ(owner(router, "hidden.app.dev"), -1);
  EXPECT_EQ(router.find_app("hidden.app.dev"), AppId{2});
}

TEST(Router, ARequestWithoutHostGoesToTheOnlyApp) {
  Router router("app.dev");
  EXPECT_EQ(router.match_without_host(80).error().fault, Fault::BadHost);
  router.adopt(AppId{5}, app_of("only"));
  EXPECT_EQ(router.match_without_host(80)->app, AppId{5});
  router.adopt(AppId{6}, app_of("second"));
  EXPECT_EQ(router.match_without_host(80).error().fault, Fault::BadHost);
}

TEST(Router, ANewDomainRenamesEveryApp) {
  Router router("app.dev");
  router.adopt(AppId{1}, app_of("hello", {"x.com"}));
  router.set_domain("other.dev");
  EXPECT_EQ(owner(router, "hello.app.dev"), -1);
  EXPECT_EQ(owner(router, "hello.other.dev"), 1);
  EXPECT_EQ(owner(router, "x.com"), 1);
}

TEST(Router, HoldsAHundredThousandApps) {
  Router router("app.dev");
  const auto shared = app_of("any");
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    auto app = std::make_shared<AppConfig>(*shared);
    app->name = "app-" + std::to_string(i);
    router.adopt(AppId{i}, std::move(app));
  }
  EXPECT_EQ(owner(router, "app-0.app.dev"), 0);
  EXPECT_EQ(owner(router, "app-99999.app.dev"), 99'999);
  EXPECT_EQ(owner(router, "app-100000.app.dev"), -1);
}

}  // namespace
}  // namespace rooster::proxy
