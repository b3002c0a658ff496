// PeerLoad: what one WireGuard peer has in use of a node, against its limits (connections, new ones
// a second, places at the wake gate). One for all workers; atomics only.
#pragma once

#include "core/limits.hpp"
#include "core/time.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace rooster::proxy {

/// Decision: a peer may not take what the others need.
struct PeerLimits {
  std::size_t connections = limits::kPeerConnections;
  std::size_t waiting = limits::kPeerWaiting;  ///< for a wake
  std::size_t new_per_second = limits::kPeerNewPerSecond;
};

class PeerLoad {
 public:
  explicit PeerLoad(PeerLimits limits = {}) : limits_(limits) {}
  PeerLoad(const PeerLoad&) = delete;
  PeerLoad& operator=(const PeerLoad&) = delete;

  /// Counts one more connection. False (and one refusal counted): too many, or too fast.
  bool try_open(TimePoint now);
  void close() { connections_.fetch_sub(1, std::memory_order_relaxed); }
  /// Counts one more that waits for a wake. False (and a refusal): too many.
  bool try_wait();
  void stop_waiting() { waiting_.fetch_sub(1, std::memory_order_relaxed); }

  std::size_t connections() const { return connections_.load(std::memory_order_relaxed); }
  std::size_t waiting() const { return waiting_.load(std::memory_order_relaxed); }
  std::uint64_t refusals() const { return refusals_.load(std::memory_order_relaxed); }

 private:
  bool refuse() {
    refusals_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  const PeerLimits limits_;
  std::atomic<std::size_t> connections_{0};
  std::atomic<std::size_t> waiting_{0};
  std::atomic<std::uint64_t> refusals_{0};
  std::atomic<Duration::rep> due_{0};  // when the rate's next connection would be due
};

}  // namespace rooster::proxy
