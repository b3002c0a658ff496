#include "tunnel/inner_udp.hpp"

#include "tunnel/checksum.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <netinet/in.h>

namespace rooster::tunnel {
namespace {

constexpr std::size_t kIpBytes = 40;
constexpr std::size_t kHeaderBytes = kIpBytes + 8;

std::uint16_t checksum(std::span<const std::uint8_t> packet) {
  const auto segment = packet.subspan(kIpBytes);
  return fold_checksum(
      add_checksum(pseudo_header_sum(packet.subspan(8, 32), IPPROTO_UDP, segment.size()), segment));
}

IpAddress address_at(const std::uint8_t* at) {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), at, bytes.size());
  return IpAddress::from_bytes(bytes);
}

}  // namespace

std::optional<InnerUdp> read_udp(std::span<const std::uint8_t> packet) {
  if (packet.size() < kHeaderBytes || (packet[0] >> 4) != 6 || packet[6] != IPPROTO_UDP) return {};
  if (get_u16(&packet[4]) != packet.size() - kIpBytes) return {};
  if (get_u16(&packet[44]) != packet.size() - kIpBytes) return {};
  if (checksum(packet) != 0xffff) return {};
  return InnerUdp{{address_at(&packet[8]), get_u16(&packet[40])},
                  {address_at(&packet[24]), get_u16(&packet[42])},
                  packet.subspan(kHeaderBytes)};
}

std::size_t make_udp(std::span<std::uint8_t> into, const InnerUdp& datagram) {
  const std::size_t bytes = kHeaderBytes + datagram.payload.size();
  if (bytes > into.size() || bytes > 0xffff) return 0;
  const auto packet = into.first(bytes);
  std::memset(packet.data(), 0, kHeaderBytes);
  packet[0] = 0x60;
  put_u16(&packet[4], bytes - kIpBytes);
  packet[6] = IPPROTO_UDP;
  packet[7] = 64;
  std::memcpy(&packet[8], datagram.from.address.bytes().data(), 16);
  std::memcpy(&packet[24], datagram.to.address.bytes().data(), 16);
  put_u16(&packet[40], datagram.from.port);
  put_u16(&packet[42], datagram.to.port);
  put_u16(&packet[44], bytes - kIpBytes);
  std::copy(datagram.payload.begin(), datagram.payload.end(), packet.begin() + kHeaderBytes);
  auto sum = static_cast<std::uint16_t>(~checksum(packet));
  if (sum == 0) sum = 0xffff;  // zero would say that there is none (RFC 8200 §8.1)
  std::memcpy(&packet[46], &sum, sizeof sum);
  return bytes;
}

}  // namespace rooster::tunnel
