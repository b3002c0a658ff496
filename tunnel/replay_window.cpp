#include "tunnel/replay_window.hpp"

#include <algorithm>

namespace rooster::tunnel {

bool ReplayWindow::is_fresh(std::uint64_t counter) const {
  if (counter >= kRejectAfterMessages) return false;
  if (counter >= next_) return true;
  if (next_ - counter > kWindow) return false;
  return (seen_[counter / 64 % kWords] >> (counter % 64) & 1) == 0;
}

bool ReplayWindow::accept(std::uint64_t counter) {
  if (!is_fresh(counter)) return false;
  if (counter >= next_) {
    // The words between the old front and the new one are the past's: they begin empty.
    const std::uint64_t front = next_ == 0 ? 0 : (next_ - 1) / 64;
    const std::uint64_t steps = std::min<std::uint64_t>(counter / 64 - front, kWords);
    for (std::uint64_t step = 1; step <= steps; ++step) seen_[(front + step) % kWords] = 0;
    next_ = counter + 1;
  }
  seen_[counter / 64 % kWords] |= std::uint64_t{1} << (counter % 64);
  return true;
}

}  // namespace rooster::tunnel
