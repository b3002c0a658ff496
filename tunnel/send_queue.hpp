// SendQueue: datagrams that a socket had no room for, shared fairly between peers (deficit round
// robin): one peer's download never keeps another's answer waiting. Pure.
#pragma once

#include "tunnel/output.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

namespace rooster::tunnel {

class SendQueue {
 public:
  static constexpr std::size_t kQuantum = 16 * 1024;        ///< of each peer in each round
  static constexpr std::size_t kMaxPeerBytes = 512 * 1024;  ///< further ones are dropped
  static constexpr std::size_t kMaxBytes = 8 * 1024 * 1024;

  /// Datagrams of one endpoint, back to back.
  struct Run {
    PeerId peer;
    TunnelEndpoint to;
    std::vector<std::uint8_t> bytes;
    std::size_t segment_bytes;
    std::size_t done = 0;  ///< bytes that are sent
    std::span<const std::uint8_t> rest() const { return std::span(bytes).subspan(done); }
  };

  bool empty() const { return turns_.empty(); }
  std::size_t bytes() const { return bytes_; }
  std::uint64_t dropped() const { return dropped_; }
  /// Copies a run of datagrams. What does not fit its peer's share is dropped.
  void push(PeerId peer, const TunnelEndpoint& to, std::span<const std::uint8_t> bytes,
            std::size_t segment_bytes);
  /// Whose turn it is, and how many bytes of it; only while not empty. Whole datagrams.
  Run& front() { return peers_.at(turns_.front()).runs.front(); }
  std::span<const std::uint8_t> next();
  /// The first `bytes` of next() are done with. Fewer than all leaves the turn with this peer.
  void sent(std::size_t bytes);
  void forget(PeerId peer);

 private:
  struct PeerQueue {
    std::deque<Run> runs;
    std::size_t bytes = 0;
    std::size_t deficit = 0;
  };

  std::unordered_map<PeerId, PeerQueue> peers_;  // those with something to send
  std::deque<PeerId> turns_;
  std::size_t bytes_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace rooster::tunnel
