// RateLimit: a token bucket per source address, and LoadMeter: whether initiations come faster than
// they should be answered unasked. Both only see handshake messages with a right mac1.
#pragma once

#include "core/address.hpp"
#include "core/time.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>

namespace rooster::tunnel {

/// 20 a second, 5 at once, per IPv4 address or IPv6 /64.
class RateLimit {
 public:
  /// False: this source has had its share. Also where too many sources are remembered already.
  bool take(const IpAddress& source, TimePoint now);
  std::size_t size() const { return buckets_.size(); }

 private:
  // An ordered map: its cost does not depend on addresses that an attacker picks.
  using Source = std::array<std::uint8_t, 16>;
  struct Bucket {
    Duration credit;
    TimePoint since;
  };
  void sweep(TimePoint now);

  std::map<Source, Bucket> buckets_;
  TimePoint swept_{};
};

class LoadMeter {
 public:
  explicit LoadMeter(std::uint32_t limit_per_second) : limit_(limit_per_second) {}
  /// Counts one initiation. True: under load, which lasts a second beyond the last excess.
  bool count(TimePoint now);

 private:
  std::uint32_t limit_;
  std::uint32_t counted_ = 0;
  TimePoint window_{};
  TimePoint loaded_until_{};
};

}  // namespace rooster::tunnel
