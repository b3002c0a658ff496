// Times and states in words, for the explanations and tables.
#pragma once

#include "core/time.hpp"
#include "machines/app_view.hpp"

#include <chrono>
#include <string>
#include <string_view>

namespace rooster::admin {

/// "350ms", "42s", "5m0s", "2h5m", "3d4h".
std::string duration_text(std::chrono::nanoseconds duration);

/// "awake", "asleep", "waking", "its last wake failed", "stopping".
std::string_view phase_text(machines::WakePhase phase);

}  // namespace rooster::admin
