// Prefix: an address range as allowed-IPs write it, "fdaa:0:33::/48" or "10.0.0.0/8".
#pragma once

#include "core/address.hpp"

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::tunnel {

/// The address has zeros behind the prefix. `length` counts in the address's own family: 0 to 32
/// or 0 to 128.
struct Prefix {
  IpAddress address;
  std::uint8_t length = 0;

  /// Without a length the whole address. Bits behind the prefix are cleared.
  static std::optional<Prefix> parse(std::string_view text);
  static Prefix of(const IpAddress& address, std::uint8_t length);
  bool contains(const IpAddress& address) const;
  std::string to_string() const;
  friend auto operator<=>(const Prefix&, const Prefix&) = default;
};

}  // namespace rooster::tunnel
