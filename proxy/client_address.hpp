// Who the client is: address ranges, and X-Forwarded-For as far as it is believed (decisions:
// trusted proxies).
#pragma once

#include "core/error.hpp"
#include "proxy/request_head.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::proxy {

/// An IPv6 address; IPv4 as ::ffff:a.b.c.d, so that a dual-stack socket's peers compare right.
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};
  bool is_v4() const;
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

/// "192.0.2.1", "2001:db8::1", "[2001:db8::1]"; with_port also "192.0.2.1:80", "[::1]:80".
std::optional<IpAddress> parse_ip(std::string_view text, bool with_port = false);

/// The address as text, IPv4 in dotted form; `out` holds 46 bytes.
std::string_view to_text(const IpAddress& address, std::span<char, 46> out);

/// A compiled list of ranges, "10.0.0.0/8" or single addresses.
class CidrList {
 public:
  /// Errors: Internal, with the entry that isn't a range as detail.
  static Result<CidrList> compile(std::span<const std::string> ranges);
  bool contains(const IpAddress& address) const;
  bool empty() const { return ranges_.empty(); }

 private:
  struct Range {
    IpAddress base;
    std::uint8_t bits = 128;
  };
  std::vector<Range> ranges_;
};

/// The client behind `peer`: the peer itself unless it is trusted, else X-Forwarded-For from right
/// to left up to the first address that isn't trusted. An element that is no address ends the walk
/// at the last believed one.
IpAddress client_address(const IpAddress& peer, const RequestHead& head, const CidrList& trusted);

}  // namespace rooster::proxy
