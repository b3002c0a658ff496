#include "config/public_ports.hpp"

#include "core/limits.hpp"

#include <map>
#include <utility>

namespace rooster::config {
namespace {

constexpr std::uint16_t kHttp = 80;
constexpr std::uint16_t kHttps = 443;

template <class Visit>
void visit_exposed(const ConfigSet& set, Visit visit) {
  for (const auto& app : set.apps) {
    for (const Service& service : app->services) {
      if (service.protocol != Protocol::Tcp) continue;
      for (const Port& port : service.ports) {
        if (app->is_exposed(port)) visit(*app, port);
      }
    }
  }
}

}  // namespace

PublicPorts public_tcp_ports(const ConfigSet& set) {
  std::map<std::uint16_t, PublicPort> wanted;
  PublicPorts result;
  const auto want = [&](std::uint32_t number, const AppConfig& app, bool of_range) {
    const auto port = static_cast<std::uint16_t>(number);
    if (port == 0 || port == kHttp || port == kHttps || wanted.contains(port)) return;
    if (wanted.size() == limits::kMaxServicePorts) {
      ++result.left_out;
    } else {
      wanted.emplace(port, PublicPort{port, app.name, of_range});
    }
  };
  visit_exposed(set, [&](const AppConfig& app, const Port& port) {
    if (port.start == port.end) want(port.start, app, false);
  });
  visit_exposed(set, [&](const AppConfig& app, const Port& port) {
    for (std::uint32_t one = port.start; one <= port.end && port.start != port.end; ++one) {
      want(one, app, true);
    }
  });
  result.ports.reserve(wanted.size());
  for (auto& [number, port] : wanted) result.ports.push_back(std::move(port));
  return result;
}

}  // namespace rooster::config
