// The clocks: deadlines count on CLOCK_MONOTONIC, idleness on CLOCK_BOOTTIME (a laptop's or VM's
// sleep counts), wall time is for logs and certificates only.
#pragma once

#include <chrono>
#include <cstdint>

namespace rooster {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

inline constexpr TimePoint kNever = TimePoint::max();

/// Wall clock, for logs, certificates and headers.
using WallTime = std::chrono::system_clock::time_point;

/// Milliseconds of CLOCK_BOOTTIME: what `idle_since` is measured in.
std::int64_t boot_milliseconds();

/// `deadline` seen from `now`, never negative; kNever gives Duration::max().
Duration remaining(TimePoint deadline, TimePoint now);

}  // namespace rooster
