// How addresses of the private networks are laid out (Fly's 6PN). Pure.
//
//   fdaa : net : net : host : host : machine : machine : 2      a machine; the /112 is its own
//   fdaa : net : net : 0    : 1    : 0       : n       : n      flycast, one per app
//   fdaa : net : net : a7b  : gw   : hi16    : a       : lo8 02 a peer; the /120 is its own
//   fdaa : net : net : 0    : 0    : 0       : 0       : 3      DNS and API of the network
//   fdaa : 0   : 0   : node : 0    : 0       : 0       : 1      a node, and fdaa::3 for machines
#pragma once

#include "core/address.hpp"
#include "core/ids.hpp"

#include <cstdint>
#include <optional>

namespace rooster {

/// Where a machine was created: the node's id, from 2 (0 and 1 are infrastructure and flycast).
using HostId = Id<struct HostTag>;
/// A gateway, in the addresses of its peers: the node's id.
using GatewayId = Id<struct GatewayTag, std::uint16_t>;

inline constexpr unsigned kNetworkPrefixBits = 48;
inline constexpr unsigned kMachinePrefixBits = 112;
inline constexpr unsigned kPeerPrefixBits = 120;
/// Peers of one gateway in one network: 24 bits.
inline constexpr std::uint32_t kPeerIndices = 1U << 24U;

enum class PrivateKind : std::uint8_t {
  None,     ///< not in fdaa::/16
  Machine,  ///< of a machine's /112
  Flycast,
  Peer,   ///< of a peer's /120
  Infra,  ///< fdaa:<net>::3, and fdaa::3
  Node,   ///< of another node, network 0
  Other,  ///< in fdaa::/16, and nobody's
};

/// `…:2`, the address a machine answers on.
IpAddress machine_address(NetworkId network, HostId host, std::uint32_t machine);
IpAddress flycast_address(NetworkId network, std::uint32_t n);
/// DNS and API as peers see them.
IpAddress infra_address(NetworkId network);
/// DNS as machines see it: fdaa::3.
IpAddress machine_dns_address();
/// The peer's own address in its /120. `index` < kPeerIndices.
IpAddress peer_address(NetworkId network, GatewayId gateway, std::uint32_t index);
IpAddress node_address(std::uint16_t node);

/// In fdaa::/16?
bool is_private(const IpAddress& address);
/// What the layout says it is; whether anybody has it is another question.
PrivateKind private_kind(const IpAddress& address);
/// The network of an address in fdaa::/16 (0 for nodes and fdaa::3); nullopt: outside.
std::optional<NetworkId> network_of(const IpAddress& address);
/// `address` with all but its first `bits` bits cleared.
IpAddress prefix_of(const IpAddress& address, unsigned bits);
/// fdaa:<net>:: of its /48.
IpAddress network_prefix(NetworkId network);

}  // namespace rooster
