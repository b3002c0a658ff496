// Tai64n: the time stamp of an initiation (WireGuard paper §5.1). Only its order matters.
#pragma once

#include "core/time.hpp"

#include <array>
#include <compare>
#include <cstdint>

namespace rooster::tunnel {

struct Tai64n {
  std::array<std::uint8_t, 12> bytes{};  ///< big endian: compares as time does

  /// The wall clock in steps of 2^24 ns (some 17 ms), so that it tells little of our load.
  static Tai64n whitened(WallTime wall);
  /// One step later.
  Tai64n next() const;
  bool is_zero() const { return *this == Tai64n{}; }
  WallTime wall() const;
  friend auto operator<=>(const Tai64n&, const Tai64n&) = default;
};

/// What to stamp after `last`: max(clock, last + one step), so that two initiations never carry
/// the same time, whatever the clock does.
Tai64n stamp_after(const Tai64n& last, WallTime wall);

}  // namespace rooster::tunnel
