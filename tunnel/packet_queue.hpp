// PacketQueue: packets of one peer that wait for a session. The oldest go first when it is full:
// whoever sent them sends them again.
#pragma once

#include "tunnel/secret.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

namespace rooster::tunnel {

class PacketQueue {
 public:
  static constexpr std::size_t kMaxPackets = 128;
  static constexpr std::size_t kMaxBytes = 256 * 1024;

  /// Returns how many others had to go.
  std::size_t push(Bytes packet) {
    std::size_t gone = 0;
    while (!packets_.empty() &&
           (packets_.size() >= kMaxPackets || bytes_ + packet.size() > kMaxBytes)) {
      bytes_ -= packets_.front().size();
      packets_.pop_front();
      ++gone;
    }
    packets_.emplace_back(packet.begin(), packet.end());
    bytes_ += packet.size();
    return gone;
  }
  bool empty() const { return packets_.empty(); }
  Bytes front() const { return packets_.front(); }
  void pop() {
    bytes_ -= packets_.front().size();
    packets_.pop_front();
  }
  /// Returns how many there were.
  std::size_t clear() {
    const std::size_t count = packets_.size();
    packets_.clear();
    bytes_ = 0;
    return count;
  }

 private:
  std::deque<std::vector<std::uint8_t>> packets_;
  std::size_t bytes_ = 0;
};

}  // namespace rooster::tunnel
