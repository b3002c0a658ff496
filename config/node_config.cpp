#include "config/node_config.hpp"

namespace rooster::config {

std::string_view name_of(WireguardMode mode) {
  return mode == WireguardMode::Kernel ? "kernel" : "userspace";
}

std::string_view name_of(StackKind stack) {
  switch (stack) {
    case StackKind::Auto:
      return "auto";
    case StackKind::Netns:
      return "netns";
    case StackKind::Lwip:
      return "lwip";
  }
  return "";
}

std::string_view name_of(NetworkMode mode) {
  return mode == NetworkMode::Private ? "private" : "host";
}

std::string NodeConfig::gateway_host() const {
  return std::string(kGatewayName) + '.' + reloadable.domain;
}

std::string NodeConfig::wireguard_endpoint(std::uint16_t bound_port) const {
  if (!fixed.wireguard) return {};
  std::string endpoint = fixed.wireguard->endpoint;
  if (endpoint.empty()) {
    endpoint = gateway_host() + ':' + std::to_string(fixed.wireguard->listen.port);
  }
  if (!endpoint.ends_with(":0")) return endpoint;
  endpoint.pop_back();
  return endpoint + std::to_string(bound_port);
}

}  // namespace rooster::config
