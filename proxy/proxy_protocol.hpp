// The PROXY protocol, versions 1 and 2 (HAProxy's doc/proxy-protocol.txt): whose connection this
// really is, said before its first byte. Pure.
#pragma once

#include "core/address.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::proxy {

/// The longest header that is taken: a v2 one with TLVs of half a KiB.
inline constexpr std::size_t kMaxProxyHeader = 1024;

/// Both ends of a connection.
struct Endpoints {
  Endpoint from;
  Endpoint to;
  friend bool operator==(const Endpoints&, const Endpoints&) = default;
};

struct ProxyHeader {
  enum class Status : std::uint8_t { NeedMore, Complete, Invalid };
  Status status = Status::NeedMore;
  std::size_t bytes = 0;  ///< Complete: how long it was
  /// nullopt: the sender speaks for itself (LOCAL, UNKNOWN): the connection's own ends count.
  std::optional<Endpoints> ends{};
};

/// `bytes`: what has come so far, from the very first byte.
ProxyHeader parse_proxy_header(std::string_view bytes);

/// A header for `ends`. Ends of different families are both written as IPv6.
std::string make_proxy_v1(const Endpoints& ends);
std::string make_proxy_v2(const Endpoints& ends);

}  // namespace rooster::proxy
