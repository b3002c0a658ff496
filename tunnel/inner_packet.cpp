#include "tunnel/inner_packet.hpp"

#include <algorithm>

namespace rooster::tunnel {
namespace {

constexpr std::size_t kV4Header = 20;
constexpr std::size_t kV6Header = 40;

std::uint32_t v4_at(Bytes bytes, std::size_t at) {
  return std::uint32_t{bytes[at]} << 24 | std::uint32_t{bytes[at + 1]} << 16 |
         std::uint32_t{bytes[at + 2]} << 8 | bytes[at + 3];
}

IpAddress v6_at(Bytes bytes, std::size_t at) {
  std::array<std::uint8_t, 16> address;
  std::ranges::copy(bytes.subspan(at, 16), address.begin());
  return IpAddress::from_bytes(address);
}

std::size_t number_at(Bytes bytes, std::size_t at) {
  return std::size_t{bytes[at]} << 8 | bytes[at + 1];
}

}  // namespace

std::optional<InnerPacket> parse_inner_packet(Bytes bytes) {
  if (bytes.empty()) return std::nullopt;
  const int version = bytes[0] >> 4;
  if (version == 6 && bytes.size() >= kV6Header) {
    InnerPacket packet{kV6Header + number_at(bytes, 4), v6_at(bytes, 8), v6_at(bytes, 24)};
    // A v4 address dressed as v6 would be looked up among the v4 prefixes.
    if (packet.bytes > bytes.size() || packet.source.is_v4() || packet.destination.is_v4()) {
      return std::nullopt;
    }
    return packet;
  }
  if (version == 4 && bytes.size() >= kV4Header) {
    const InnerPacket packet{number_at(bytes, 2), IpAddress::v4(v4_at(bytes, 12)),
                             IpAddress::v4(v4_at(bytes, 16))};
    if (packet.bytes < kV4Header || packet.bytes > bytes.size()) return std::nullopt;
    return packet;
  }
  return std::nullopt;
}

}  // namespace rooster::tunnel
