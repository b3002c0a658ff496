// UDP inside the tunnel without a stack: datagrams read out of inner IPv6 packets, and made into
// them. For a gateway whose stack has no UDP (DNS beside lwIP). Pure.
#pragma once

#include "core/address.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace rooster::tunnel {

struct InnerUdp {
  Endpoint from;
  Endpoint to;
  std::span<const std::uint8_t> payload;  ///< lies in the packet
};

/// The datagram in `packet`; unset where it is none, or its checksum is wrong.
std::optional<InnerUdp> read_udp(std::span<const std::uint8_t> packet);

/// The packet of a datagram, in `into`; its length, or 0 where it does not fit.
std::size_t make_udp(std::span<std::uint8_t> into, const InnerUdp& datagram);

}  // namespace rooster::tunnel
