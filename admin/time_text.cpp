#include "admin/time_text.hpp"

#include <fmt/format.h>

#include <utility>

namespace rooster::admin {

std::string duration_text(std::chrono::nanoseconds duration) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  if (milliseconds < 1000) return fmt::format("{}ms", std::max<std::int64_t>(milliseconds, 0));
  const auto seconds = milliseconds / 1000;
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m{}s", seconds / 60, seconds % 60);
  if (seconds < 86'400) return fmt::format("{}h{}m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{}d{}h", seconds / 86'400, seconds / 3600 % 24);
}

std::string_view phase_text(machines::WakePhase phase) {
  switch (phase) {
    case machines::WakePhase::Asleep:
      return "asleep";
    case machines::WakePhase::Waking:
      return "waking";
    case machines::WakePhase::Ready:
      return "awake";
    case machines::WakePhase::Failed:
      return "its last wake failed";
    case machines::WakePhase::Stopping:
      return "stopping";
  }
  std::unreachable();
}

}  // namespace rooster::admin
