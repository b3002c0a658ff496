#include "config/public_ports.hpp"

#include "core/limits.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace rooster::config {
namespace {

std::shared_ptr<AppConfig> app_with(const char* name, std::vector<Port> ports) {
  auto app = std::make_shared<AppConfig>();
  app->name = name;
  Service service;
  service.ports = std::move(ports);
  app->services = {service};
  return app;
}

Port port(std::uint16_t start, std::uint16_t end, std::vector<Handler> handlers = {}) {
  Port made;
  made.start = start;
  made.end = end;
  made.handlers = std::move(handlers);
  return made;
}

TEST(PublicPorts, AreThoseThatAreExposedEachOnce) {
  ConfigSet set;
  set.apps = {app_with("a", {port(80, 80, {Handler::Http}), port(8443, 8443, {Handler::Tls}),
                             port(5432, 5432)}),
              app_with("b", {port(8443, 8443, {Handler::Tls}), port(443, 443, {Handler::Tls})})};
  EXPECT_EQ(public_tcp_ports(set).ports, (std::vector<PublicPort>{{8443, "a", false}}));
  auto open = app_with("c", {port(5432, 5432), port(7000, 7001)});
  open->rooster.is_public = true;
  set.apps.push_back(open);
  EXPECT_EQ(public_tcp_ports(set).ports,
            (std::vector<PublicPort>{
                {5432, "c", false}, {7000, "c", true}, {7001, "c", true}, {8443, "a", false}}));
}

TEST(PublicPorts, UdpIsNotAmongThem) {
  ConfigSet set;
  auto app = app_with("a", {port(53, 53)});
  app->rooster.is_public = true;
  app->services.front().protocol = Protocol::Udp;
  set.apps = {app};
  EXPECT_TRUE(public_tcp_ports(set).ports.empty());
}

TEST(PublicPorts, AreBoundedAndSingleOnesComeFirst) {
  ConfigSet set;
  auto wide = app_with("wide", {port(1, 65535)});
  wide->rooster.is_public = true;
  set.apps = {wide, app_with("b", {port(40000, 40000, {Handler::Tls})})};
  const PublicPorts ports = public_tcp_ports(set);
  EXPECT_EQ(ports.ports.size(), limits::kMaxServicePorts);
  EXPECT_EQ(ports.ports.back(), (PublicPort{40000, "b", false}));
  EXPECT_EQ(ports.left_out, 65535 - 2 - limits::kMaxServicePorts);
}

}  // namespace
}  // namespace rooster::config
