// UDP over IPv6 as inner packets: for the name server where no kernel stands behind the tunnel.
// Pure.
#pragma once

#include "core/address.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace rooster::tunnel {

struct UdpPacket {
  Endpoint source;
  Endpoint destination;
  std::span<const std::uint8_t> payload;  ///< within the packet
};

/// Unset where `packet` is no whole IPv6 packet with a UDP header behind its own and a good
/// checksum (RFC 8200 §8.1: it must have one).
std::optional<UdpPacket> parse_udp_packet(std::span<const std::uint8_t> packet);

/// Both addresses IPv6. At most 65'487 bytes of payload.
std::vector<std::uint8_t> make_udp_packet(const Endpoint& source, const Endpoint& destination,
                                          std::span<const std::uint8_t> payload);

}  // namespace rooster::tunnel
