// Which TCP ports the apps' public services want, beside those of [listen]. Pure.
#pragma once

#include "config/config_set.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace rooster::config {

struct PublicPort {
  std::uint16_t port = 0;
  std::string app{};      ///< the first that wants it
  bool of_range = false;  ///< one of many: it gets a single socket
  friend bool operator==(const PublicPort&, const PublicPort&) = default;
};

struct PublicPorts {
  std::vector<PublicPort> ports;  ///< ascending, each once
  std::size_t left_out = 0;       ///< ports beyond limits::kMaxServicePorts
};

/// Ports named one by one come before those of ranges where not all fit. 80 and 443 are not among
/// them: [listen] http and https serve these.
PublicPorts public_tcp_ports(const ConfigSet& set);

}  // namespace rooster::config
