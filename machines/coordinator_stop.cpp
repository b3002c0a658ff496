// Coordinator, last part: stopping (contract 6).
//   1. the word is closed (by the reaper's CAS, or outright): no further lease
//   2. Draining is published; all workers have adopted it, nothing is in flight (or the drain's
//   deadline passed)
//   3. kill_signal, kill_timeout, SIGKILL; or the freezer
// A wake takes an idle stop back until the signal is sent.
#include "machines/coordinator.hpp"
#include "machines/coordinator_state.hpp"
#include "machines/reaper.hpp"

#include <algorithm>
#include <csignal>
#include <utility>

namespace rooster::machines {
namespace {

std::string signal_text(int number) {
  constexpr std::string_view kNames[] = {"SIGINT",  "SIGTERM", "SIGQUIT", "SIGUSR1",
                                         "SIGUSR2", "SIGKILL", "SIGSTOP", "SIGHUP"};
  for (std::string_view name : kNames) {
    if (signal_number(name) == number) return std::string(name);
  }
  return "signal " + std::to_string(number);
}

std::string_view text_of(StopReason reason) {
  switch (reason) {
    case StopReason::Idle:
      return "idle";
    case StopReason::Operator:
      return "operator";
    case StopReason::Stale:
      return "changed config";
    case StopReason::Removed:
      return "removed from the config";
    case StopReason::WakeFailed:
      return "the wake failed";
  }
  std::unreachable();
}

}  // namespace

void Coordinator::begin_drain(const Place& place, StopReason reason, bool suspend, TimePoint now,
                              Output& out) {
  Machine& machine = *place.machine;
  const bool was_ready = machine.state == MachineState::Ready;
  machine.load->close();
  machine.stop_reason = reason;
  machine.wants_suspend = suspend && was_ready;
  machine.drain_epoch = UINT64_MAX;  // of the fact that this change makes
  machine.epoch_deadline = now + options_.epoch_timeout;
  machine.drain_deadline = reason == StopReason::Idle       ? kNever
                           : reason == StopReason::Operator ? now + options_.operator_drain
                                                            : now + options_.drain_timeout;
  if (reason != StopReason::Idle) {
    record(*place.app, &machine, LedgerEntry::Kind::Stop,
           reason == StopReason::Operator ? "operator" : "rooster", std::string(text_of(reason)));
  }
  if (!was_ready) return signal_stop(place, now, out);  // nobody was ever routed to it
  if (machine.load->in_flight() > 0) {
    out.commands.emplace_back(GoAway{.app = place.app->id, .machine = machine.id});
  }
  set_state(place, MachineState::Draining);
}

void Coordinator::advance_drain(const Place& place, TimePoint now, Output& out) {
  Machine& machine = *place.machine;
  if (machine.state != MachineState::Draining) return;
  const bool is_out_of_routing =
      adopted_epoch_ >= machine.drain_epoch || now >= machine.epoch_deadline;
  const bool is_empty = machine.load->in_flight() == 0 || now >= machine.drain_deadline;
  if (!is_out_of_routing || !is_empty) return;
  if (place.app->config->driver() == config::DriverKind::Address && machine.pid == 0) {
    set_state(place, MachineState::Stopped);  // nothing to signal: an address is just forgotten
    out.commands.emplace_back(Unwatch{.machine = machine.id});
    return after_end(place, now, out);
  }
  if (!machine.wants_suspend) return signal_stop(place, now, out);
  set_state(place, MachineState::Suspending);
  out.commands.emplace_back(Unwatch{.machine = machine.id});
  out.commands.emplace_back(SuspendMachine{.machine = machine.id});
}

void Coordinator::signal_stop(const Place& place, TimePoint now, Output& out) {
  Machine& machine = *place.machine;
  ++counters_.stops;
  machine.is_killed = machine.kill_signal == SIGKILL;
  machine.kill_at = now + machine.kill_timeout;
  set_state(place, MachineState::Stopping);
  out.commands.emplace_back(Unwatch{.machine = machine.id});
  if (machine.is_killed) {
    out.commands.emplace_back(KillMachine{.machine = machine.id});
  } else {
    out.commands.emplace_back(SignalMachine{.machine = machine.id, .signal = machine.kill_signal});
  }
  line(place, "runner", MachineLine::Level::Info,
       "Sending signal " + signal_text(machine.kill_signal) + " to main child process w/ PID " +
           std::to_string(machine.pid),
       out);
}

// A frozen machine runs no handler for kill_signal: it is ended as it is.
void Coordinator::kill_suspended(const Place& place, TimePoint now, Output& out) {
  Machine& machine = *place.machine;
  ++counters_.stops;
  machine.is_killed = true;
  machine.kill_at = now + machine.kill_timeout;
  set_state(place, MachineState::Stopping);
  out.commands.emplace_back(KillMachine{.machine = machine.id});
}

void Coordinator::suspended(const MachineId& id, bool done, TimePoint now, Output& out) {
  auto place = this->place(id);
  if (!place || place->machine->state != MachineState::Suspending) return;
  if (!done) {
    line(*place, "runner", MachineLine::Level::Warn, "could not be suspended: stopped instead",
         out);
    signal_stop(*place, now, out);
    return flush(now, out);
  }
  ++counters_.suspends;
  set_state(*place, MachineState::Suspended);
  line(*place, "runner", MachineLine::Level::Info, "Machine suspended", out);
  record(*place->app, place->machine, LedgerEntry::Kind::Suspended, "rooster",
         std::string(text_of(place->machine->stop_reason)));
  if (place->machine->is_surplus || is_stopping_) {
    kill_suspended(*place, now, out);
    return flush(now, out);
  }
  after_end(*place, now, out);
}

bool Coordinator::cancel_drain(const Place& place, TimePoint now, Output& out) {
  Machine& machine = *place.machine;
  const bool is_current = machine.fingerprint == place.pool->fingerprint && !machine.is_surplus;
  if (machine.stop_reason != StopReason::Idle || !is_current || is_stopping_) return false;
  machine.load->reopen_same(options_.boot_ms());
  set_state(place, MachineState::Ready);
  refresh_phase(*place.app, *place.pool, now);
  line(place, "proxy", MachineLine::Level::Info, "Stop taken back: a request arrived", out);
  record(*place.app, &machine, LedgerEntry::Kind::Wake, place.pool->waker.source,
         place.pool->waker.reason + " (stop taken back)");
  return true;
}

// Was it woken by a TLS hello that no request followed? Its source pays for that.
bool Coordinator::judge_prewake(Machine& machine) {
  const auto source = std::exchange(machine.hello_from, std::nullopt);
  if (!source) return false;
  const bool is_wasted = machine.load->read().takes == machine.takes_when_ready;
  if (is_wasted) {
    prewakes_.wasted(*source);
    ++counters_.wasted_prewakes;
  } else {
    prewakes_.useful(*source);
  }
  return is_wasted;
}

void Coordinator::reap(App& app, Pool& pool, TimePoint now, Output& out) {
  if (is_stopping_) return;
  std::vector<ReaperMachine> ready;
  std::size_t left = 0;
  for (std::size_t i = 0; i < pool.machines.size(); ++i) {
    const Machine& machine = *pool.machines[i];
    if (machine.state != MachineState::Ready) continue;
    ready.push_back({.index = i,
                     .region = machine.region,
                     .in_flight = machine.load->in_flight(),
                     .idle_since_ms = machine.load->idle_since()});
    ++left;
  }
  const std::size_t total = left;
  const auto idle_timeout = app.config->rooster.idle_timeout;
  const std::int64_t boot_now = options_.boot_ms();
  const ReaperRule rule{.autostop = pool.autostop,
                        .idle_timeout = idle_timeout,
                        .soft_limit = pool.concurrency.soft_limit};
  const auto minimum = [&](const std::string& region) { return app.minimum(pool, region); };
  for (std::size_t index : pick_idle(ready, rule, boot_now, minimum)) {
    Machine& machine = *pool.machines[index];
    if (!machine.load->close_if_idle(boot_now, idle_timeout)) continue;
    const bool suspend = pool.autostop == config::Autostop::Suspend && options_.can_suspend;
    const Place place{&app, &pool, &machine};
    --left;
    line(place, "proxy", MachineLine::Level::Info,
         "App " + app.config->name + " has excess capacity, " +
             (suspend ? "autosuspending" : "autostopping") + " machine " + machine.id.value + ". " +
             std::to_string(left) + " out of " + std::to_string(total) +
             " machines left running (region=" + machine.region + ", process group=" + pool.group +
             ")",
         out);
    record(
        app, &machine, LedgerEntry::Kind::Stop, "rooster",
        "idle for " + fly_duration(idle_timeout) +
            (judge_prewake(machine) ? ", and no request followed the TLS hello that woke it" : ""));
    begin_drain(place, StopReason::Idle, suspend, now, out);
  }
}

void Coordinator::scale_up(App& app, Pool& pool, TimePoint now, Output& out) {
  if (is_stopping_ || app.is_removed || pool.is_gone || !pool.autostart) return;
  if (pool.phase != WakePhase::Ready || pool.in_state(MachineState::Starting)) return;
  bool has_waiters = false;
  for (const auto& machine : pool.machines) {
    if (!machine->is_routable()) continue;
    if (machine->load->in_flight() < pool.concurrency.soft_limit) return;
    has_waiters = has_waiters || machine->load->has_waiters();
  }
  // Those who queued before it was ready count only if they are still there after the burst's time.
  if (now < pool.scale_after && has_waiters) return;
  if (pool.retry_at > now) return;
  Machine* machine = next_to_start(app, pool);
  if (!machine) return;
  pool.waker = {.app = app.id,
                .group = pool.group,
                .asked_at = now,
                .source = "rooster",
                .reason = "every machine is at its soft_limit"};
  record(app, machine, LedgerEntry::Kind::Wake, pool.waker.source, pool.waker.reason);
  begin_start(app, pool, *machine, now, out);
}

void Coordinator::replace_stale(App& app, Pool& pool, TimePoint now, Output& out) {
  if (app.config->driver() != config::DriverKind::Process) return;
  constexpr auto kPause =
      std::chrono::milliseconds(2000);  // a pause this long in the traffic is enough
  const auto pause = std::min<std::chrono::milliseconds>(kPause, app.config->rooster.idle_timeout);
  const Machine* current = pool.find_machine(
      [&](const Machine& m) { return m.is_routable() && m.fingerprint == pool.fingerprint; });
  for (const auto& machine : pool.machines) {
    if (machine->state != MachineState::Ready || machine->fingerprint == pool.fingerprint) continue;
    const Place place{&app, &pool, machine.get()};
    if (machine->stale_since == kNever) machine->stale_since = now;
    const bool is_overdue = now - machine->stale_since >= options_.drain_timeout;
    if (current || is_overdue || machine->load->close_if_idle(options_.boot_ms(), pause)) {
      begin_drain(place, StopReason::Stale, false, now, out);
      continue;
    }
    if (pool.in_state(MachineState::Starting) || pool.retry_at > now) continue;
    if (Machine* next = next_to_start(app, pool)) {
      pool.waker = {.app = app.id,
                    .group = pool.group,
                    .asked_at = now,
                    .source = "rooster",
                    .reason = "changed config"};
      record(app, next, LedgerEntry::Kind::Wake, pool.waker.source, pool.waker.reason);
      begin_start(app, pool, *next, now, out);
    }
  }
}

}  // namespace rooster::machines
