// What the tunnel needs to know of an inner packet: its true length and its two addresses.
#pragma once

#include "core/address.hpp"
#include "tunnel/secret.hpp"

#include <cstddef>
#include <optional>

namespace rooster::tunnel {

struct InnerPacket {
  std::size_t bytes;  ///< by its own header: what follows is padding
  IpAddress source;
  IpAddress destination;
};

/// Unset where `bytes` are no whole IPv4 or IPv6 packet.
std::optional<InnerPacket> parse_inner_packet(Bytes bytes);

}  // namespace rooster::tunnel
