#include "config/app_config.hpp"

#include <algorithm>

namespace rooster::config {

bool Port::has(Handler handler) const {
  return std::ranges::find(handlers, handler) != handlers.end();
}

bool WakePolicy::has_request_rule() const {
  return !allow_paths.empty() || !deny_paths.empty() || !allow_methods.empty() ||
         !deny_user_agents.empty();
}

DriverKind AppConfig::driver() const {
  if (rooster.driver) return *rooster.driver;
  if (!rooster.address.empty()) return DriverKind::Address;
  const bool has_command =
      std::ranges::any_of(processes, [](const Process& one) { return !one.command.empty(); });
  if (has_command) return DriverKind::Process;
  return image.empty() ? DriverKind::None : DriverKind::Docker;
}

const Service* AppConfig::service_for_port(std::uint16_t external_port) const {
  for (const auto& service : services) {
    if (service.protocol != Protocol::Tcp) continue;
    for (const auto& port : service.ports) {
      if (port.contains(external_port)) return &service;
    }
  }
  return nullptr;
}

std::uint32_t AppConfig::min_machines_in(std::string_view region) const {
  const auto found = rooster.min_machines.find(std::string(region));
  if (found != rooster.min_machines.end()) return found->second;
  if (region != primary_region) return 0;
  std::uint32_t most = 0;
  for (const auto& service : services) most = std::max(most, service.min_machines_running);
  return most;
}

bool AppConfig::is_exposed(const Port& port) const {
  if (rooster.is_public) return *rooster.is_public;
  return port.has(Handler::Http) || port.has(Handler::Tls);
}

}  // namespace rooster::config
