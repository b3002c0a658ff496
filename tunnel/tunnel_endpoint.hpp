// TunnelEndpoint: where a peer's datagrams come from and go to.
#pragma once

#include "core/address.hpp"

#include <cstdint>

namespace rooster::tunnel {

struct TunnelEndpoint {
  enum class Kind : std::uint8_t { None, Udp, Ws };

  Kind kind = Kind::None;
  std::uint32_t ws = 0;  ///< which WebSocket connection, where kind is Ws
  Endpoint remote;       ///< for Ws the TCP source: cookies and limits go by it
  IpAddress local;       ///< what the peer sent to, and what we send from; zero: the kernel chooses

  static TunnelEndpoint udp(const Endpoint& remote, const IpAddress& local = {}) {
    return {Kind::Udp, 0, remote, local};
  }
  static TunnelEndpoint websocket(std::uint32_t id, const Endpoint& remote) {
    return {Kind::Ws, id, remote, {}};
  }
  explicit operator bool() const { return kind != Kind::None; }
  friend bool operator==(const TunnelEndpoint&, const TunnelEndpoint&) = default;
};

}  // namespace rooster::tunnel
