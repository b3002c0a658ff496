#include "core/private_address.hpp"

#include <algorithm>
#include <array>

namespace rooster {
namespace {

constexpr std::uint16_t kFirst = 0xfdaa;
constexpr std::uint16_t kPeerGroup = 0xa7b;
constexpr std::uint16_t kPeerMark = 0xa;

using Groups = std::array<std::uint16_t, 8>;

constexpr std::uint16_t high(std::uint32_t number) {
  return static_cast<std::uint16_t>(number >> 16U);
}
constexpr std::uint16_t low(std::uint32_t number) {
  return static_cast<std::uint16_t>(number & 0xffffU);
}

IpAddress from_groups(const Groups& groups) {
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < groups.size(); ++i) {
    bytes[2 * i] = static_cast<std::uint8_t>(groups[i] >> 8U);
    bytes[2 * i + 1] = static_cast<std::uint8_t>(groups[i] & 0xffU);
  }
  return IpAddress::from_bytes(bytes);
}

Groups to_groups(const IpAddress& address) {
  Groups groups{};
  for (std::size_t i = 0; i < groups.size(); ++i) {
    groups[i] =
        static_cast<std::uint16_t>(address.bytes()[2 * i] << 8U | address.bytes()[2 * i + 1]);
  }
  return groups;
}

}  // namespace

IpAddress machine_address(NetworkId network, HostId host, std::uint32_t machine) {
  return from_groups({kFirst, high(network.value), low(network.value), high(host.value),
                      low(host.value), high(machine), low(machine), 2});
}

IpAddress flycast_address(NetworkId network, std::uint32_t n) {
  return from_groups({kFirst, high(network.value), low(network.value), 0, 1, 0, high(n), low(n)});
}

IpAddress infra_address(NetworkId network) {
  return from_groups({kFirst, high(network.value), low(network.value), 0, 0, 0, 0, 3});
}

IpAddress machine_dns_address() {
  return infra_address(NetworkId{0});
}

IpAddress peer_address(NetworkId network, GatewayId gateway, std::uint32_t index) {
  // The index's upper 16 bits are a group of their own, its lower 8 stand before the /120's 02.
  return from_groups({kFirst, high(network.value), low(network.value), kPeerGroup, gateway.value,
                      low(index >> 8U), kPeerMark,
                      static_cast<std::uint16_t>((index & 0xffU) << 8U | 2U)});
}

IpAddress node_address(std::uint16_t node) {
  return from_groups({kFirst, 0, 0, node, 0, 0, 0, 1});
}

bool is_private(const IpAddress& address) {
  return address.bytes()[0] == kFirst >> 8U && address.bytes()[1] == (kFirst & 0xffU);
}

PrivateKind private_kind(const IpAddress& address) {
  if (!is_private(address)) return PrivateKind::None;
  const Groups groups = to_groups(address);
  const bool is_short = groups[3] == 0 && groups[4] == 0 && groups[5] == 0 && groups[6] == 0;
  if (is_short) return groups[7] == 3 ? PrivateKind::Infra : PrivateKind::Other;
  if (groups[1] == 0 && groups[2] == 0) {
    const bool is_node = groups[4] == 0 && groups[5] == 0 && groups[6] == 0 && groups[7] == 1;
    return is_node ? PrivateKind::Node : PrivateKind::Other;
  }
  if (groups[3] == kPeerGroup) {
    return groups[6] == kPeerMark ? PrivateKind::Peer : PrivateKind::Other;
  }
  if (groups[3] == 0 && groups[4] == 1) {
    return groups[5] == 0 ? PrivateKind::Flycast : PrivateKind::Other;
  }
  return groups[3] == 0 && groups[4] == 0 ? PrivateKind::Other : PrivateKind::Machine;
}

std::optional<NetworkId> network_of(const IpAddress& address) {
  if (!is_private(address)) return std::nullopt;
  const Groups groups = to_groups(address);
  return NetworkId{static_cast<std::uint32_t>(groups[1]) << 16U | groups[2]};
}

IpAddress prefix_of(const IpAddress& address, unsigned bits) {
  std::array<std::uint8_t, 16> bytes = address.bytes();
  for (unsigned i = 0; i < bytes.size(); ++i) {
    const unsigned kept = bits <= 8 * i ? 0 : std::min(bits - 8 * i, 8U);
    bytes[i] = static_cast<std::uint8_t>(bytes[i] & (0xff00U >> kept));
  }
  return IpAddress::from_bytes(bytes);
}

IpAddress network_prefix(NetworkId network) {
  return prefix_of(infra_address(network), kNetworkPrefixBits);
}

}  // namespace rooster
