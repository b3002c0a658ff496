// Output: what a Device wants sent and what happened to its peers. Append-only; the caller sends,
// then clears. Datagrams lie back to back, so that a run of equal ones is one UDP_SEGMENT send.
#pragma once

#include "core/ids.hpp"
#include "tunnel/tunnel_endpoint.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace rooster::tunnel {

/// A peer of one Device. Never used again for another peer.
using PeerId = Id<struct PeerTag>;

/// What the kernel takes in one UDP_SEGMENT send.
inline constexpr std::size_t kMaxSegments = 64;
inline constexpr std::size_t kMaxBatchBytes = 65'000;

struct PeerEvent {
  enum class Kind : std::uint8_t {
    Initiated,        ///< an initiation is in the batches; Device::last_initiation() has its bytes
    Established,      ///< a session can be used in both directions
    EndpointChanged,  ///< the peer roamed
    GaveUp,           ///< no answer for 90 s; the next packet to it begins anew
    KeysZeroed,       ///< nothing for 540 s: no session is left
  };
  PeerId peer;
  Kind kind;
};

class Output {
 public:
  /// Datagrams back to back: all of segment_bytes but the last, which may be shorter.
  struct Batch {
    PeerId peer;  ///< 0 for a cookie reply, which belongs to nobody
    TunnelEndpoint to;
    std::size_t begin;
    std::size_t bytes;
    std::size_t segment_bytes;
    std::size_t count() const { return (bytes + segment_bytes - 1) / segment_bytes; }
  };

  std::span<const Batch> batches() const { return batches_; }
  std::span<const std::uint8_t> bytes_of(const Batch& batch) const {
    return {bytes_.get() + batch.begin, batch.bytes};
  }
  /// One datagram of a batch, from 0.
  std::span<const std::uint8_t> datagram(const Batch& batch, std::size_t index) const;
  std::span<const PeerEvent> events() const { return events_; }

  /// Send and clear when this passes some 64 KiB: one call adds at most a peer's queue (256 KiB).
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0 && events_.empty(); }
  void clear();

  // For the Device.
  /// Room for one datagram at the end; nothing is in the output before add().
  std::span<std::uint8_t> room(std::size_t bytes);
  /// The first `bytes` of room() are a datagram.
  void add(PeerId peer, const TunnelEndpoint& to, std::size_t bytes);
  void add_event(PeerId peer, PeerEvent::Kind kind) { events_.push_back({peer, kind}); }

 private:
  std::unique_ptr<std::uint8_t[]> bytes_;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
  std::vector<Batch> batches_;
  std::vector<PeerEvent> events_;
};

}  // namespace rooster::tunnel
