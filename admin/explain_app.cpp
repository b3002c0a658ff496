#include "admin/explain.hpp"
#include "admin/history.hpp"
#include "admin/time_text.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace rooster::admin {
namespace {

using machines::AppView;
using machines::MachineView;
using machines::WakePhase;
using machines::WakeState;

// The machine's group may be stopped when idle if one of its services says so.
config::Autostop autostop_of(const AppView& view, const MachineView& machine) {
  auto wanted = config::Autostop::Off;
  for (const config::Service& service : view.config->services) {
    if (view.carries(machine, service)) wanted = std::max(wanted, service.autostop);
  }
  return wanted;
}

std::size_t awake_in(const AppView& view, std::string_view region) {
  return static_cast<std::size_t>(std::ranges::count_if(
      view.machines,
      [region](const MachineView& machine) { return machine.awake && machine.region == region; }));
}

std::string why_awake(const AppView& view, const MachineView& machine, std::int64_t now_boot_ms) {
  const machines::LoadWord load = machine.load->read();
  if (load.in_flight > 0) {
    return fmt::format("{} in flight: requests, tunnels or sessions keep it awake", load.in_flight);
  }
  const auto idle = std::chrono::milliseconds(
      std::max<std::int64_t>(now_boot_ms - machine.load->idle_since(), 0));
  if (!machine.routable) return "runs, but is not ready or is draining";
  if (view.config->driver() == config::DriverKind::Address)
    return "an address: nothing of ours starts or stops it";
  if (autostop_of(view, machine) == config::Autostop::Off) {
    return fmt::format("idle for {}, and stays: auto_stop_machines is off", duration_text(idle));
  }
  if (const auto least = view.config->min_machines_in(machine.region);
      least > 0 && awake_in(view, machine.region) <= least) {
    return fmt::format("idle for {}, and stays: {} must run in {}", duration_text(idle), least,
                       machine.region);
  }
  const auto timeout = view.config->rooster.idle_timeout;
  return fmt::format(
      "idle for {} of {}; {} in {} unless something comes", duration_text(idle),
      duration_text(timeout),
      autostop_of(view, machine) == config::Autostop::Suspend ? "suspended" : "stopped",
      duration_text(std::max(timeout - idle, std::chrono::milliseconds(0))));
}

void add_change(Explanation& out, std::string text) {
  out.findings.push_back({"to change it", std::move(text)});
}

void explain_group(Explanation& out, const AppFacts& facts, const WakeState& wake, TimePoint now) {
  const config::AppConfig& app = *facts.view->config;
  switch (wake.phase) {
    case WakePhase::Ready:
      if (app.driver() != config::DriverKind::Address) {
        add_change(out, "rooster machine stop <id>; or a shorter [rooster] idle_timeout");
      }
      return;
    case WakePhase::Waking:
      add_change(out, "nothing to do: it is starting");
      return;
    case WakePhase::Stopping:
      add_change(out, "a request that may wake it starts it again once it has stopped");
      return;
    case WakePhase::Asleep:
      if (app.driver() == config::DriverKind::None) {
        out.fault = Fault::NotWakeable;
        add_change(out, std::string(describe(Fault::NotWakeable).hint));
      } else if (!wake.autostart) {
        out.fault = Fault::AutostartOff;
        add_change(out, "rooster machine start <id>; or auto_start_machines = true");
      } else {
        add_change(out,
                   "a request that its wake policy allows; rooster machine start <id>; or "
                   "min_machines_running = 1");
      }
      return;
    case WakePhase::Failed:
      out.fault = wake.fault;
      add_change(out, std::string(describe(wake.fault).hint));
      if (wake.retry_at == kNever) {
        add_change(out, "then: rooster machine start <id>, or a changed configuration");
      } else if (wake.retry_at > now) {
        add_change(out, fmt::format("it is tried again by the first request in {}",
                                    duration_text(remaining(wake.retry_at, now))));
      } else {
        add_change(out, "the next request tries again");
      }
      return;
  }
}

std::string verdict_of(const AppFacts& facts, const WakeState& wake) {
  const std::string& name = facts.view->config->name;
  const auto held = facts.waiting == 0 ? std::string() : fmt::format("; {} held", facts.waiting);
  switch (wake.phase) {
    case WakePhase::Ready: {
      std::uint32_t in_flight = 0;
      for (const MachineView& machine : facts.view->machines) {
        if (machine.awake) in_flight += machine.load->in_flight();
      }
      return fmt::format("{} is awake, {} in flight{}.", name, in_flight, held);
    }
    case WakePhase::Waking:
      return fmt::format("{} is waking{}.", name, held);
    case WakePhase::Stopping:
      return fmt::format("{} is stopping{}.", name, held);
    case WakePhase::Failed:
      return fmt::format("{} could not be woken: {}{}.", name, describe(wake.fault).token, held);
    case WakePhase::Asleep:
      if (const auto* stop = find_last_stop(facts.ledger)) {
        return fmt::format("{} is asleep: {}.", name, stop_reason(*stop));
      }
      return fmt::format("{} is asleep: nobody has asked for it yet.", name);
  }
  return name;
}

}  // namespace

Explanation explain_app(const AppFacts& facts, TimePoint now, std::int64_t now_boot_ms) {
  Explanation out;
  const AppView& view = *facts.view;
  out.app = view.config->name;
  // The group that says most: one that failed before one that sleeps, before one that runs.
  const auto rank = [](const WakeState& wake) {
    switch (wake.phase) {
      case WakePhase::Failed:
        return 0;
      case WakePhase::Waking:
        return 1;
      case WakePhase::Stopping:
        return 2;
      case WakePhase::Ready:
        return 3;
      case WakePhase::Asleep:
        return 4;
    }
    return 5;
  };
  out.verdict = verdict_of(facts, *std::ranges::min_element(view.wakes, {}, rank));
  for (const WakeState& wake : view.wakes) {
    std::string state(phase_text(wake.phase));
    if (wake.phase == WakePhase::Failed) {
      state += fmt::format(": {}", describe(wake.fault).token);
      if (!wake.detail.empty()) state += " (" + wake.detail + ')';
    }
    out.findings.push_back({"group " + wake.group, state});
  }
  for (const MachineView& machine : view.machines) {
    std::string text = machine.awake           ? why_awake(view, machine, now_boot_ms)
                       : machine.fault.empty() ? "does not run"
                                               : "does not run: " + machine.fault;
    if (machine.cordoned) text += "; cordoned, takes no new requests";
    out.findings.push_back({"machine " + machine.id.value, machine.region + ": " + text});
  }
  if (facts.waiting > 0)
    out.findings.push_back({"held", fmt::format("{} requests wait", facts.waiting)});
  if (const LastWake last = find_last_wake(facts.ledger); last.wake != nullptr) {
    out.findings.push_back({"last wake", wake_text(last)});
  }
  if (const auto* stop = find_last_stop(facts.ledger)) {
    out.findings.push_back({"last stop", stop_text(*stop)});
  }
  for (const WakeState& wake : view.wakes) explain_group(out, facts, wake, now);
  return out;
}

}  // namespace rooster::admin
