// The Host of a request: what is accepted, and its form as the router's key.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace rooster::proxy {

struct HostName {
  std::string_view
      name;  ///< without port and trailing dot; case as sent; an IPv6 literal keeps its brackets
  std::uint16_t port = 0;  ///< 0: none given
};

/// Splits a Host value (RFC 9110 §7.2): letters, digits, `-`, `_` in labels of at most 63, at most
/// 253 in all, or an address literal; a port of 1 to 65535. nullopt: anything else, bytes above
/// 0x7F included.
std::optional<HostName> split_host(std::string_view host);

/// `name` in lower case, the router's key; a view into `out`, which must hold it (253 bytes do).
std::string_view lower_host(std::string_view name, std::span<char> out);

}  // namespace rooster::proxy
