// Session: one pair of transport keys between us and a peer (paper §5.4.5, §5.4.6).
#pragma once

#include "core/time.hpp"
#include "tunnel/aead.hpp"
#include "tunnel/noise.hpp"
#include "tunnel/replay_window.hpp"

#include <cstdint>
#include <span>

namespace rooster::tunnel {

class Session {
 public:
  Session(const Algorithms& algorithms, const TransportKeys& keys, std::uint32_t own_index,
          std::uint32_t peer_index, bool is_initiator, TimePoint born)
      : own_index(own_index),
        is_initiator(is_initiator),
        born(born),
        sealing_(algorithms, keys.send),
        opening_(algorithms, keys.receive),
        peer_index_(peer_index) {}

  const std::uint32_t own_index;  ///< how the peer names this session in what it sends
  const bool is_initiator;        ///< who rekeys
  const TimePoint born;

  std::uint64_t sent() const { return counter_; }
  /// Writes one datagram of 16 + packet + padding + 16 bytes. The caller has checked sent().
  void seal(Bytes packet, std::size_t padding, std::span<std::uint8_t> datagram);
  /// Decrypts where it lies. False: not authentic, or its counter was seen.
  [[nodiscard]] bool open(std::span<std::uint8_t> datagram, bool& was_replayed);

 private:
  Aead sealing_;
  Aead opening_;
  std::uint64_t counter_ = 0;
  ReplayWindow window_;
  const std::uint32_t peer_index_;
};

}  // namespace rooster::tunnel
