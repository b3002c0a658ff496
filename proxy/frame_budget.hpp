// FrameBudget: what a client may cost an HTTP/2 connection without using it. Rapid resets
// (CVE-2023-44487), streams it has us reset (CVE-2025-8671), and frames that carry nothing
// (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, CONTINUATION) draw on it; requests and
// bodies fill it up. Pure.
#pragma once

#include "core/time.hpp"

#include <algorithm>
#include <cstdint>

namespace rooster::proxy {

class FrameBudget {
 public:
  // A browser that leaves a page resets what was on its way, at most kH2Streams at once.
  static constexpr double kResets = 256;
  static constexpr double kResetsPerSecond = 64;
  // gRPC's clients ping with the data they send and get: that pays for it.
  static constexpr double kIdleFrames = 1024;
  static constexpr double kIdleFramesPerSecond = 128;
  static constexpr double kFramesPerUse = 8;

  explicit FrameBudget(TimePoint now) : resets_(kResets, now), frames_(kIdleFrames, now) {}

  /// A stream ended before its response, by the client or through its fault. False: too often.
  bool take_reset(TimePoint now) { return resets_.take(kResets, kResetsPerSecond, now); }
  /// A frame has come. False: too many for what they are for.
  bool take_frame(TimePoint now) { return frames_.take(kIdleFrames, kIdleFramesPerSecond, now); }
  /// A request, or bytes of a body in either direction.
  void use() { frames_.left = std::min(frames_.left + kFramesPerUse, kIdleFrames); }

 private:
  struct Bucket {
    Bucket(double full, TimePoint now) : left(full), since(now) {}
    bool take(double full, double per_second, TimePoint now) {
      const std::chrono::duration<double> passed = now - since;
      since = now;
      left = std::min(left + passed.count() * per_second, full);
      if (left < 1) return false;
      left -= 1;
      return true;
    }
    double left;
    TimePoint since;
  };
  Bucket resets_;
  Bucket frames_;
};

}  // namespace rooster::proxy
