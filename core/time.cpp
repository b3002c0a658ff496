#include "core/time.hpp"

#include <time.h>

namespace rooster {

std::int64_t boot_milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

Duration remaining(TimePoint deadline, TimePoint now) {
  if (deadline == kNever) return Duration::max();
  return deadline > now ? deadline - now : Duration::zero();
}

}  // namespace rooster
