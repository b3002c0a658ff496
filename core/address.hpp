// IpAddress and Endpoint: small values, parsed and printed without the resolver.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>

namespace rooster {

/// An IPv4 or IPv6 address as 16 bytes; IPv4 stands in its mapped form ::ffff:a.b.c.d.
class IpAddress {
 public:
  IpAddress() = default;
  /// "192.0.2.1", "2001:db8::1" or "[2001:db8::1]".
  static std::optional<IpAddress> parse(std::string_view text);
  static IpAddress v4(std::uint32_t host_order);
  static IpAddress from_bytes(const std::array<std::uint8_t, 16>& bytes) {
    return IpAddress(bytes);
  }

  bool is_v4() const;
  bool is_loopback() const;
  const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }
  /// Without brackets; mapped IPv4 as dotted quad.
  std::string to_string() const;
  /// The same text into `out`, which must hold 46 bytes; returns its length. No allocation.
  std::size_t write(char* out) const;
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  explicit IpAddress(const std::array<std::uint8_t, 16>& bytes) : bytes_(bytes) {}
  std::array<std::uint8_t, 16> bytes_{};
};

/// An address and a port.
struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;

  /// From what the kernel gave; other families give the zero endpoint.
  static Endpoint from(const sockaddr_storage& socket_address);
  /// Fills `out` and returns its length. IPv4 gives AF_INET.
  socklen_t to(sockaddr_storage& out) const;
  /// "192.0.2.1:80" or "[2001:db8::1]:80".
  std::string to_string() const;
  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

}  // namespace rooster
