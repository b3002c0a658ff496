#include "proxy/wake_progress.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace rooster::proxy {

namespace {

bool is_just_ready(const machines::MachineView& machine) {
  return machine.routable && machine.load && machine.load->is_starting_slowly();
}

std::string_view step_of(const machines::MachineView& machine) {
  if (!machine.timeline || machine.timeline->started == TimePoint{}) return "starts";
  return machine.timeline->listening != TimePoint{} ? "listens, and is not ready yet"
                                                    : "runs, and does not listen yet";
}

}  // namespace

std::string wake_progress(const machines::AppView& view, const machines::WakeState& wake,
                          bool is_for_one) {
  const std::string& app = view.config->name;
  switch (wake.phase) {
    case machines::WakePhase::Ready:
      if (is_for_one) break;
      return std::ranges::any_of(view.machines, is_just_ready)
                 ? fmt::format("{} is ready and takes its first connections", app)
                 : fmt::format("{} is at its limit of connections: waiting for a place", app);
    case machines::WakePhase::Stopping:
      return fmt::format("{} is stopping; it starts again after that", app);
    case machines::WakePhase::Failed:
      return fmt::format("{} failed to start ({}); it is tried again", app,
                         describe(wake.fault).token);
    case machines::WakePhase::Asleep:
    case machines::WakePhase::Waking:
      break;
  }
  const auto starting = std::ranges::find_if(view.machines, [&](const auto& machine) {
    return machine.group == wake.group && machine.awake && !machine.routable;
  });
  if (starting == view.machines.end()) return fmt::format("waking {}", app);
  return fmt::format("waking {}: machine {} {}", app, starting->id.value, step_of(*starting));
}

}  // namespace rooster::proxy
