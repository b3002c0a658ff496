// Roaming: where a peer is, by its last authenticated datagram (paper §2.1), and whether it goes to
// and fro as two processes with one key make it.
#pragma once

#include "core/time.hpp"
#include "tunnel/tunnel_endpoint.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace rooster::tunnel {

class Roaming {
 public:
  const TunnelEndpoint& endpoint() const { return endpoint_; }
  /// What an operator says, or None.
  void set(const TunnelEndpoint& endpoint) { endpoint_ = endpoint; }
  /// What an authenticated datagram says. True: it moved.
  bool learn(const TunnelEndpoint& from, TimePoint now);
  /// The kernel chooses our address anew: the one we sent from may be gone.
  void forget_local() { endpoint_.local = {}; }
  /// Returns to the UDP endpoint before, within the last minute; counts to kMaxFlaps.
  std::uint32_t flaps(TimePoint now) const;

  static constexpr std::size_t kMaxFlaps = 8;

 private:
  TunnelEndpoint endpoint_;
  Endpoint before_;
  std::array<TimePoint, kMaxFlaps> flaps_{};  ///< a ring
  std::size_t flap_count_ = 0;
};

}  // namespace rooster::tunnel
