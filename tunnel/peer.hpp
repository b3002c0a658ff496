// Peer: everything a Device knows of one peer. Its own logic is small; the flows are the Device's.
#pragma once

#include "tunnel/cookie.hpp"
#include "tunnel/device.hpp"
#include "tunnel/noise.hpp"
#include "tunnel/packet_queue.hpp"
#include "tunnel/peer_timers.hpp"
#include "tunnel/roaming.hpp"
#include "tunnel/session.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace rooster::tunnel {

/// An initiation of ours that waits for its response.
struct Attempt {
  PendingInitiation pending;
  std::uint32_t index;
  std::array<std::uint8_t, wire::kInitiationBytes> message;
  int wrong_responses = 0;
};

/// The sessions with one peer. `next` is the one we answered to and have not heard on yet: we must
/// not send on it before that, for the peer may never have got our response.
struct Sessions {
  std::unique_ptr<Session> previous, current, next;
};

struct Peer {
  Peer(PeerId id_, const PublicKey& key_, Algorithms& algorithms)
      : id(id_), key(key_), macs(algorithms, key_) {}

  const PeerId id;
  const PublicKey key;
  PresharedKey preshared;
  Secret static_static;
  std::vector<Prefix> allowed_ips;
  std::chrono::seconds keepalive{0};

  Roaming place;
  MacStamper macs;
  PeerTimers timers;
  TimePoint scheduled = kNever;  ///< the earliest entry in the Device's heap

  Sessions sessions;
  PacketQueue queue;
  std::optional<Attempt> attempt;
  int tries = 0;
  std::optional<TimePoint> last_initiation;
  TimePoint not_before = TimePoint::min();  ///< of the next initiation
  bool has_rekeyed_late = false;            ///< once per session, on receiving

  Tai64n last_stamp;      ///< of ours
  Tai64n greatest_stamp;  ///< of the peer's
  std::optional<TimePoint> last_taken_initiation;

  std::optional<WallTime> last_handshake;
  std::optional<TimePoint> last_received;
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t wrong_source = 0;
  std::uint64_t dropped = 0;

  // The last source that proved to be the peer's: most packets come from one.
  IpAddress known_source;
  std::uint64_t known_source_routes = 0;  ///< the version of the routes it was proven by

  NoisePeer noise() const { return {key, static_static, preshared}; }
};

}  // namespace rooster::tunnel
