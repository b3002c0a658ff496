#include "tunnel/roaming.hpp"

#include <algorithm>
#include <chrono>

namespace rooster::tunnel {

bool Roaming::learn(const TunnelEndpoint& from, TimePoint now) {
  if (from == endpoint_) return false;
  // Only between UDP endpoints: a peer that changes to WebSocket and back is one peer.
  const bool is_move = endpoint_.kind == TunnelEndpoint::Kind::Udp &&
                       from.kind == TunnelEndpoint::Kind::Udp && from.remote != endpoint_.remote;
  if (is_move) {
    if (from.remote == before_) flaps_[flap_count_++ % kMaxFlaps] = now;
    before_ = endpoint_.remote;
  }
  endpoint_ = from;
  return true;
}

std::uint32_t Roaming::flaps(TimePoint now) const {
  using namespace std::chrono_literals;
  const std::size_t count = std::min(flap_count_, kMaxFlaps);
  return static_cast<std::uint32_t>(
      std::count_if(flaps_.begin(), flaps_.begin() + static_cast<std::ptrdiff_t>(count),
                    [now](TimePoint when) { return now - when <= 60s; }));
}

}  // namespace rooster::tunnel
