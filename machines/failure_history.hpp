// FailureHistory: how often the machines of one process group failed lately, and how long to wait
// therefore.
#pragma once

#include "core/time.hpp"

#include <chrono>
#include <cstddef>
#include <deque>

namespace rooster::machines {

using namespace std::chrono_literals;

inline constexpr int kExitsPerWake = 3;  ///< this many exits before ready and the wake has failed
inline constexpr std::size_t kMaxFailures =
    10;  ///< within the window: given up, as Fly's max restart count
inline constexpr auto kFailureWindow = 5min;
inline constexpr auto kFirstBackoff = 1s;
inline constexpr auto kLongestBackoff = 60s;
inline constexpr auto kSteadyAfter = 60s;  ///< ready this long: the next failure is a first one

class FailureHistory {
 public:
  /// One exit, failed start or failed wake.
  void record(TimePoint now) {
    times_.push_back(now);
    if (times_.size() > kMaxFailures) times_.pop_front();
  }
  /// The next backoff: 1 s, doubling to 60 s with each call until steady().
  Duration next_backoff() {
    const Duration wait = backoff_;
    backoff_ = std::min<Duration>(backoff_ * 2, kLongestBackoff);
    return wait;
  }
  /// It ran well: the next backoff is the first again.
  void steady() { backoff_ = kFirstBackoff; }
  /// 10 failures in 5 minutes.
  bool is_hopeless(TimePoint now) const {
    return times_.size() == kMaxFailures && now - times_.front() <= kFailureWindow;
  }
  /// An operator or a changed config gives it a new chance.
  void forget() {
    times_.clear();
    steady();
  }

 private:
  std::deque<TimePoint> times_;
  Duration backoff_ = kFirstBackoff;
};

}  // namespace rooster::machines
