#include "tunnel/udp_packet.hpp"

#include "tunnel/checksum.hpp"

#include <algorithm>

namespace rooster::tunnel {
namespace {

constexpr std::size_t kIpBytes = 40;
constexpr std::size_t kUdpBytes = 8;
constexpr std::uint8_t kUdp = 17;

IpAddress address_at(std::span<const std::uint8_t> packet, std::size_t at) {
  std::array<std::uint8_t, 16> bytes{};
  std::ranges::copy(packet.subspan(at, bytes.size()), bytes.begin());
  return IpAddress::from_bytes(bytes);
}

std::uint64_t sum_of(std::span<const std::uint8_t> packet) {
  const auto segment = packet.subspan(kIpBytes);
  return add_checksum(pseudo_header_sum(packet.subspan(8, 32), kUdp, segment.size()), segment);
}

}  // namespace

std::optional<UdpPacket> parse_udp_packet(std::span<const std::uint8_t> packet) {
  if (packet.size() < kIpBytes + kUdpBytes || packet[0] >> 4 != 6 || packet[6] != kUdp) return {};
  const std::size_t bytes = get_u16(&packet[4]);
  if (bytes < kUdpBytes || bytes > packet.size() - kIpBytes) return {};
  packet = packet.first(kIpBytes + bytes);
  const bool has_checksum = get_u16(&packet[kIpBytes + 6]) != 0;
  if (get_u16(&packet[kIpBytes + 4]) != bytes || !has_checksum) return {};
  if (fold_checksum(sum_of(packet)) != 0xffff) return {};
  return UdpPacket{.source = {address_at(packet, 8), get_u16(&packet[kIpBytes])},
                   .destination = {address_at(packet, 24), get_u16(&packet[kIpBytes + 2])},
                   .payload = packet.subspan(kIpBytes + kUdpBytes)};
}

std::vector<std::uint8_t> make_udp_packet(const Endpoint& source, const Endpoint& destination,
                                          std::span<const std::uint8_t> payload) {
  std::vector<std::uint8_t> packet(kIpBytes + kUdpBytes + payload.size());
  const std::size_t bytes = kUdpBytes + payload.size();
  packet[0] = 0x60;
  put_u16(&packet[4], bytes);
  packet[6] = kUdp;
  packet[7] = 64;  // hop limit
  std::ranges::copy(source.address.bytes(), packet.begin() + 8);
  std::ranges::copy(destination.address.bytes(), packet.begin() + 24);
  put_u16(&packet[kIpBytes], source.port);
  put_u16(&packet[kIpBytes + 2], destination.port);
  put_u16(&packet[kIpBytes + 4], bytes);
  std::ranges::copy(payload, packet.begin() + kIpBytes + kUdpBytes);
  // In memory order, as it was summed; a checksum of zero is sent as all ones (RFC 768).
  auto checksum = static_cast<std::uint16_t>(~fold_checksum(sum_of(packet)));
  if (checksum == 0) checksum = 0xffff;
  std::memcpy(&packet[kIpBytes + 6], &checksum, sizeof checksum);
  return packet;
}

}  // namespace rooster::tunnel
