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

std::string NodeConfig::wireguard_endpoint() const {
  if (!fixed.wireguard) return {};
  if (!fixed.wireguard->endpoint.empty()) return fixed.wireguard->endpoint;
  return gateway_host() + ':' + std::to_string(fixed.wireguard->listen.port);
}

}  // namespace rooster::config
