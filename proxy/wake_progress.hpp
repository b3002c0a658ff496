// What a client that waits for a wake is told of it, in one line.
#pragma once

#include "machines/app_view.hpp"

#include <string>

namespace rooster::proxy {

/// How far `wake` (of `view`) has come: "waking db: machine 148e21 starts". `is_for_one`: a machine
/// is waited for that sleeps beside others.
std::string wake_progress(const machines::AppView& view, const machines::WakeState& wake,
                          bool is_for_one);

}  // namespace rooster::proxy
