// The idle reaper's decision: which machines of a process group are too many. Pure; the coordinator
// then tries to close their words, which fails for any that got a lease meanwhile.
#pragma once

#include "config/app_config.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace rooster::machines {

/// One ready machine as the reaper sees it.
struct ReaperMachine {
  std::size_t index = 0;  ///< the caller's
  std::string region{};
  std::uint32_t in_flight = 0;
  std::int64_t idle_since_ms = 0;
};

struct ReaperRule {
  config::Autostop autostop = config::Autostop::Off;
  std::chrono::milliseconds idle_timeout{300'000};
  std::uint32_t soft_limit = 20;
};

/// Indexes of those to stop now, at most one of each region per pass, the longest idle first. Only
/// machines with nothing in flight for idle_timeout; never below `minimum(region)`; with several
/// running, one below its soft_limit stays beside those over it (Fly's rule: excess = running -
/// (over soft limit + 1)).
template <class Minimum>
std::vector<std::size_t> pick_idle(const std::vector<ReaperMachine>& machines,
                                   const ReaperRule& rule, std::int64_t now_boot_ms,
                                   Minimum minimum) {
  std::vector<std::size_t> stops;
  if (rule.autostop == config::Autostop::Off) return stops;
  std::vector<std::string> seen;
  for (const ReaperMachine& first : machines) {
    bool is_seen = false;
    for (const std::string& region : seen) is_seen = is_seen || region == first.region;
    if (is_seen) continue;
    seen.push_back(first.region);
    std::size_t running = 0;
    std::size_t over_soft = 0;
    const ReaperMachine* idlest = nullptr;
    for (const ReaperMachine& machine : machines) {
      if (machine.region != first.region) continue;
      ++running;
      if (machine.in_flight >= rule.soft_limit) ++over_soft;
      const bool is_idle = machine.in_flight == 0 &&
                           now_boot_ms - machine.idle_since_ms >= rule.idle_timeout.count();
      if (is_idle && (!idlest || machine.idle_since_ms < idlest->idle_since_ms)) idlest = &machine;
    }
    if (!idlest || running <= minimum(first.region)) continue;
    if (running > 1 && running - over_soft <= 1) continue;
    stops.push_back(idlest->index);
  }
  return stops;
}

}  // namespace rooster::machines
