#include "proxy/port_plans.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace rooster::proxy {
namespace {

using config::Handler;

config::AppConfig app_with(std::vector<config::Port> ports, std::optional<bool> is_public = true) {
  config::AppConfig app;
  app.rooster.is_public = is_public;
  config::Service service;
  service.ports = std::move(ports);
  app.services = {service};
  return app;
}

config::Port port(std::uint16_t number, std::vector<Handler> handlers = {}) {
  config::Port made;
  made.start = made.end = number;
  made.handlers = std::move(handlers);
  return made;
}

config::Port range(std::uint16_t start, std::uint16_t end) {
  config::Port made = port(start);
  made.end = end;
  return made;
}

TEST(PortPlans, CountsTheAppsOfAPortByKind) {
  PortPlans plans;
  const auto one = app_with({port(6379, {Handler::Tls}), port(80, {Handler::Http})});
  const auto other = app_with({port(6379, {Handler::Tls}), port(5432, {Handler::PgTls})});
  plans.adopt(AppId{3}, nullptr, &one);
  EXPECT_EQ(plans.at(6379).only(), AppId{3});
  plans.adopt(AppId{7}, nullptr, &other);
  EXPECT_EQ(plans.at(6379).count(PortKind::Tls), 2u);
  EXPECT_FALSE(plans.at(6379).only());
  EXPECT_EQ(plans.at(5432).only(), AppId{7});
  EXPECT_EQ(plans.at(80).http(), 1u);
  EXPECT_EQ(plans.at(80).others(), 0u);
  plans.adopt(AppId{3}, &one, nullptr);
  EXPECT_EQ(plans.at(6379).only(), AppId{7});
  EXPECT_EQ(plans.at(80).http(), 0u);
  plans.adopt(AppId{7}, &other, nullptr);
  EXPECT_EQ(plans.at(6379).others(), 0u);
}

TEST(PortPlans, WhatIsPrivateIsNotThere) {
  PortPlans plans;
  const auto app = app_with({port(5432), port(5433, {Handler::PgTls}), port(6380, {Handler::Tls})},
                            std::nullopt);
  plans.adopt(AppId{1}, nullptr, &app);
  EXPECT_EQ(plans.at(5432).others(), 0u);
  EXPECT_EQ(plans.at(5433).others(), 0u);
  EXPECT_EQ(plans.at(6380).only(), AppId{1});
  EXPECT_EQ(exposed_port(app, 5432).port, nullptr);
  EXPECT_NE(exposed_port(app, 6380).port, nullptr);
}

TEST(PortPlans, KnowsRangesAndTheirEnds) {
  PortPlans plans;
  const auto app = app_with({range(7000, 7003)});
  plans.adopt(AppId{5}, nullptr, &app);
  EXPECT_EQ(plans.at(6999).others(), 0u);
  EXPECT_EQ(plans.at(7000).only(), AppId{5});
  EXPECT_EQ(plans.at(7003).only(), AppId{5});
  EXPECT_EQ(plans.at(7004).others(), 0u);
  plans.adopt(AppId{5}, &app, nullptr);
  EXPECT_EQ(plans.at(7001).others(), 0u);
}

TEST(PortPlans, APortThatTwoServicesClaimCountsOnce) {
  PortPlans plans;
  auto app = app_with({port(9000)});
  app.services.push_back(app.services.front());
  plans.adopt(AppId{2}, nullptr, &app);
  EXPECT_EQ(plans.at(9000).others(), 1u);
  plans.adopt(AppId{2}, &app, nullptr);
  EXPECT_EQ(plans.at(9000).others(), 0u);
}

TEST(PortPlans, HandlersSayTheKind) {
  EXPECT_EQ(kind_of(port(1)), PortKind::Raw);
  EXPECT_EQ(kind_of(port(1, {Handler::ProxyProto})), PortKind::Raw);
  EXPECT_EQ(kind_of(port(1, {Handler::Tls, Handler::ProxyProto})), PortKind::Tls);
  EXPECT_EQ(kind_of(port(1, {Handler::Http, Handler::Tls})), PortKind::TlsHttp);
  EXPECT_EQ(kind_of(port(1, {Handler::Http})), PortKind::Http);
  EXPECT_EQ(kind_of(port(1, {Handler::PgTls})), PortKind::PgTls);
}

}  // namespace
}  // namespace rooster::proxy
