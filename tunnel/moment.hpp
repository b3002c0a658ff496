// Moment: the two clocks that the tunnel core is given with each call. It reads none itself.
#pragma once

#include "core/time.hpp"

namespace rooster::tunnel {

struct Moment {
  TimePoint boot;  ///< CLOCK_BOOTTIME as a TimePoint: keys must age while the machine sleeps
  WallTime wall;   ///< only for TAI64N and for showing when a handshake was
};

}  // namespace rooster::tunnel
