// Pace: a client that is waited for must move 240 B/s, averaged over windows of 30 s; slower ones
// cost a connection and a machine for nothing. Pure.
#pragma once

#include "core/limits.hpp"
#include "core/time.hpp"

#include <cstdint>

namespace rooster::proxy {

class Pace {
 public:
  /// Begins to count, if it does not yet. `moved`: bytes that have come from the client and gone to
  /// it so far.
  template <class Moved>
  void begin(TimePoint now, Moved moved) {
    if (runs_) return;
    runs_ = true;
    since_ = now;
    moved_before_ = moved();
  }
  /// It is not the client that is waited for.
  void end() { runs_ = false; }
  /// When the client is judged next.
  TimePoint deadline() const { return since_ + limits::kBodyRateWindow; }

  /// At the end of a window: false if the client was too slow, else a new window begins.
  template <class Moved>
  bool keeps_up(TimePoint now, Moved moved) {
    if (!runs_ || now < deadline()) return true;
    constexpr std::uint64_t kLeast =
        limits::kMinBodyBytesPerSecond *
        static_cast<std::uint64_t>(limits::kBodyRateWindow / std::chrono::seconds(1));
    const std::uint64_t moved_now = moved();
    if (moved_now - moved_before_ < kLeast) return false;
    since_ = now;
    moved_before_ = moved_now;
    return true;
  }

 private:
  bool runs_ = false;
  TimePoint since_{};
  std::uint64_t moved_before_ = 0;
};

}  // namespace rooster::proxy
