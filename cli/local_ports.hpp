// The local ends of `rooster proxy`: all mappings get their sockets, or none does.
#pragma once

#include "cli/proxy_texts.hpp"
#include "core/descriptor.hpp"

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace rooster::cli {

/// A mapping that listens.
struct BoundMapping {
  ProxyMapping mapping;
  std::uint16_t port = 0;             ///< as bound; 0 for a unix socket
  std::vector<Descriptor> listeners;  ///< 127.0.0.1 and [::1], or what was asked for
};

/// "": 127.0.0.1 and, where there is one, [::1] on the same port, so that "localhost" can't lead to
/// another program. The error says who holds a port and what to write instead.
std::expected<std::vector<BoundMapping>, std::string> bind_mappings(
    const std::vector<ProxyMapping>& mappings, const std::string& bind_address);

/// Takes the unix sockets' files away.
void unbind(const std::vector<BoundMapping>& bound);

/// Which process of this machine listens on a TCP port, as far as this user may see.
PortHolder holder_of(std::uint16_t port);

}  // namespace rooster::cli
